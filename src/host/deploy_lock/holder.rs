//! Names the process that holds a lock, for the report alone: nothing is
//! decided by it, for `/proc/locks` may be hidden (`ProcSubset=pid`), leaves out
//! processes of other namespaces, and numbers devices of btrfs and overlayfs
//! unlike stat(2).

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;

use nix::libc;

use crate::host::process;

/// The holder of a lock of any kind on this file, or `None` where the system
/// does not tell.
pub(super) fn of(meta: &Metadata) -> Option<String> {
    pid_of(meta).map(process::describe)
}

/// The same, by its number.
pub(super) fn pid_of(meta: &Metadata) -> Option<u32> {
    let table = fs::read_to_string("/proc/locks").ok()?;
    let device = (libc::major(meta.dev()), libc::minor(meta.dev()));
    find(&table, device, meta.ino())
}

/// Reads lines such as `1: FLOCK  ADVISORY  WRITE 4242 fe:01:131 0 EOF`:
/// device numbers are hexadecimal. The lock of an open file (OFD) has -1 for a
/// pid. Who waits for a lock is no holder: such a line has `->` as its second
/// word, and so no number where the pid should be.
fn find(table: &str, device: (u32, u32), inode: u64) -> Option<u32> {
    let wanted = format!("{:02x}:{:02x}:{inode}", device.0, device.1);
    table.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(4);
        let pid = words.next()?.parse().ok()?;
        (words.next()? == wanted).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{Flock, FlockArg};

    const TABLE: &str = "\
1: FLOCK  ADVISORY  WRITE 4242 fe:01:131 0 EOF
1: -> FLOCK  ADVISORY  WRITE 4243 fe:01:131 0 EOF
2: OFDLCK ADVISORY  WRITE -1 fe:01:132 0 EOF
3: POSIX  ADVISORY  READ  17 00:1b:9 0 0
4: short
";

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
        assert_eq!(find(TABLE, (0xfe, 1), 132), None);
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
