//! Appends whole lines to a file and makes them durable. It never rewrites or shortens the
//! file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

use crate::host::files::error::FileError;
use crate::host::files::folder::{folder_of, sync_folder};
use crate::host::files::trust::{Wanted, check};

/// An append-only file of lines, open for writing.
#[derive(Debug)]
pub struct Appender {
    path: PathBuf,
    file: File,
    /// The file may end inside a line: a write was cut off.
    torn: bool,
}

impl Appender {
    /// Opens the file, and makes it (mode 0600) if it is missing. Its folder must exist.
    /// If the file ends inside a line, because of a crash, the first append ends that
    /// line: a torn record must not swallow the next one.
    ///
    /// # Errors
    ///
    /// [`FileError::Untrusted`] if the file or a parent is not ours alone or is
    /// no plain file; [`FileError::Io`] if it cannot be opened or written.
    pub fn open(path: &Path) -> Result<Appender, FileError> {
        FileError::none_if_missing(check(path, Wanted::File))?;
        let file = OpenOptions::new()
            .read(true) // for the last byte
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)
            .map_err(FileError::io("open", path))?;
        let torn = ends_inside_a_line(&file).map_err(FileError::io("read", path))?;
        // The file may be new, and its name must survive a power cut, too.
        sync_folder(folder_of(path))?;
        Ok(Appender {
            path: path.to_owned(),
            file,
            torn,
        })
    }

    /// Writes whole lines, in one call to the kernel if the disk has room. They survive our
    /// death at once, and a power cut after [`Appender::sync`].
    ///
    /// # Errors
    ///
    /// [`FileError::Io`], also for bytes that do not end in a newline. A part may have been
    /// written; the next append begins on a new line all the same.
    pub fn append(&mut self, lines: &[u8]) -> Result<(), FileError> {
        if lines.last() != Some(&b'\n') {
            let why = "found a record that does not end in a newline, wanted whole lines";
            return Err(FileError::unfit("append to", &self.path, why));
        }
        if self.torn {
            self.write(b"\n")?;
        }
        self.write(lines)
    }

    /// Makes everything appended so far survive a power cut (fdatasync(2)).
    ///
    /// # Errors
    ///
    /// [`FileError::Io`]: lines appended since the last success may be lost, even if a later
    /// call succeeds.
    pub fn sync(&self) -> Result<(), FileError> {
        self.file
            .sync_data()
            .map_err(FileError::io("flush", &self.path))
    }

    /// `write_all` is one write(2) unless the disk is full: then a second one brings the
    /// reason, which a short count does not.
    fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.torn = true;
        self.file
            .write_all(bytes)
            .map_err(FileError::io("append to", &self.path))?;
        self.torn = false;
        Ok(())
    }
}

fn ends_inside_a_line(file: &File) -> io::Result<bool> {
    let Some(last) = file.metadata()?.len().checked_sub(1) else {
        return Ok(false);
    };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte != *b"\n")
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests play the others, whose files come and go"
)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn scene() -> (tempfile::TempDir, PathBuf) {
        let folder = crate::testing::folder_of_ours();
        let path = folder.path().join("journal.jsonl");
        (folder, path)
    }

    #[test]
    fn lines_follow_each_other_over_several_openings() {
        let (_folder, path) = scene();
        let mut journal = Appender::open(&path).unwrap();
        journal.append(b"one\n").unwrap();
        journal.append(b"two\nthree\n").unwrap();
        journal.sync().unwrap();
        drop(journal);
        Appender::open(&path).unwrap().append(b"four\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\nthree\nfour\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    }

    #[test]
    fn a_torn_line_does_not_swallow_the_next() {
        let (_folder, path) = scene();
        fs::write(&path, "one\n{\"torn\":").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        Appender::open(&path).unwrap().append(b"two\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one\n{\"torn\":\ntwo\n");
    }

    #[test]
    fn a_line_torn_by_a_failed_append_does_not_swallow_the_next() {
        let (_folder, path) = scene();
        let mut journal = Appender::open(&path).unwrap();
        // /dev/full accepts no byte, as a full disk.
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ours = std::mem::replace(&mut journal.file, full);
        let error = journal.append(b"one\n").unwrap_err();
        assert!(error.to_string().contains("No space left"), "{error}");
        journal.file = ours;
        journal.append(b"two\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"\ntwo\n");
    }

    #[test]
    fn a_record_without_its_newline_is_not_written() {
        let (_folder, path) = scene();
        let mut journal = Appender::open(&path).unwrap();
        journal.append(b"one").unwrap_err();
        journal.append(b"").unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn a_journal_that_is_a_link_or_open_to_others_is_refused() {
        let (folder, path) = scene();
        fs::write(folder.path().join("elsewhere"), "").unwrap();
        symlink("elsewhere", &path).unwrap();
        let error = Appender::open(&path).unwrap_err();
        assert!(matches!(error, FileError::Untrusted { .. }), "{error}");
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o622)).unwrap();
        let error = Appender::open(&path).unwrap_err();
        assert!(matches!(error, FileError::Untrusted { .. }), "{error}");
    }

    #[test]
    fn a_link_that_leads_nowhere_is_not_created_through() {
        let (folder, path) = scene();
        symlink("elsewhere", &path).unwrap();
        Appender::open(&path).unwrap_err();
        assert!(!folder.path().join("elsewhere").exists());
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        let (folder, _) = scene();
        let error = Appender::open(&folder.path().join("none/journal.jsonl")).unwrap_err();
        assert!(error.is_not_found(), "{error}");
    }
}
