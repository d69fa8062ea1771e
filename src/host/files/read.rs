//! Reads files that others may have written. The one way in which the program
//! reads a file that somebody named, or that lies where others may put one: it
//! opens plain files only, waits for nobody, and reads no more than it was told.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::geteuid;

use crate::host::files::folder::Folder;
use crate::host::files::trust::{WRITABLE_BY_OTHERS, type_name, type_name_of, untrusted};
use crate::host::files::{FileError, read_trusted_through_links};

/// To open a FIFO waits for its writer, to open a terminal may make it ours.
const NEVER_WAITING: libc::c_int = libc::O_NONBLOCK | libc::O_NOCTTY;

/// Reads a file that nothing rests on: the metrics of the last run. `None` if it
/// is not there.
///
/// # Errors
///
/// [`FileError::Io`], also if it is no plain file (a symbolic link is none) or
/// longer than `max_bytes`.
pub fn read_untrusted(path: &Path, max_bytes: u64) -> Result<Option<Vec<u8>>, FileError> {
    match read_plain(path, libc::O_NOFOLLOW, max_bytes) {
        Err(error) if error.is_not_found() => Ok(None),
        other => other.map(Some),
    }
}

/// Reads a file that somebody named, and that others may have written; it may be a
/// symbolic link, and must be there.
///
/// # Errors
///
/// As [`read_untrusted`].
pub fn read_named(path: &Path, max_bytes: u64) -> Result<Vec<u8>, FileError> {
    read_plain(path, 0, max_bytes)
}

fn read_plain(path: &Path, flags: libc::c_int, max_bytes: u64) -> Result<Vec<u8>, FileError> {
    let look = if flags & libc::O_NOFOLLOW == 0 {
        fs::metadata(path)
    } else {
        fs::symlink_metadata(path)
    };
    // Before opening: to open a device can be an act (a watchdog starts, a tape rewinds).
    let before = look.map_err(FileError::io("open", path))?;
    must_be_plain(path, &before)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(NEVER_WAITING | flags)
        .open(path)
        .map_err(FileError::io("open", path))?;
    let meta = file.metadata().map_err(FileError::io("look at", path))?;
    must_be_plain(path, &meta)?;
    read_up_to(file, path, max_bytes)
}

fn must_be_plain(path: &Path, meta: &fs::Metadata) -> Result<(), FileError> {
    if meta.is_file() {
        return Ok(());
    }
    let found = type_name(meta);
    let way_out = if found == "a FIFO" {
        ": put what comes through it into a file first"
    } else {
        ""
    };
    let source = io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("it is {found}, wanted a plain file{way_out}"),
    );
    Err(FileError::io("read", path)(source))
}

pub(super) fn read_up_to(file: File, path: &Path, max_bytes: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells "full" from "too long".
    file.take(max_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(FileError::io("read", path))?;
    if bytes.len() as u64 > max_bytes {
        let source = io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is longer than {max_bytes} bytes, the most that is read"),
        );
        return Err(FileError::io("read", path)(source));
    }
    Ok(bytes)
}

/// A file that was read with the rights of its reader, and whose it is.
#[derive(Debug)]
pub struct OfOther {
    /// What is in it.
    pub bytes: Vec<u8>,
    /// The user whose file and folder it is.
    pub owner: u32,
}

/// Reads a file in a user's folder. Root does it on that user's behalf, so the
/// file must be that user's, too, no link, and nobody else's to write: else root
/// would lend its rights, or use another user's. In a folder of root's own, and
/// for who is not root, links are followed as ever. `None` if it is not there.
///
/// # Errors
///
/// [`FileError::Untrusted`] for what is said above; [`FileError::Io`] as
/// [`read_named`].
pub fn read_of_owner(
    folder: &Path,
    name: &str,
    max_bytes: u64,
) -> Result<Option<OfOther>, FileError> {
    let path = folder.join(name);
    let missing = |error: FileError| {
        if error.is_not_found() {
            Ok(None)
        } else {
            Err(error)
        }
    };
    if !geteuid().is_root() {
        let owner = fs::metadata(&path).map(|meta| meta.uid());
        return match read_named(&path, max_bytes) {
            Ok(bytes) => {
                let owner = owner.map_err(FileError::io("look at", &path))?;
                Ok(Some(OfOther { bytes, owner }))
            }
            Err(error) => missing(error),
        };
    }
    let place = match Folder::open(folder) {
        Ok(place) => place,
        Err(error) => return missing(error),
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
    let fault = |doing| move |errno: Errno| FileError::io(doing, path)(errno.into());
    match place.stat(name) {
        Ok(stat) if stat.st_mode & libc::S_IFMT != libc::S_IFREG => {
            let found = type_name_of(stat.st_mode);
            let why = format!("it is {found}, wanted a plain file of uid {owner}");
            return Err(untrusted(path, &why));
        }
        Ok(_) => {}
        Err(Errno::ENOENT) => return Ok(None),
        Err(errno) => return Err(fault("look at")(errno)),
    }
    let flags = OFlag::from_bits_retain(NEVER_WAITING) | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(&place.fd, name, flags, Mode::empty()).map_err(fault("open"))?;
    let file = File::from(file);
    let meta = file.metadata().map_err(FileError::io("look at", path))?;
    must_be_plain(path, &meta)?;
    if meta.uid() != owner {
        let why = format!(
            "it belongs to uid {}, its folder to uid {owner}: wanted one owner of both",
            meta.uid()
        );
        return Err(untrusted(path, &why));
    }
    if meta.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(writable(path, meta.mode()));
    }
    read_up_to(file, path, max_bytes).map(Some)
}

