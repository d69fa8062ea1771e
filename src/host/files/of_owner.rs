//! Reads a file in a user's folder with only the rights of that user.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::geteuid;

use crate::host::files::error::FileError;
use crate::host::files::folder::Folder;
use crate::host::files::kind::type_name_of;
use crate::host::files::plain::{NEVER_WAITING, must_be_plain, read_named, read_up_to};
use crate::host::files::trust::WRITABLE_BY_OTHERS;
use crate::host::files::trusted::read_trusted_through_links;

#[derive(Debug)]
pub struct OfOther {
    pub bytes: Vec<u8>,
    /// The user who owns the file and its folder.
    pub owner: u32,
}

/// Reads a file in a user's folder. Root reads it on that user's behalf: the file must belong
/// to that user, too, be no link, and not be writable by others, or root would lend its rights
/// or use another user's. In root's own folder links of root are followed, and without root all
/// are. `None` if the file is not there.
///
/// # Errors
///
/// [`FileError::Untrusted`] for a file that breaks these rules; [`FileError::Io`] as for
/// [`read_named`].
pub fn read_of_owner(
    folder: &Path,
    name: &str,
    max_bytes: u64,
) -> Result<Option<OfOther>, FileError> {
    let path = folder.join(name);
    if !geteuid().is_root() {
        let owner = fs::metadata(&path).map(|meta| meta.uid());
        let Some(bytes) = FileError::none_if_missing(read_named(&path, max_bytes))? else {
            return Ok(None);
        };
        let owner = owner.map_err(FileError::io("look at", &path))?;
        return Ok(Some(OfOther { bytes, owner }));
    }
    let Some(place) = FileError::none_if_missing(Folder::open(folder))? else {
        return Ok(None);
    };
    let owner = place.stat.st_uid;
    if owner == 0 {
        let bytes = read_trusted_through_links(&path, max_bytes)?;
        return Ok(bytes.map(|bytes| OfOther { bytes, owner }));
    }
    if place.stat.st_mode & WRITABLE_BY_OTHERS != 0 {
        return Err(writable(folder, place.stat.st_mode));
    }
    let bytes = read_of(&place, &path, Path::new(name), max_bytes)?;
    Ok(bytes.map(|bytes| OfOther { bytes, owner }))
}

fn read_of(
    place: &Folder,
    path: &Path,
    name: &Path,
    max_bytes: u64,
) -> Result<Option<Vec<u8>>, FileError> {
    let owner = place.stat.st_uid;
    match place.stat(name) {
        Ok(stat) if stat.st_mode & libc::S_IFMT != libc::S_IFREG => {
            let found = type_name_of(stat.st_mode);
            let why = format!("it is {found}, wanted a plain file of uid {owner}");
            return Err(FileError::untrusted(path, why));
        }
        Ok(_) => {}
        Err(Errno::ENOENT) => return Ok(None),
        Err(errno) => return Err(FileError::io("look at", path)(errno)),
    }
    let flags = OFlag::from_bits_retain(NEVER_WAITING) | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file =
        openat(&place.fd, name, flags, Mode::empty()).map_err(FileError::io("open", path))?;
    let file = File::from(file);
    let meta = file.metadata().map_err(FileError::io("look at", path))?;
    must_be_plain(path, &meta)?;
    if meta.uid() != owner {
        let why = format!(
            "it belongs to uid {}, its folder to uid {owner}: wanted one owner of both",
            meta.uid()
        );
        return Err(FileError::untrusted(path, why));
    }
    if meta.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(writable(path, meta.mode()));
    }
    read_up_to(file, path, max_bytes).map(Some)
}

fn writable(path: &Path, mode: u32) -> FileError {
    let mode = mode & 0o7777;
    FileError::untrusted(
        path,
        format!("others may write to it (mode {mode:04o}), wanted its owner alone"),
    )
}

#[cfg(test)]
mod tests;
