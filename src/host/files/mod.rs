//! Reads and writes our own state, and reads what commands trust (the policy).
//! What is written is whole or not there: a crash leaves the old file or the
//! new one. What is read is believed only if nobody but root and ourselves
//! could have written it (`trust`).
//!
//! It never knows what the files mean, and never touches files of others.

mod folder;
mod journal;
mod read;
mod trust;
mod write;

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use tempfile::TempPath;

use crate::exit::Exit;
use crate::host::quoted;

pub(super) use folder::link_of_others;
pub use journal::Appender;
use read::read_up_to;
pub use read::{OfOther, read_named, read_of_owner, read_untrusted};
pub use trust::{Wanted, check};
pub(super) use trust::{check_open_file, type_name};
pub use write::{write_atomic, write_for_all};

/// Temporary files that a killed run left behind end in this.
const TEMPORARY: &str = ".secateur-tmp";

/// How many corrupt files of one name are kept aside.
const QUARANTINE_LIMIT: u32 = 9;

/// Why one of our files cannot be used. `Display` says it whole, with the way
/// out; there is no further `source()` to print.
#[derive(Debug)]
pub enum FileError {
    /// Somebody else could have written it, or could put another in its place
    /// (exit code 77).
    Untrusted {
        /// What is not trusted: the file, or a folder or link on the way.
        path: PathBuf,
        /// What was found, what was wanted, and what mends it.
        why: String,
    },
    /// It cannot be read or written (exit code 74). A file that must exist and
    /// does not is this, too, with [`io::ErrorKind::NotFound`].
    Io {
        /// What was to be read or written.
        path: PathBuf,
        /// As in "cannot ... PATH".
        doing: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl FileError {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
        move |source| FileError::Io {
            path: path.to_owned(),
            doing,
            source,
        }
    }

    /// Whether the file, or a folder on the way to it, is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, FileError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// What a run ends with: 77 where a permission is missing or others have one
    /// too many; elsewhere this, which depends on whose file it is.
    #[must_use]
    pub fn exit(&self, otherwise: Exit) -> Exit {
        match self {
            FileError::Untrusted { .. } => Exit::Permission,
            FileError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Exit::Permission
            }
            FileError::Io { .. } => otherwise,
        }
    }
}