fn writable(path: &Path, mode: u32) -> FileError {
    let mode = mode & 0o7777;
    untrusted(
        path,
        &format!("others may write to it (mode {mode:04o}), wanted its owner alone"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
    use std::path::PathBuf;

    const ALICE: u32 = 4_001;
    const BOB: u32 = 4_002;

    /// A folder of this user with a file `config.json` in it that holds `x`.
    fn of(owner: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = crate::host::folder_of_ours();
        let path = folder.path().join("config.json");
        fs::write(&path, "x").unwrap();
        chmod(&path, 0o600);
        chown(&path, Some(owner), Some(owner)).unwrap();
        chown(folder.path(), Some(owner), Some(owner)).unwrap();
        (folder, path)
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    fn read(folder: &tempfile::TempDir) -> Result<Option<OfOther>, FileError> {
        read_of_owner(folder.path(), "config.json", 10)
    }

    #[track_caller]
    fn refused(folder: &tempfile::TempDir, named: &Path, why: &str) {
        let error = read(folder).unwrap_err();
        assert!(
            matches!(&error, FileError::Untrusted { path, .. } if path == named),
            "{error}"
        );
        assert!(error.to_string().contains(why), "{error}");
    }

    #[test]
    fn root_reads_what_is_a_users_alone_and_says_whose_it_is() {
        if !geteuid().is_root() {
            return;
        }
        for owner in [0, ALICE] {
            let (folder, path) = of(owner);
            let found = read(&folder).unwrap().unwrap();
            assert_eq!((found.bytes.as_slice(), found.owner), (&b"x"[..], owner));
            fs::rename(&path, folder.path().join("other")).unwrap();
            assert!(read(&folder).unwrap().is_none());
        }
        assert!(
            read_of_owner(Path::new("/none/.docker"), "config.json", 10)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn root_reads_no_file_of_another_than_the_folders_owner() {
        if !geteuid().is_root() {
            return;
        }
        for other in [0, BOB] {
            let (folder, path) = of(ALICE);
            chown(&path, Some(other), Some(other)).unwrap();
            refused(
                &folder,
                &path,
                &format!("it belongs to uid {other}, its folder to uid 4001"),
            );
        }
        let (folder, path) = of(0);
        chown(&path, Some(ALICE), Some(ALICE)).unwrap();
        refused(&folder, &path, "it belongs to uid 4001");
    }

    #[test]
    fn root_reads_no_file_that_others_may_write() {
        if !geteuid().is_root() {
            return;
        }
        for owner in [0, ALICE] {
            for mode in [0o620, 0o602, 0o666] {
                let (folder, path) = of(owner);
                chmod(&path, mode);
                refused(&folder, &path, "others may write to it");
                let (folder, _) = of(owner);
                chmod(folder.path(), mode | 0o100);
                refused(&folder, folder.path(), "others may write to it");
            }
        }
    }

    #[test]
    fn root_follows_no_link_of_a_user_to_a_file_or_folder_of_another() {
        if !geteuid().is_root() {
            return;
        }
        for target in [0, BOB, ALICE] {
            let (_there, file) = of(target);
            let (folder, path) = of(ALICE);
            fs::rename(&path, folder.path().join("own")).unwrap();
            symlink(&file, &path).unwrap();
            lchown(&path, Some(ALICE), Some(ALICE)).unwrap();
            refused(
                &folder,
                &path,
                "it is a symbolic link, wanted a plain file of uid 4001",
            );
        }
        for target in [0, BOB] {
            let (there, _) = of(target);
            let (home, _) = of(ALICE);
            let link = home.path().join(".docker");
            symlink(there.path(), &link).unwrap();
            lchown(&link, Some(ALICE), Some(ALICE)).unwrap();
            let error = read_of_owner(&link, "config.json", 10).unwrap_err();
            assert!(
                matches!(&error, FileError::Untrusted { path, .. } if *path == link),
                "{error}"
            );
        }
    }

    #[test]
    fn a_link_of_root_in_a_folder_of_root_is_followed_if_all_of_it_is_roots() {
        if !geteuid().is_root() {
            return;
        }
        let (there, file) = of(0);
        let (folder, path) = of(0);
        fs::rename(&path, folder.path().join("own")).unwrap();
        symlink(&file, &path).unwrap();
        assert_eq!(read(&folder).unwrap().unwrap().owner, 0);
        chown(there.path(), Some(ALICE), None).unwrap();
        let error = read(&folder).unwrap_err();
        assert!(matches!(error, FileError::Untrusted { .. }), "{error}");
    }

    type Way = fn(&Path) -> Result<Option<Vec<u8>>, FileError>;

    #[test]
    fn no_way_of_reading_waits_or_reads_without_end() {
        let folder = crate::host::folder_of_ours();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        let zero = folder.path().join("zero");
        symlink("/dev/zero", &zero).unwrap();
        let endless = folder.path().join("endless");
        File::create(&endless).unwrap().set_len(1 << 40).unwrap();
        let ways: [Way; 5] = [
            |path| read_untrusted(path, 10),
            |path| read_named(path, 10).map(Some),
            |path| crate::host::files::read_trusted(path, 10),
            |path| read_trusted_through_links(path, 10),
            |path| {
                let name = path.file_name().unwrap().to_str().unwrap();
                let found = read_of_owner(path.parent().unwrap(), name, 10)?;
                Ok(found.map(|found| found.bytes))
            },
        ];
        for way in ways {
            for (path, why) in [
                (&fifo, "a FIFO"),
                (&zero, ""),
                (&endless, "longer than 10 bytes"),
            ] {
                let said = way(path).unwrap_err().to_string();
                assert!(said.contains(why), "{said}");
            }
        }
    }
}
