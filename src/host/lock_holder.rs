//! Names the process that holds a lock, for the report alone. No decision depends on it:
//! `/proc/locks` may be hidden (`ProcSubset=pid`), leaves out processes of other namespaces,
//! and numbers devices of btrfs and overlayfs unlike stat(2).
//!
//! The kernel remembers who took a lock. Any process that inherited the open file keeps it:
//! `flock 9` in a script ends at once, and the script goes on with the lock.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::libc;

use crate::host::process::{self, User};

/// The holder of a lock of any kind on this file; `None` where the system does not know it.
pub(super) fn of(meta: &Metadata) -> Option<String> {
    let took = pid_of(meta);
    let holder = match took {
        Some(pid) if keeps(pid, meta) != Some(false) => took,
        _ => process::all().find(|pid| keeps(*pid, meta) == Some(true)),
    };
    holder.or(took).map(|pid| describe(pid, meta))
}

/// With its user. By our documents, a user who may not write to the lock file runs no deploy.
fn describe(pid: u32, meta: &Metadata) -> String {
    let process = process::describe(pid);
    let Some(user) = process::user(pid) else {
        return process;
    };
    let reads = if may_write(&user, meta) {
        ""
    } else {
        ", who may only read the file"
    };
    format!("{process} of uid {}{reads}", user.uid)
}

/// By owner, group and mode; access control lists are not read.
fn may_write(user: &User, meta: &Metadata) -> bool {
    let bit = if user.uid == 0 {
        return true;
    } else if user.uid == meta.uid() {
        0o200
    } else if user.groups.contains(&meta.gid()) {
        0o020
    } else {
        0o002
    };
    meta.mode() & bit != 0
}

/// Whether this process has the locked file open; `None` where that cannot be read. It reads
/// only /proc, because somebody else's file may be on a file system that hangs.
fn keeps(pid: u32, meta: &Metadata) -> Option<bool> {
    let files = match fs::read_dir(format!("/proc/{pid}/fdinfo")) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(false),
        Err(_) => return None,
    };
    let locked = |file: fs::DirEntry| {
        let info = fs::read_to_string(file.path()).unwrap_or_default();
        let mut locks = info.lines().filter_map(|line| line.strip_prefix("lock:"));
        locks.any(|line| on(line, meta).is_some())
    };
    Some(files.flatten().any(locked))
}

/// The process that took the lock.
pub(super) fn pid_of(meta: &Metadata) -> Option<u32> {
    let table = fs::read_to_string("/proc/locks").ok()?;
    let mut pids = table.lines().filter_map(|line| on(line, meta));
    pids.find_map(|pid| u32::try_from(pid).ok())
}

/// Who took the lock of this line, if it is on this file.
fn on(line: &str, meta: &Metadata) -> Option<i64> {
    let device = (libc::major(meta.dev()), libc::minor(meta.dev()));
    taken(line, device, meta.ino())
}

/// Reads lines such as `1: FLOCK  ADVISORY  WRITE 4242 fe:01:131 0 EOF`:
/// device numbers are hexadecimal. The lock of an open file (OFD) has -1 for a
/// pid. A process that waits for a lock has `->` as the second word of its line, and so no
/// number where the pid should be.
fn taken(line: &str, device: (u32, u32), inode: u64) -> Option<i64> {
    let wanted = format!("{:02x}:{:02x}:{inode}", device.0, device.1);
    let mut words = line.split_ascii_whitespace().skip(4);
    let pid = words.next()?.parse().ok()?;
    (words.next()? == wanted).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{Flock, FlockArg};
    use std::io::{BufRead, BufReader};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    const TABLE: &str = "\
1: FLOCK  ADVISORY  WRITE 4242 fe:01:131 0 EOF
1: -> FLOCK  ADVISORY  WRITE 4243 fe:01:131 0 EOF
2: OFDLCK ADVISORY  WRITE -1 fe:01:132 0 EOF
3: POSIX  ADVISORY  READ  17 00:1b:9 0 0
4: short
";

    fn find(table: &str, device: (u32, u32), inode: u64) -> Option<i64> {
        table.lines().find_map(|line| taken(line, device, inode))
    }

    /// A process that holds a shared lock on this file, taken by its script: `flock` itself has
    /// ended.
    struct Script(std::process::Child);

    impl Script {
        fn start(path: &std::path::Path, change: impl FnOnce(&mut Command)) -> Script {
            let lines = r#"exec 9<"$0"; flock --shared 9; echo taken; exec sleep 1000"#;
            let mut command = Command::new("sh");
            command.args(["-c", lines]).arg(path);
            change(command.stdout(Stdio::piped()));
            let mut child = command.spawn().unwrap();
            let mut said = BufReader::new(child.stdout.as_mut().unwrap());
            said.read_line(&mut String::new()).unwrap();
            Script(child)
        }
    }

    impl Drop for Script {
        fn drop(&mut self) {
            let _ = self.0.kill().and_then(|()| self.0.wait());
        }
    }

    #[test]
    fn whoever_keeps_a_lock_is_named_where_the_process_that_took_it_has_ended() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let script = Script::start(file.path(), |_| ());
        let meta = file.as_file().metadata().unwrap();
        // Nobody is named where /proc/locks is hidden or numbers the device anew.
        if pid_of(&meta).is_some() {
            let named = of(&meta).unwrap();
            let wanted = format!("pid {} (", script.0.id());
            assert!(named.starts_with(&wanted), "{named}");
            let user = format!(" of uid {}", nix::unistd::geteuid());
            assert!(named.ends_with(&user), "{named}");
        }
    }

    #[test]
    fn a_holder_who_may_only_read_the_lock_file_is_named_as_such() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let open = |path: &std::path::Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        open(folder.path(), 0o755);
        let path = folder.path().join("deploy.lock");
        fs::write(&path, "").unwrap();
        for (mode, reads) in [(0o644, true), (0o666, false)] {
            open(&path, mode);
            let script = Script::start(&path, |command| {
                command.uid(4_001).gid(4_001);
            });
            let named = describe(script.0.id(), &path.metadata().unwrap());
            let words = if reads {
                ", who may only read the file"
            } else {
                ""
            };
            assert!(named.ends_with(&format!(" of uid 4001{words}")), "{named}");
        }
    }

    #[test]
    fn the_holder_is_found_by_device_and_inode() {
        assert_eq!(find(TABLE, (0xfe, 1), 131), Some(4242));
        assert_eq!(find(TABLE, (0, 0x1b), 9), Some(17));
    }

    #[test]
    fn neither_a_waiter_nor_a_prefix_of_the_inode_is_a_holder() {
        let waiting = TABLE.lines().nth(1).unwrap();
        assert_eq!(find(waiting, (0xfe, 1), 131), None);
        assert_eq!(find(TABLE, (0xfe, 1), 13), None);
        assert_eq!(find(TABLE, (0xfe, 2), 131), None);
    }

    #[test]
    fn the_lock_of_an_open_file_has_no_holder() {
        assert_eq!(find(TABLE, (0xfe, 1), 132), Some(-1));
    }

    #[test]
    fn a_real_lock_names_its_holder_or_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let file = fs::File::create(folder.path().join("lock")).unwrap();
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
        let holder = of(&lock.metadata().unwrap());
        // Nobody, where /proc/locks is hidden or the device is numbered anew.
        if let Some(holder) = holder {
            assert!(
                holder.starts_with(&format!("pid {}", std::process::id())),
                "{holder}"
            );
        }
    }
}
