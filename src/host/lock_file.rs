//! The only place that opens lock files, our own and those of others. It follows no link and
//! waits for nothing.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::host::file_id::FileId;

/// A lock file may be replaced while its lock is taken; three times in a row is no accident.
pub(super) const ATTEMPTS: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    ReadWrite,
    /// For reading and writing; made (mode 0600) if it is missing.
    Make,
}

/// An open lock file. Dropping it releases every lock that we hold on it.
#[derive(Debug)]
pub(super) struct LockFile {
    pub file: File,
    pub meta: Metadata,
}

impl LockFile {
    pub fn open(path: &Path, access: Access) -> io::Result<LockFile> {
        let file = OpenOptions::new()
            .read(true)
            .write(access != Access::Read)
            .create(access == Access::Make)
            .truncate(false) // the holder's pid may be in it
            .mode(0o600)
            // A link or a FIFO may have taken the file's place since it was examined.
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)?;
        let meta = file.metadata()?;
        Ok(LockFile { file, meta })
    }

    pub fn id(&self) -> FileId {
        FileId::of(&self.meta)
    }

    /// Whether the path still leads to this file. If not, the next process locks another file.
    pub fn is_at(&self, path: &Path) -> io::Result<bool> {
        match fs::symlink_metadata(path) {
            Ok(now) => Ok(FileId::of(&now) == self.id()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Drop for LockFile {
    /// Closing alone would not release while a child process, just forked and not
    /// yet executing, has a copy of the descriptor. If unlocking fails, closing
    /// remains.
    fn drop(&mut self) {
        let unlock = fcntl_lock(libc::F_UNLCK);
        let _ = fcntl(&self.file, FcntlArg::F_OFD_SETLK(&unlock));
        let _ = self.file.unlock();
    }
}

/// For fcntl(2), on the whole file.
#[expect(clippy::cast_possible_truncation, reason = "small constants")]
pub(super) fn fcntl_lock(kind: i32) -> libc::flock {
    libc::flock {
        l_type: kind as _,
        l_whence: libc::SEEK_SET as _,
        l_start: 0,
        l_len: 0, // to the end, wherever that will be
        l_pid: 0, // must be 0 for the locks of open files
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_takes_the_files_place_before_it_is_opened_is_not_followed_or_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deploy.lock");
        fs::write(&path, "").unwrap();
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        let error = LockFile::open(&link, Access::Read).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
        let fifo = folder.path().join("fifo");
        mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        LockFile::open(&fifo, Access::Read).unwrap(); // would wait for a writer
    }
}
