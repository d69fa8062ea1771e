//! Reads about other processes from /proc.

use std::fs;

use chrono::{DateTime, TimeDelta, Utc};

/// Longer names are cut. The kernel keeps to 15 bytes; the limit is for escapes.
const NAME_LIMIT: usize = 64;

/// `pid 4242 (dockerd)`, or `pid 4242` where the name cannot be read: the
/// process has ended, or is hidden from us.
pub(super) fn describe(pid: u32) -> String {
    match fs::read(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("pid {pid} ({})", printable(name.trim_ascii_end())),
        Err(_) => format!("pid {pid}"),
    }
}

/// The pids of all visible processes, in order.
pub(super) fn all() -> impl Iterator<Item = u32> {
    let listed = fs::read_dir("/proc").into_iter().flatten().flatten();
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let mut pids: Vec<u32> = listed.filter_map(number).collect();
    pids.sort_unstable();
    pids.into_iter()
}

/// The user and the groups of a process.
pub(super) struct User {
    pub uid: u32,
    pub groups: Vec<u32>,
}

/// By its effective ids; `None` where it has ended, or is hidden from us.
pub(super) fn user(pid: u32) -> Option<User> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        let numbers = line.split_ascii_whitespace().map(str::parse);
        numbers.collect::<Result<Vec<u32>, _>>().ok()
    };
    let (uids, gids) = (numbers("Uid:")?, numbers("Gid:")?);
    let mut groups = numbers("Groups:")?;
    groups.extend(gids.get(1));
    Some(User {
        uid: *uids.get(1)?,
        groups,
    })
}

/// Milliseconds of a clock tick as /proc counts it (USER_HZ): the same on every
/// architecture that Debian has.
const TICK: i64 = 10;

/// When a process began, by the clock as it is set now: the kernel counts from boot.
pub(super) fn started(pid: u32) -> Option<DateTime<Utc>> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let ticks = i64::try_from(start_of(&stat)?).ok()?;
    let began_at = ticks.checked_mul(TICK)?;
    let now = crate::host::clock::now();
    let since_boot = crate::host::clock::since_boot().ok()?;
    let age = i64::try_from(since_boot.as_millis()).ok()? - began_at;
    now.checked_sub_signed(TimeDelta::milliseconds(age.max(0)))
}

/// The 22nd field of a process's stat, in clock ticks since boot. The second field is
/// the process's name, which may hold blanks and brackets.
fn start_of(stat: &[u8]) -> Option<u64> {
    let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[name_ends + 1..]).ok()?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// A process chooses its own name, so it may hold escape sequences meant for
/// the terminal of whoever reads the report.
fn printable(name: &[u8]) -> String {
    name.escape_ascii()
        .map(char::from)
        .take(NAME_LIMIT)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_described_by_pid_and_name() {
        let us = std::process::id();
        let described = describe(us);
        assert!(described.starts_with(&format!("pid {us} (")), "{described}");
    }

    #[test]
    fn a_process_that_is_gone_is_described_by_pid_alone() {
        // Above the kernel's highest possible pid (2^22).
        assert_eq!(describe(u32::MAX), format!("pid {}", u32::MAX));
    }

    #[test]
    fn a_process_began_before_now_and_not_long_ago() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let began = started(child.id()).unwrap();
        let _ = child.kill().and_then(|()| child.wait());
        let ago = crate::host::clock::now() - began;
        assert!(ago >= TimeDelta::zero(), "{ago}");
        assert_eq!(started(u32::MAX), None);
        let odd = b"7 (a) R b (c)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(start_of(odd), Some(4711));
        assert_eq!(start_of(b"7 (short) S 1"), None);
    }

    #[test]
    fn a_name_cannot_carry_escape_sequences() {
        assert_eq!(printable(b"dockerd"), "dockerd");
        assert_eq!(printable(b"\x1b]52;c;\xff\n"), r"\x1b]52;c;\xff\n");
        assert_eq!(printable(&[0x1b; 60]).len(), NAME_LIMIT);
    }
}