impl fmt::Display for FileError {
    // Paths in quotes and escaped: a file's name may hold a terminal's escape
    // sequences, and errors end up on terminals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Untrusted { path, why } => {
                write!(f, "refusing to trust {}: {why}", quoted(path))
            }
            FileError::Io {
                path,
                doing,
                source,
            } => {
                write!(f, "cannot {doing} {}: {source}", quoted(path))?;
                if source.kind() == io::ErrorKind::StorageFull {
                    f.write_str("; free a few MiB there first")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for FileError {}

/// The folder that holds our own state, found worthy of trust.
#[derive(Debug, Clone)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Opens the folder, and makes it (mode 0700, parents too) if it is missing.
    ///
    /// The folder itself may be a symbolic link, for systemd's `DynamicUser=`
    /// makes `/var/lib/secateur` one; the link and all it passes must be
    /// trusted. [`StateDir::path`] is where it leads.
    ///
    /// # Errors
    ///
    /// [`FileError::Untrusted`] if others may write to it or to a parent,
    /// [`FileError::Io`] if it cannot be made.
    pub fn open(path: &Path) -> Result<StateDir, FileError> {
        match check(path, Wanted::Folder) {
            Err(error) if error.is_not_found() => {}
            other => return other.map(|path| StateDir { path }),
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(FileError::io("make the folder", path))?;
        // Again, for a parent may have been there all along and be anybody's.
        check(path, Wanted::Folder).map(|path| StateDir { path })
    }

    /// As [`StateDir::open`], but makes nothing: `None` if it is not there.
    /// For commands that must leave no trace.
    ///
    /// # Errors
    ///
    /// As [`StateDir::open`].
    pub fn find(path: &Path) -> Result<Option<StateDir>, FileError> {
        match check(path, Wanted::Folder) {
            Ok(path) => Ok(Some(StateDir { path })),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where the folder really is, free of symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of one file of ours.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The names of what is here, in order; those that are no UTF-8 are none of
    /// ours.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub fn names(&self) -> Result<Vec<String>, FileError> {
        let read = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&self.path)? {
                names.extend(entry?.file_name().into_string());
            }
            names.sort();
            Ok(names)
        };
        read().map_err(FileError::io("read the folder", &self.path))
    }

    /// Removes what [`write_atomic`] left here when it was killed half-way, and
    /// says how many files that were. Only under the run lock: another run's
    /// temporary file is not a left-over.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read or a file cannot be removed.
    pub fn remove_leftovers(
        &self,
        _alone: &crate::host::deploy_lock::RunLock,
    ) -> Result<usize, FileError> {
        let mut removed = 0;
        let listing =
            fs::read_dir(&self.path).map_err(FileError::io("read the folder", &self.path))?;
        for entry in listing {
            let entry = entry.map_err(FileError::io("read the folder", &self.path))?;
            if entry
                .file_name()
                .as_encoded_bytes()
                .ends_with(TEMPORARY.as_bytes())
            {
                let path = entry.path();
                TempPath::try_from_path(&path)
                    .and_then(TempPath::close)
                    .map_err(FileError::io("remove", &path))?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// Reads one of our own files; `None` if it is not there. A symbolic link is
/// refused: we never make one.
///
/// # Errors
///
/// [`FileError::Untrusted`], also if only a folder on the way is (a file that
/// is missing there could be put there by anybody), and [`FileError::Io`], also
/// for a file of more than `max_bytes`.
pub fn read_trusted(path: &Path, max_bytes: u64) -> Result<Option<Vec<u8>>, FileError> {
    read_as(path, Wanted::File, max_bytes)
}

/// As [`read_trusted`], for a policy: it may be a symbolic link if the link and
/// its target are both trusted. A link that leads nowhere is an error, not
/// `None`: somebody wanted a policy there.
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

/// As [`read_trusted`], but of a longer file its end: the last `max_bytes`,
/// which may begin inside a line. For a file that grows at its end.
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
        // Somebody may append meanwhile.
        .and_then(|_| file.take(max_bytes).read_to_end(&mut bytes))
        .map_err(FileError::io("read", path))?;
    Ok(Some(bytes))
}

/// A trusted file, open for reading; `None` if it is not there.
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

/// Moves a file that cannot be understood out of the way, to
/// `NAME.corrupt-1` or the next free number, and says where. After nine, the
/// ninth is replaced: the first ones show how it began, and the disk must not
/// fill up with them.
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
        // Any entry counts as taken, one that leads nowhere included.
        if number == QUARANTINE_LIMIT || fs::symlink_metadata(&aside).is_err() {
            break aside;
        }
        number += 1;
    };
    fs::rename(path, &aside).map_err(FileError::io("set aside", path))?;
    sync_folder(folder_of(path))?;
    Ok(aside)
}

/// Keeps what a file holds under another name, in place of what had that name,
/// and leaves the file itself as it is: at no moment is either missing.
///
/// # Errors
///
/// [`FileError::Io`]. A kill can leave a temporary name of the file:
/// see [`StateDir::remove_leftovers`].
pub fn keep_as(path: &Path, other: &Path) -> Result<(), FileError> {
    let folder = folder_of(other);
    // A run that was cut off may have come so far. A rename of one name to another
    // of the same file does nothing, and would leave the temporary one.
    let meta = |path| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    if meta(path).is_some_and(|file| meta(other) == Some(file)) {
        return sync_folder(folder);
    }
    let unnamed = tempfile::Builder::new()
        .prefix(".")
        .suffix(TEMPORARY)
        .make_in(folder, |temporary| match fs::hard_link(path, temporary) {
            // CIFS, vfat and some of FUSE have none.
            Err(error) if has_no_links(&error) => copy_durably(path, temporary),
            linked => linked,
        })
        .map_err(|error| FileError::io("set aside", path)(without_name(error)))?;
    unnamed
        .persist(other)
        .map_err(|error| FileError::io("set aside", path)(without_name(error.error)))?;
    sync_folder(folder)
}

/// tempfile adds the name of a file that is gone by now.
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

/// Makes a rename or a new name in the folder outlive a power cut.
fn sync_folder(folder: &Path) -> Result<(), FileError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(FileError::io("flush the folder", folder))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder.as_os_str() != OsStr::new("") => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::deploy_lock::RunLock;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn what_was_written_is_read_back_and_is_ours_alone() {
        let folder = crate::host::folder_of_ours();
        let path = folder.path().join("ledger.json");
        assert_eq!(read_trusted(&path, 100).unwrap(), None);
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(read_trusted(&path, 100).unwrap().unwrap(), b"two");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(names(folder.path()), ["ledger.json"]);
    }

    #[test]
    fn what_is_for_all_may_be_read_by_all_and_is_read_back_without_trust() {
        let folder = crate::host::folder_of_ours();
        let path = folder.path().join("secateur.prom");
        assert_eq!(read_untrusted(&path, 100).unwrap(), None);
        write_for_all(&path, b"one").unwrap();
        assert_eq!(mode(&path), 0o644);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(read_untrusted(&path, 3).unwrap().unwrap(), b"one");
        read_untrusted(&path, 2).unwrap_err();
        read_untrusted(folder.path(), 100).unwrap_err();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = read_untrusted(&fifo, 100).unwrap_err();
        assert!(error.to_string().contains("FIFO"), "{error}");
    }

    #[test]
    fn a_file_may_be_as_long_as_the_limit_and_no_longer() {
        let folder = crate::host::folder_of_ours();
        let path = folder.path().join("ledger.json");
        write_atomic(&path, b"12345").unwrap();
        assert_eq!(read_trusted(&path, 5).unwrap().unwrap(), b"12345");
        let error = read_trusted(&path, 4).unwrap_err();
        assert!(error.to_string().contains("longer than 4 bytes"), "{error}");
    }

    #[test]
    fn of_a_file_that_grew_too_long_the_end_is_read() {
        let folder = crate::host::folder_of_ours();
        let path = folder.path().join("journal.jsonl");
        assert_eq!(read_trusted_end(&path, 4).unwrap(), None);
        write_atomic(&path, b"12345").unwrap();
        assert_eq!(read_trusted_end(&path, 4).unwrap().unwrap(), b"2345");
        assert_eq!(read_trusted_end(&path, 6).unwrap().unwrap(), b"12345");
    }

    #[test]
    fn a_file_is_kept_under_another_name_in_place_of_what_had_it() {
        let folder = crate::host::folder_of_ours();
        let path = folder.path().join("journal.jsonl");
        let other = folder.path().join("journal.jsonl.1");
        for generation in [b"one", b"two"] {
            write_atomic(&path, generation).unwrap();
            keep_as(&path, &other).unwrap();
            // Once more, as after a run that was cut off then.
            keep_as(&path, &other).unwrap();
            assert_eq!(fs::read(&path).unwrap(), generation);
            assert_eq!(fs::read(&other).unwrap(), generation);
        }
        assert_eq!(names(folder.path()), ["journal.jsonl", "journal.jsonl.1"]);
        assert!(keep_as(&folder.path().join("none"), &other).is_err());
    }

    #[test]
    fn a_write_that_fails_leaves_the_folder_as_it_was() {
        let folder = crate::host::folder_of_ours();
        // A folder cannot be replaced by a file, not even by root.
        let path = folder.path().join("ledger.json");
        fs::create_dir(&path).unwrap();
        let error = write_atomic(&path, b"new").unwrap_err();
        assert!(error.to_string().contains("is a folder"), "{error}");
        assert_eq!(names(folder.path()), ["ledger.json"]);
        assert!(path.is_dir());
        let error = write_atomic(&folder.path().join("missing/file"), b"new").unwrap_err();
        assert!(error.is_not_found(), "{error}");
    }

    #[test]
    fn writing_to_a_link_or_device_does_not_replace_it() {
        let folder = crate::host::folder_of_ours();
        let link = folder.path().join("stdout");
        symlink("/dev/null", &link).unwrap();
        write_atomic(&link, b"new").unwrap_err();
        assert!(link.is_symlink());
        assert_eq!(names(folder.path()), ["stdout"]);
    }

    #[test]
    fn a_corrupt_file_goes_to_the_next_free_name() {
        let folder = crate::host::folder_of_ours();
        let path = folder.path().join("ledger.json");
        let mut last = PathBuf::new();
        for number in 1..=QUARANTINE_LIMIT + 1 {
            fs::write(&path, number.to_string()).unwrap();
            last = quarantine(&path).unwrap();
        }
        assert_eq!(last, folder.path().join("ledger.json.corrupt-9"));
        assert_eq!(fs::read(&last).unwrap(), b"10");
        assert_eq!(
            fs::read(folder.path().join("ledger.json.corrupt-1")).unwrap(),
            b"1"
        );
        assert_eq!(names(folder.path()).len(), 9);
        assert!(quarantine(&path).unwrap_err().is_not_found());
    }

    #[test]
    fn a_missing_state_folder_is_made_for_us_alone_parents_too() {
        let folder = crate::host::folder_of_ours();
        let path = folder.path().join("a/b");
        assert!(StateDir::find(&path).unwrap().is_none());
        assert!(!path.exists());
        let state = StateDir::open(&path).unwrap();
        assert_eq!(state.path(), fs::canonicalize(&path).unwrap());
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&folder.path().join("a")), 0o700);
        assert!(StateDir::find(&path).unwrap().is_some());
    }

    #[test]
    fn a_state_folder_below_one_that_anybody_may_write_is_refused() {
        let folder = crate::host::folder_of_ours();
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).unwrap();
        let error = StateDir::open(&open.join("state")).unwrap_err();
        assert!(
            matches!(&error, FileError::Untrusted { path, .. } if path == &open),
            "{error}"
        );
    }

    #[test]
    fn a_state_folder_may_be_a_link_as_dynamic_user_makes_it() {
        let folder = crate::host::folder_of_ours();
        let real = folder.path().join("private");
        StateDir::open(&real).unwrap();
        let link = folder.path().join("secateur");
        symlink("private", &link).unwrap();
        let state = StateDir::open(&link).unwrap();
        assert_eq!(state.path(), fs::canonicalize(&real).unwrap());
    }

    #[test]
    fn a_state_folder_that_is_a_file_is_refused() {
        let folder = crate::host::folder_of_ours();
        let path = folder.path().join("state");
        fs::write(&path, "").unwrap();
        StateDir::open(&path).unwrap_err();
        StateDir::find(&path).unwrap_err();
    }

    #[test]
    fn only_what_a_killed_write_left_is_swept() {
        let folder = crate::host::folder_of_ours();
        let state = StateDir::open(folder.path()).unwrap();
        write_atomic(&state.file("ledger.json"), b"{}").unwrap();
        fs::write(folder.path().join(".Ab12cd.secateur-tmp"), "half").unwrap();
        let lock = RunLock::take(&state.file("run.lock")).unwrap().unwrap();
        assert_eq!(state.remove_leftovers(&lock).unwrap(), 1);
        assert_eq!(names(folder.path()), ["ledger.json", "run.lock"]);
    }

    #[test]
    fn the_sweep_knows_the_names_that_a_write_uses() {
        let folder = crate::host::folder_of_ours();
        let state = StateDir::open(folder.path()).unwrap();
        let left = folder.path().join(write::temporary_name("x".as_ref()));
        fs::write(&left, "half").unwrap();
        let lock = RunLock::take(&state.file("run.lock")).unwrap().unwrap();
        assert_eq!(state.remove_leftovers(&lock).unwrap(), 1);
        assert!(!left.exists());
    }

    #[test]
    fn a_policy_link_that_leads_nowhere_is_no_missing_policy() {
        let folder = crate::host::folder_of_ours();
        let path = folder.path().join("policy.toml");
        assert_eq!(read_trusted_through_links(&path, 100).unwrap(), None);
        symlink("gone.toml", &path).unwrap();
        let error = read_trusted_through_links(&path, 100).unwrap_err();
        assert!(error.is_not_found(), "{error}");
        write_atomic(&folder.path().join("gone.toml"), b"x").unwrap();
        assert_eq!(
            read_trusted_through_links(&path, 100).unwrap().unwrap(),
            b"x"
        );
    }

    #[test]
    fn a_state_file_that_is_a_link_is_refused() {
        let folder = crate::host::folder_of_ours();
        let path = folder.path().join("ledger.json");
        fs::write(folder.path().join("real"), "x").unwrap();
        symlink("real", &path).unwrap();
        let error = read_trusted(&path, 100).unwrap_err();
        assert!(matches!(error, FileError::Untrusted { .. }), "{error}");
    }

    #[test]
    fn an_error_names_no_file_that_was_only_for_a_moment() {
        let folder = crate::host::folder_of_ours();
        let none = folder.path().join("none");
        let file = none.join("file");
        for error in [
            write_atomic(&file, b"x").unwrap_err(),
            keep_as(&file, &none.join("other")).unwrap_err(),
            keep_as(&folder.path().join("gone"), &folder.path().join("other")).unwrap_err(),
        ] {
            let text = error.to_string();
            assert!(!text.contains(TEMPORARY), "{text}");
            assert!(error.is_not_found(), "{text}");
        }
    }

    #[test]
    fn an_error_prints_no_escape_sequence_of_a_file_name() {
        let error = FileError::io("open", Path::new("/x/\u{1b}]52;c;\u{202e}"))(
            io::ErrorKind::NotFound.into(),
        );
        let text = error.to_string();
        assert!(
            text.chars().all(|c| c.is_ascii() && !c.is_ascii_control()),
            "{text}"
        );
    }
}
