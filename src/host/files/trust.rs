//! Decides whether a path commands trust: nobody but root and ourselves may be
//! able to change what it holds or where it leads. What it finds is either
//! trusted whole or refused; it never repairs owner or mode.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use nix::libc;
use nix::unistd::geteuid;

use super::{FileError, quoted};

/// As many symbolic links as the kernel itself follows in one path.
const LINK_LIMIT: u32 = 40;

const WRITABLE_BY_OTHERS: u32 = 0o022;
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
    trust_on_the_way(&at, &meta, we, wanted)?;
    let mut links = 0;

    while let Some(part) = ahead.pop_front() {
        if part == ".." {
            // Right, for `at` holds no links.
            at.pop();
            meta = stat(&at)?;
            continue;
        }
        let next = at.join(&part);
        meta = stat(&next)?;
        trust_on_the_way(&next, &meta, we, wanted)?;
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
fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

fn stat(path: &Path) -> Result<Metadata, FileError> {
    fs::symlink_metadata(path).map_err(FileError::io("look at", path))
}

fn trust_on_the_way(
    path: &Path,
    meta: &Metadata,
    we: u32,
    wanted: Wanted,
) -> Result<(), FileError> {
    match flaw(meta.uid(), meta.mode(), we) {
        None => Ok(()),
        Some(Flaw::Owner) => {
            let (owner, we_too) = (meta.uid(), format!(" or uid {we}"));
            let we_too = if we == 0 { "" } else { &we_too };
            let way_out = way_out_of_owner(path, meta.is_dir(), we, wanted);
            Err(untrusted(
                path,
                &format!("it belongs to uid {owner}, wanted root{we_too}: {way_out}"),
            ))
        }
        Some(Flaw::Mode) => Err(writable(path, meta)),
    }
}

/// A folder may be somebody's home: to give that away, as a command that is
/// copied would, does more harm than what it mends.
fn way_out_of_owner(path: &Path, is_folder: bool, we: u32, wanted: Wanted) -> String {
    if !is_folder {
        return format!("chown -h {we} {}", quoted(path));
    }
    let who = if we == 0 { "root" } else { "root or you" };
    match wanted {
        Wanted::Folder => format!("use a folder that only {who} can change"),
        Wanted::File | Wanted::FileOrLink if we == 0 => {
            "move the file to a folder that only root can change, such as /root".to_owned()
        }
        Wanted::File | Wanted::FileOrLink => {
            format!("move the file to a folder that only {who} can change")
        }
    }
}

/// What is asked of the end beyond [`trust_on_the_way`].
fn trust_at_the_end(path: &Path, meta: &Metadata, wanted: Wanted) -> Result<(), FileError> {
    let (fits, wanted) = match wanted {
        Wanted::Folder => (meta.is_dir(), "a folder"),
        Wanted::File | Wanted::FileOrLink => (meta.is_file(), "a plain file"),
    };
    if !fits {
        let found = type_name(meta.file_type());
        return Err(untrusted(path, &format!("it is {found}, wanted {wanted}")));
    }
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
    trust_on_the_way(path, meta, geteuid().as_raw(), Wanted::File)?;
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

fn writable(path: &Path, meta: &Metadata) -> FileError {
    let mode = meta.mode() & 0o7777;
    untrusted(
        path,
        &format!(
            "others may write to it (mode {mode:04o}): chmod go-w {}",
            quoted(path)
        ),
    )
}

fn untrusted(path: &Path, why: &str) -> FileError {
    FileError::Untrusted {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

/// What a file is, in words.
pub(in crate::host) fn type_name(kind: FileType) -> &'static str {
    if kind.is_file() {
        "a plain file"
    } else if kind.is_dir() {
        "a folder"
    } else if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
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
        let (home, policy) = (Path::new("/home/alice"), Path::new("/root/policy.toml"));
        for wanted in [Wanted::Folder, Wanted::File, Wanted::FileOrLink] {
            for we in [0, 1000] {
                let way_out = way_out_of_owner(home, true, we, wanted);
                assert!(way_out.contains("a folder that only root"), "{way_out}");
                assert!(!way_out.contains("chown"), "{way_out}");
            }
        }
        assert!(way_out_of_owner(home, true, 0, Wanted::File).ends_with("such as /root"));
        assert_eq!(
            way_out_of_owner(policy, false, 0, Wanted::FileOrLink),
            "chown -h 0 \"/root/policy.toml\""
        );
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
