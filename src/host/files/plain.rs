//! Reads files that others may have written: only plain files, without waiting, and no more
//! than a limit.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc;

use crate::host::files::error::FileError;
use crate::host::files::kind::type_name;

/// Opening a FIFO waits for its writer; opening a terminal may make it ours.
pub(super) const NEVER_WAITING: libc::c_int = libc::O_NONBLOCK | libc::O_NOCTTY;

/// Reads a file on which no decision depends, such as the last run's metrics. `None` if it is
/// not there.
///
/// # Errors
///
/// [`FileError::Io`], also if it is no plain file (a symbolic link is none) or longer than
/// `max_bytes`.
pub fn read_untrusted(path: &Path, max_bytes: u64) -> Result<Option<Vec<u8>>, FileError> {
    FileError::none_if_missing(read_plain(path, libc::O_NOFOLLOW, max_bytes))
}

/// Reads a file that somebody named. It may be a symbolic link, and must be there.
///
/// # Errors
///
/// As [`read_untrusted`].
pub fn read_named(path: &Path, max_bytes: u64) -> Result<Vec<u8>, FileError> {
    read_plain(path, 0, max_bytes)
}

/// Opens a file whose content is checked as it is read, and gives its length in bytes.
/// `None` if it is not there.
///
/// # Errors
///
/// [`FileError::Io`], also if it is no plain file (a symbolic link is none).
pub fn open_untrusted(path: &Path) -> Result<Option<(File, u64)>, FileError> {
    let opened = FileError::none_if_missing(open_plain(path, libc::O_NOFOLLOW))?;
    Ok(opened.map(|(file, meta)| (file, meta.len())))
}

fn read_plain(path: &Path, flags: libc::c_int, max_bytes: u64) -> Result<Vec<u8>, FileError> {
    let (file, _) = open_plain(path, flags)?;
    read_up_to(file, path, max_bytes)
}

fn open_plain(path: &Path, flags: libc::c_int) -> Result<(File, fs::Metadata), FileError> {
    let meta = if flags & libc::O_NOFOLLOW == 0 {
        fs::metadata(path)
    } else {
        fs::symlink_metadata(path)
    };
    // Before opening, because that can do something to a device (a watchdog starts, a tape
    // rewinds).
    let before = meta.map_err(FileError::io("open", path))?;
    must_be_plain(path, &before)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(NEVER_WAITING | flags)
        .open(path)
        .map_err(FileError::io("open", path))?;
    let meta = file.metadata().map_err(FileError::io("look at", path))?;
    must_be_plain(path, &meta)?;
    Ok((file, meta))
}

pub(super) fn must_be_plain(path: &Path, meta: &fs::Metadata) -> Result<(), FileError> {
    if meta.is_file() {
        return Ok(());
    }
    let found = type_name(meta);
    let way_out = if found == "a FIFO" {
        ": put what comes through it into a file first"
    } else {
        ""
    };
    let why = format!("it is {found}, wanted a plain file{way_out}");
    Err(FileError::unfit("read", path, why))
}

pub(super) fn read_up_to(file: File, path: &Path, max_bytes: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    // One byte more than allowed shows that the file is too long.
    file.take(max_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(FileError::io("read", path))?;
    if bytes.len() as u64 > max_bytes {
        let why = format!("it is longer than {max_bytes} bytes, the most that is read");
        return Err(FileError::unfit("read", path, why));
    }
    Ok(bytes)
}
