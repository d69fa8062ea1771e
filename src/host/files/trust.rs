//! Decides whether a path commands trust: nobody but root and ourselves may be
//! able to change what it holds or where it leads. What it finds is either
//! trusted whole or refused; it never repairs owner or mode.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::libc;
use nix::unistd::geteuid;

use crate::host::files::error::FileError;
use crate::host::files::kind::type_name;
use crate::model::text::quoted;

/// As many symbolic links as the kernel itself follows in one path.
pub(super) const LINK_LIMIT: u32 = 40;

pub(super) const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// What a trusted path must lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A folder; the path may end in a symbolic link.
    Folder,
    /// A plain file; the path must not end in a symbolic link.
    File,
    /// A plain file; the path may end in a symbolic link.
    FileOrLink,
}

/// Walks `path` from the root, through every symbolic link, and returns where
/// it really leads.
///
/// Every folder and link on the way, and the end, must belong to root or to the
/// effective user and must not be writable by group or others. One exception:
/// a folder with the sticky bit, such as `/tmp`, may be writable by all, for
/// there nobody can move or replace what we or root own.
///
/// Access control lists need no look of their own: their mask shows as the
/// group's bits.
///
/// What has passed cannot be changed by others afterwards, so it may then be
/// opened by the returned path without a race.
///
/// # Errors
///
/// [`FileError::Untrusted`] names the first thing on the way that others could
/// change and how to mend it; [`FileError::Io`] with
/// [`io::ErrorKind::NotFound`] if all before the missing part is trusted.
pub fn check(path: &Path, wanted: Wanted) -> Result<PathBuf, FileError> {
    let we = geteuid().as_raw();
    let absolute = std::path::absolute(path).map_err(FileError::io("find", path))?;
    let mut ahead: VecDeque<OsString> = parts(&absolute).collect();
    let mut at = PathBuf::from("/");
    let mut meta = stat(&at)?;
    trust_on_the_way(&at, &meta, we, wanted, false)?;
    let mut links = 0;

    while let Some(part) = ahead.pop_front() {
        if part == ".." {
            // Right, for `at` holds no links.
            at.pop();
            meta = stat(&at)?;
            continue;
        }
        let next = at.join(&part);
        let guarded = meta.mode() & WRITABLE_BY_OTHERS == 0;
        meta = stat(&next)?;
        if ahead.is_empty() && !meta.is_symlink() {
            // Before owner and mode: a device must not be made ours.
            of_the_wanted_type(&next, &meta, wanted)?;
        }
        trust_on_the_way(&next, &meta, we, wanted, guarded && ahead.is_empty())?;
        if !meta.is_symlink() {
            at = next;
            continue;
        }
        if wanted == Wanted::File && ahead.is_empty() {
            return Err(FileError::untrusted(
                &next,
                "it is a symbolic link, wanted a plain file",
            ));
        }
        links += 1;
        if links > LINK_LIMIT {
            let looping = io::Error::from_raw_os_error(libc::ELOOP);
            return Err(FileError::io("follow the links of", path)(looping));
        }
        let target = fs::read_link(&next).map_err(FileError::io("read the link", &next))?;
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
            ahead.push_front(part);
        }
        // A target such as "/" has no parts, and then `at` is the end.
        meta = stat(&at)?;
    }
    trust_at_the_end(&at, &meta, wanted)?;
    Ok(at)
}

/// The names in a path, `..` included; the root and `.` are none.
pub(super) fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

fn stat(path: &Path) -> Result<Metadata, FileError> {
    fs::symlink_metadata(path).map_err(FileError::io("look at", path))
}

