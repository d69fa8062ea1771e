//! Reads files that must be trusted: our state, and the policy.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc;

use crate::host::files::error::FileError;
use crate::host::files::plain::read_up_to;
use crate::host::files::trust::{Wanted, check};

/// Reads one of our own files; `None` if it is not there. A symbolic link is refused, because
/// we never make one.
///
/// # Errors
///
/// [`FileError::Untrusted`], also for a missing file in an untrusted folder, where anybody
/// could put one; [`FileError::Io`], also for a file of more than `max_bytes`.
pub fn read_trusted(path: &Path, max_bytes: u64) -> Result<Option<Vec<u8>>, FileError> {
    read_as(path, Wanted::File, max_bytes)
}

/// As [`read_trusted`], for a policy: it may be a symbolic link if the link and its target
/// are trusted. A link that leads nowhere is an error: somebody wanted a policy there.
///
/// # Errors
///
/// As [`read_trusted`].
pub fn read_trusted_through_links(
    path: &Path,
    max_bytes: u64,
) -> Result<Option<Vec<u8>>, FileError> {
    read_as(path, Wanted::FileOrLink, max_bytes)
}

/// As [`read_trusted`], but only the last `max_bytes` of a longer file. They may begin
/// inside a line.
///
/// # Errors
///
/// As [`read_trusted`].
pub fn read_trusted_end(path: &Path, max_bytes: u64) -> Result<Option<Vec<u8>>, FileError> {
    let Some(mut file) = open_as(path, Wanted::File)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.metadata()
        .and_then(|meta| file.seek(SeekFrom::Start(meta.len().saturating_sub(max_bytes))))
        // The file may grow meanwhile.
        .and_then(|_| file.take(max_bytes).read_to_end(&mut bytes))
        .map_err(FileError::io("read", path))?;
    Ok(Some(bytes))
}

/// `None` if the file is not there.
fn open_as(path: &Path, wanted: Wanted) -> Result<Option<File>, FileError> {
    let real = match check(path, wanted) {
        Ok(real) => real,
        Err(error) if error.is_not_found() && !path.is_symlink() => return Ok(None),
        Err(error) => return Err(error),
    };
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&real)
        .map(Some)
        .map_err(FileError::io("open", path))
}

fn read_as(path: &Path, wanted: Wanted, max_bytes: u64) -> Result<Option<Vec<u8>>, FileError> {
    let Some(file) = open_as(path, wanted)? else {
        return Ok(None);
    };
    read_up_to(file, path, max_bytes).map(Some)
}
