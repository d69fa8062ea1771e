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

use crate::host::files::{FileError, quoted};

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
            return Err(untrusted(
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
    Err(untrusted(path, &format!("{found}: {way_out}")))
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
    Err(untrusted(path, &format!("it is {found}, wanted {wanted}")))
}

/// What is asked of the end beyond [`trust_on_the_way`].
fn trust_at_the_end(path: &Path, meta: &Metadata, wanted: Wanted) -> Result<(), FileError> {
    of_the_wanted_type(path, meta, wanted)?;
    if meta.mode() & WRITABLE_BY_OTHERS != 0 {
        // Only a sticky folder comes this far: others could put files there
        // under the names that we use.
        return Err(untrusted(
            path,
            &format!(
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

pub(super) fn untrusted(path: &Path, why: &str) -> FileError {
    FileError::Untrusted {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

/// What a file is, in words.
pub(in crate::host) fn type_name(meta: &Metadata) -> &'static str {
    type_name_of(meta.mode())
}

/// The same, from a mode (`st_mode`).
pub(super) fn type_name_of(mode: u32) -> &'static str {
    match mode & libc::S_IFMT {
        libc::S_IFREG => "a plain file",
        libc::S_IFDIR => "a folder",
        libc::S_IFLNK => "a symbolic link",
        libc::S_IFIFO => "a FIFO",
        libc::S_IFSOCK => "a socket",
        _ => "a device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const FILE: u32 = libc::S_IFREG;
    const FOLDER: u32 = libc::S_IFDIR;
    const LINK: u32 = libc::S_IFLNK;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    /// A folder of ours with `real/file` in it, free of links.
    fn scene() -> (tempfile::TempDir, PathBuf) {
        let folder = crate::host::folder_of_ours();
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir(root.join("real")).unwrap();
        chmod(&root.join("real"), 0o755);
        fs::write(root.join("real/file"), "x").unwrap();
        chmod(&root.join("real/file"), 0o644);
        (folder, root)
    }

    fn refused(path: &Path, wanted: Wanted) -> PathBuf {
        match check(path, wanted) {
            Err(FileError::Untrusted { path, .. }) => path,
            other => panic!("wanted a refusal, got {other:?}"),
        }
    }

    #[test]
    fn only_root_and_we_may_own() {
        assert_eq!(flaw(0, FILE | 0o644, 1000), None);
        assert_eq!(flaw(1000, FILE | 0o644, 1000), None);
        assert_eq!(flaw(1001, FILE | 0o600, 1000), Some(Flaw::Owner));
        assert_eq!(flaw(1000, FILE | 0o600, 0), Some(Flaw::Owner));
        assert_eq!(flaw(1001, LINK | 0o777, 0), Some(Flaw::Owner));
        // The owner of a sticky folder may move everything in it.
        assert_eq!(flaw(1001, FOLDER | 0o1777, 1000), Some(Flaw::Owner));
    }

    #[test]
    fn no_folder_is_given_away_for_the_sake_of_a_file_in_it() {
        for wanted in [Wanted::Folder, Wanted::File, Wanted::FileOrLink] {
            for we in [0, 1000] {
                let way_out = elsewhere(we, wanted, true);
                assert!(way_out.contains("a folder that only root"), "{way_out}");
            }
        }
        assert!(elsewhere(0, Wanted::File, true).ends_with("such as /root"));
    }

    /// What is advised where this path is not trusted.
    fn advice(path: &Path, wanted: Wanted) -> String {
        check(path, wanted).unwrap_err().to_string()
    }

    #[test]
    fn no_command_is_advised_for_what_is_not_ours_to_mend() {
        let (_folder, root) = scene();
        let file = root.join("real/file");
        chmod(&file, 0o646);
        assert!(advice(&file, Wanted::File).contains("chmod go-w"));
        // Anybody may have put it there, and who did may have it open still.
        chmod(&root.join("real"), 0o1777);
        let said = advice(&file, Wanted::File);
        assert!(said.contains("read it, then copy it"), "{said}");
        // A team's folder.
        chmod(&root.join("real"), 0o775);
        let said = advice(&file, Wanted::File);
        assert!(said.contains("move the file to a folder"), "{said}");
        assert!(!said.contains("chmod"), "{said}");
        let said = advice(&root.join("real/state"), Wanted::Folder);
        assert!(said.contains("use a folder that only root"), "{said}");
        // Our own, and wrong.
        assert!(advice(&root.join("real"), Wanted::Folder).contains("chmod go-w"));
    }

    #[test]
    fn of_a_device_or_folder_its_type_is_said_and_no_mode_is_advised() {
        let (_folder, root) = scene();
        chmod(&root.join("real"), 0o777);
        for (path, found) in [
            (PathBuf::from("/dev/null"), "it is a device"),
            (PathBuf::from("/tmp"), "it is a folder"),
            (root.join("real"), "it is a folder"),
        ] {
            for wanted in [Wanted::File, Wanted::FileOrLink] {
                let said = advice(&path, wanted);
                assert!(
                    said.contains(&format!("{found}, wanted a plain file")),
                    "{said}"
                );
                assert!(!said.contains("chmod"), "{said}");
            }
        }
        let said = advice(Path::new("/dev/null"), Wanted::Folder);
        assert!(said.contains("it is a device, wanted a folder"), "{said}");
    }

    #[test]
    fn neither_group_nor_others_may_write() {
        assert_eq!(flaw(0, FILE | 0o755, 0), None);
        assert_eq!(flaw(0, FILE | 0o620, 0), Some(Flaw::Mode));
        assert_eq!(flaw(0, FILE | 0o602, 0), Some(Flaw::Mode));
        assert_eq!(flaw(0, FOLDER | 0o775, 0), Some(Flaw::Mode));
        assert_eq!(flaw(0, LINK | 0o777, 0), None);
    }

    #[test]
    fn the_sticky_bit_excuses_a_folder_and_nothing_else() {
        assert_eq!(flaw(0, FOLDER | 0o1777, 1000), None);
        assert_eq!(flaw(0, FILE | 0o1666, 1000), Some(Flaw::Mode));
    }

    #[test]
    fn a_file_of_ours_in_a_folder_of_ours_is_trusted() {
        let (_folder, root) = scene();
        let file = root.join("real/file");
        assert_eq!(check(&file, Wanted::File).unwrap(), file);
        assert_eq!(
            check(&root.join("real/../real/./file"), Wanted::File).unwrap(),
            file
        );
    }

    #[test]
    fn a_file_that_others_may_write_is_refused_by_name_with_the_way_out() {
        let (_folder, root) = scene();
        let file = root.join("real/file");
        chmod(&file, 0o646);
        let error = check(&file, Wanted::File).unwrap_err().to_string();
        assert!(error.contains("mode 0646"), "{error}");
        assert!(error.contains(&format!("chmod go-w {file:?}")), "{error}");
    }

    #[test]
    fn a_parent_that_others_may_write_is_refused_by_name() {
        let (_folder, root) = scene();
        chmod(&root, 0o770);
        assert_eq!(refused(&root.join("real/file"), Wanted::File), root);
    }

    #[test]
    fn a_missing_file_below_an_untrusted_parent_is_untrusted_not_missing() {
        let (_folder, root) = scene();
        assert!(
            check(&root.join("real/none"), Wanted::File)
                .unwrap_err()
                .is_not_found()
        );
        chmod(&root.join("real"), 0o777);
        assert_eq!(
            refused(&root.join("real/none"), Wanted::File),
            root.join("real")
        );
    }

    #[test]
    fn a_sticky_parent_is_fine_but_not_as_the_state_folder_itself() {
        let (_folder, root) = scene();
        chmod(&root, 0o1777);
        check(&root.join("real/file"), Wanted::File).unwrap();
        assert_eq!(refused(&root, Wanted::Folder), root);
        assert_eq!(refused(&root.join("real/.."), Wanted::Folder), root);
    }

    #[test]
    fn a_link_needs_both_its_own_folder_and_its_target_trusted() {
        let (_folder, root) = scene();
        fs::create_dir(root.join("etc")).unwrap();
        chmod(&root.join("etc"), 0o755);
        let link = root.join("etc/policy.toml");
        symlink("../real/file", &link).unwrap();
        assert_eq!(
            check(&link, Wanted::FileOrLink).unwrap(),
            root.join("real/file")
        );
        chmod(&root.join("real"), 0o777);
        assert_eq!(refused(&link, Wanted::FileOrLink), root.join("real"));
        chmod(&root.join("real"), 0o700);
        chmod(&root.join("etc"), 0o777);
        assert_eq!(refused(&link, Wanted::FileOrLink), root.join("etc"));
    }

    #[test]
    fn a_linked_folder_on_the_way_is_followed_and_judged() {
        let (_folder, root) = scene();
        symlink(root.join("real"), root.join("link")).unwrap();
        let path = root.join("link/file");
        assert_eq!(check(&path, Wanted::File).unwrap(), root.join("real/file"));
        chmod(&root.join("real"), 0o777);
        assert_eq!(refused(&path, Wanted::File), root.join("real"));
    }

    #[test]
    fn links_in_a_circle_end() {
        let (_folder, root) = scene();
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        let error = check(&root.join("a"), Wanted::FileOrLink).unwrap_err();
        assert!(matches!(error, FileError::Io { .. }), "{error}");
    }

    #[test]
    fn what_is_no_plain_file_is_refused() {
        let (_folder, root) = scene();
        let fifo = root.join("fifo");
        mkfifo(&fifo, Mode::S_IRUSR).unwrap();
        assert_eq!(refused(&fifo, Wanted::File), fifo);
        assert_eq!(refused(&root.join("real"), Wanted::File), root.join("real"));
        assert_eq!(
            refused(&root.join("real/file"), Wanted::Folder),
            root.join("real/file")
        );
        symlink("real/file", root.join("link")).unwrap();
        assert_eq!(refused(&root.join("link"), Wanted::File), root.join("link"));
    }
}
