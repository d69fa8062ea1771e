//! Names other processes for a report. It never sends them anything.

use std::fs;

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
    fn a_name_cannot_carry_escape_sequences() {
        assert_eq!(printable(b"dockerd"), "dockerd");
        assert_eq!(printable(b"\x1b]52;c;\xff\n"), r"\x1b]52;c;\xff\n");
        assert_eq!(printable(&[0x1b; 60]).len(), NAME_LIMIT);
    }
}
