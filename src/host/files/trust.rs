//! Decides whether a path is trusted: nobody but root and we can change its content or where it
//! leads. Owners and modes are never repaired.

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
use crate::model::text::for_shell;

/// As many symbolic links as the kernel itself follows in one path.
pub(super) const LINK_LIMIT: u32 = 40;

pub(super) const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A folder; the path may end in a symbolic link.
    Folder,
    /// A plain file; the path must not end in a symbolic link.
    File,
    /// A plain file; the path may end in a symbolic link.
    FileOrLink,
}

/// Walks `path` from the root, through every symbolic link, and returns where it leads.
///
/// Every folder and link on the way, and the end, must belong to root or to the effective
/// user and must not be writable by group or others. One exception: a folder on the way
/// that has the sticky bit, such as `/tmp`, may be writable by all, because nobody can move or
/// replace there what we or root own.
///
/// Access control lists need no check of their own: their mask shows as the group's bits.
///
/// Others cannot change afterwards what has passed, so the returned path can be opened
/// without a race.
///
/// # Errors
///
/// [`FileError::Untrusted`] names the first thing on the way that others could change, and
/// the way out; [`FileError::Io`] with [`io::ErrorKind::NotFound`] if all before the
/// missing part is trusted.
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
            // `at` holds no links, so this is the parent.
            at.pop();
            meta = stat(&at)?;
            continue;
        }
        let next = at.join(&part);
        let guarded = meta.mode() & WRITABLE_BY_OTHERS == 0;
        meta = stat(&next)?;
        if ahead.is_empty() && !meta.is_symlink() {
            // Before owner and mode: nobody must be told to make a device ours.
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
        // A target such as "/" has no parts: then `at` is the end.
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

/// `ours_to_mend`: it is the end of the way, in a folder where nobody else could have put it.
/// Then only its owner or mode is wrong, and a command repairs that.
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
                format!("chown -h {we} {}", for_shell(path)),
            )
        }
        Some(Flaw::Mode) => (
            format!("others may write to it (mode {:04o})", meta.mode() & 0o7777),
            format!("chmod go-w {}", for_shell(path)),
        ),
    };
    let mendable = match wanted {
        // It may be somebody's home: changing its owner does more harm than good.
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

/// What to do where a command would do harm: a folder on the way may be somebody's home or a
/// team's, and a file in a folder that others may write to may be theirs.
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

/// The rules for the end, beyond those of [`trust_on_the_way`].
fn trust_at_the_end(path: &Path, meta: &Metadata, wanted: Wanted) -> Result<(), FileError> {
    of_the_wanted_type(path, meta, wanted)?;
    if meta.mode() & WRITABLE_BY_OTHERS != 0 {
        // Only a sticky folder comes this far: others could put files there under the names
        // that we use.
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

/// As [`check`], for an open file whose folder is trusted.
pub(in crate::host) fn check_open_file(path: &Path, meta: &Metadata) -> Result<(), FileError> {
    of_the_wanted_type(path, meta, Wanted::File)?;
    trust_on_the_way(path, meta, geteuid().as_raw(), Wanted::File, true)?;
    trust_at_the_end(path, meta, Wanted::File)
}

#[derive(Debug, PartialEq, Eq)]
enum Flaw {
    Owner,
    Mode,
}

/// The rule itself: what is wrong for user `we` with this owner and mode (`st_mode`, with the
/// type).
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
