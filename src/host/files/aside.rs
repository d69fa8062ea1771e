//! Sets a file of ours aside, or keeps it under another name.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc;

use crate::host::file_id::FileId;
use crate::host::files::error::FileError;
use crate::host::files::folder::{folder_of, sync_folder};
use crate::host::files::write::TEMPORARY;

/// Corrupt files of one name that are kept.
pub(super) const QUARANTINE_LIMIT: u32 = 9;

/// Moves a file that makes no sense to `NAME.corrupt-1` or the next free number, and returns
/// that path. After nine, the ninth is replaced: the first ones show how it began, and the disk
/// must not fill up.
///
/// # Errors
///
/// [`FileError::Io`] if it cannot be moved.
pub fn quarantine(path: &Path) -> Result<PathBuf, FileError> {
    let mut number = 1;
    let aside = loop {
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".corrupt-{number}"));
        let aside = PathBuf::from(aside);
        // A link that leads nowhere counts as taken, too.
        if number == QUARANTINE_LIMIT || fs::symlink_metadata(&aside).is_err() {
            break aside;
        }
        number += 1;
    };
    fs::rename(path, &aside).map_err(FileError::io("set aside", path))?;
    sync_folder(folder_of(path))?;
    Ok(aside)
}

/// Gives a file a second name, in place of the file that had that name. At no moment is
/// either missing.
///
/// # Errors
///
/// [`FileError::Io`]. A kill can leave a temporary name of the file, see [`crate::host::run_lock::RunLock::remove_leftovers`].
pub fn keep_as(path: &Path, other: &Path) -> Result<(), FileError> {
    let folder = folder_of(other);
    // A run that was cut off may have come this far. Renaming one name of a file to another
    // name of it does nothing, and would leave the temporary name.
    let file = |path| fs::metadata(path).ok().map(|meta| FileId::of(&meta));
    if file(path).is_some_and(|it| file(other) == Some(it)) {
        return sync_folder(folder);
    }
    let unnamed = tempfile::Builder::new()
        .prefix(".")
        .suffix(TEMPORARY)
        .make_in(folder, |temporary| match fs::hard_link(path, temporary) {
            // CIFS, vfat and some of FUSE have no links.
            Err(error) if has_no_links(&error) => copy_durably(path, temporary),
            linked => linked,
        })
        .map_err(|error| FileError::io("set aside", path)(without_name(error)))?;
    unnamed
        .persist(other)
        .map_err(|error| FileError::io("set aside", path)(without_name(error.error)))?;
    sync_folder(folder)
}

/// tempfile adds a path that is gone by now.
fn without_name(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(_) => error,
        None => error.kind().into(),
    }
}

fn has_no_links(error: &io::Error) -> bool {
    let without = [libc::EPERM, libc::EOPNOTSUPP, libc::ENOSYS];
    error
        .raw_os_error()
        .is_some_and(|number| without.contains(&number))
}

fn copy_durably(path: &Path, other: &Path) -> io::Result<()> {
    let mut copy = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(other)?;
    io::copy(&mut File::open(path)?, &mut copy)?;
    copy.sync_all()
}
