//! Opens a folder that need not be ours alone, without being led into somebody else's: each
//! link on the way must belong to root, to us, or to the owner of the folder at its end.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::unistd::geteuid;

use crate::host::files::error::FileError;
use crate::host::files::trust::{LINK_LIMIT, parts};

pub(in crate::host) struct Link {
    pub path: PathBuf,
    pub owner: u32,
}

/// An open folder (`O_PATH`): it stays the same folder, whatever happens to its name.
pub(super) struct Folder {
    pub fd: OwnedFd,
    pub stat: FileStat,
}

impl Folder {
    /// Opens a folder to read there on behalf of its owner, or to write there.
    ///
    /// # Errors
    ///
    /// [`FileError::Untrusted`] for a link that a stranger could turn elsewhere;
    /// [`FileError::Io`] if the folder is not there or is none.
    pub fn open(path: &Path) -> Result<Folder, FileError> {
        let mut links = Vec::new();
        let fd = walk(path, &mut links)?;
        let stat = fstat(&fd).map_err(FileError::io("look at", path))?;
        let fine = [0, geteuid().as_raw(), stat.st_uid];
        match links.into_iter().find(|link| !fine.contains(&link.owner)) {
            None => Ok(Folder { fd, stat }),
            Some(link) => Err(FileError::untrusted(
                &link.path,
                format!(
                    "it is a symbolic link of uid {}, and leads to a folder of uid {}: name the folder itself",
                    link.owner, stat.st_uid
                ),
            )),
        }
    }

    pub fn stat(&self, name: &Path) -> nix::Result<FileStat> {
        fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW)
    }
}

/// The first link on the way to a folder that belongs neither to root nor to us.
/// A link that leads nowhere counts as well.
pub(in crate::host) fn link_of_others(path: &Path) -> Option<Link> {
    let mut links = Vec::new();
    // Whoever opens the folder reports why it cannot be reached.
    let _ = walk(path, &mut links);
    let ours = [0, geteuid().as_raw()];
    links.into_iter().find(|link| !ours.contains(&link.owner))
}

/// Opens each folder of the path relative to the one before, from the root, so that nobody can
/// replace a folder on the way with a link.
fn walk(path: &Path, links: &mut Vec<Link>) -> Result<OwnedFd, FileError> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let root = || open("/", flags, Mode::empty()).map_err(FileError::io("open", Path::new("/")));
    let absolute = std::path::absolute(path).map_err(FileError::io("find", path))?;
    let mut ahead: VecDeque<OsString> = parts(&absolute).collect();
    let (mut at, mut named) = (root()?, PathBuf::from("/"));
    while let Some(part) = ahead.pop_front() {
        let next = named.join(&part);
        let stat = fstatat(&at, part.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)
            .map_err(FileError::io("look at", &next))?;
        if stat.st_mode & libc::S_IFMT != libc::S_IFLNK {
            at = openat(&at, part.as_os_str(), flags, Mode::empty())
                .map_err(FileError::io("open the folder", &next))?;
            if part == ".." {
                named.pop();
            } else {
                named = next;
            }
            continue;
        }
        if links.len() >= LINK_LIMIT as usize {
            let looping = io::Error::from(Errno::ELOOP);
            return Err(FileError::io("follow the links of", path)(looping));
        }
        let target: PathBuf = readlinkat(&at, part.as_os_str())
            .map_err(FileError::io("read the link", &next))?
            .into();
        links.push(Link {
            path: next,
            owner: stat.st_uid,
        });
        if target.is_absolute() {
            (at, named) = (root()?, PathBuf::from("/"));
        }
        for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
            ahead.push_front(part);
        }
    }
    Ok(at)
}

/// Makes a rename or a new name in the folder survive a power cut.
pub(super) fn sync_folder(folder: &Path) -> Result<(), FileError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(FileError::io("flush the folder", folder))
}

pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder.as_os_str() != OsStr::new("") => folder,
        _ => Path::new("."),
    }
}