/// `ours_to_mend`: the end of the way, in a folder where nobody else could have
/// put it. Then its owner or mode is what is wrong, and a command mends it.
fn trust_on_the_way(
    path: &Path,
    meta: &Metadata,
    we: u32,
    wanted: Wanted,
    ours_to_mend: bool,
) -> Result<(), FileError> {
    let (found, command) = match flaw(meta.uid(), meta.mode(), we) {
        None => return Ok(()),
        Some(Flaw::Owner) => {
            let we_too = if we == 0 {
                String::new()
            } else {
                format!(" or uid {we}")
            };
            (
                format!("it belongs to uid {}, wanted root{we_too}", meta.uid()),
                format!("chown -h {we} {}", quoted(path)),
            )
        }
        Some(Flaw::Mode) => (
            format!("others may write to it (mode {:04o})", meta.mode() & 0o7777),
            format!("chmod go-w {}", quoted(path)),
        ),
    };
    let mendable = match wanted {
        // It may be somebody's home: to give that away does more harm than what it mends.
        Wanted::Folder => meta.uid() == we,
        Wanted::File | Wanted::FileOrLink => !meta.is_dir(),
    };
    let way_out = if ours_to_mend && mendable {
        command
    } else if meta.is_symlink() {
        "name what it leads to".to_owned()
    } else {
        elsewhere(we, wanted, meta.is_dir())
    };
    Err(FileError::untrusted(path, format!("{found}: {way_out}")))
}

/// A folder on the way may be somebody's home or a team's, and a file in a folder
/// where anybody may put one was perhaps put there: neither is to be made ours by
/// a command that is copied.
fn elsewhere(we: u32, wanted: Wanted, is_folder: bool) -> String {
    let (who, such_as) = if we == 0 {
        ("root", ", such as /root")
    } else {
        ("root or you", "")
    };
    match wanted {
        Wanted::Folder => format!("use a folder that only {who} can change"),
        Wanted::File | Wanted::FileOrLink if is_folder => {
            format!("move the file to a folder that only {who} can change{such_as}")
        }
        Wanted::File | Wanted::FileOrLink => {
            format!("read it, then copy it to a folder that only {who} can change{such_as}")
        }
    }
}

fn of_the_wanted_type(path: &Path, meta: &Metadata, wanted: Wanted) -> Result<(), FileError> {
    let (fits, wanted) = match wanted {
        Wanted::Folder => (meta.is_dir(), "a folder"),
        Wanted::File | Wanted::FileOrLink => (meta.is_file(), "a plain file"),
    };
    if fits {
        return Ok(());
    }
    let found = type_name(meta);
    Err(FileError::untrusted(
        path,
        format!("it is {found}, wanted {wanted}"),
    ))
}

/// What is asked of the end beyond [`trust_on_the_way`].
fn trust_at_the_end(path: &Path, meta: &Metadata, wanted: Wanted) -> Result<(), FileError> {
    of_the_wanted_type(path, meta, wanted)?;
    if meta.mode() & WRITABLE_BY_OTHERS != 0 {
        // Only a sticky folder comes this far: others could put files there
        // under the names that we use.
        return Err(FileError::untrusted(
            path,
            format!(
                "others may write to it (mode {:04o}): name a folder of its own",
                meta.mode() & 0o7777
            ),
        ));
    }
    Ok(())
}

/// Asserts the trust of an open file, where a path was opened in one go.
pub(in crate::host) fn check_open_file(path: &Path, meta: &Metadata) -> Result<(), FileError> {
    of_the_wanted_type(path, meta, Wanted::File)?;
    // Where it lies is trusted already.
    trust_on_the_way(path, meta, geteuid().as_raw(), Wanted::File, true)?;
    trust_at_the_end(path, meta, Wanted::File)
}

#[derive(Debug, PartialEq, Eq)]
enum Flaw {
    Owner,
    Mode,
}

/// The rule itself, apart from the file system: what speaks against an entry
/// of this owner and mode (`st_mode`, type included), when `we` are looking.
fn flaw(owner: u32, mode: u32, we: u32) -> Option<Flaw> {
    if owner != 0 && owner != we {
        return Some(Flaw::Owner);
    }
    let kind = mode & libc::S_IFMT;
    // A link's mode is always 0777 and means nothing.
    if kind == libc::S_IFLNK || mode & WRITABLE_BY_OTHERS == 0 {
        return None;
    }
    // The sticky bit guards a folder's entries; on a file it means nothing.
    let guarded = kind == libc::S_IFDIR && mode & STICKY != 0;
    (!guarded).then_some(Flaw::Mode)
}

#[cfg(test)]
mod tests;
