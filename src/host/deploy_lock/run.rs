//! Our own lock: one run at a time on one state folder. The kernel holds it for
//! us and frees it when we die in whatever way, so no lock is ever left behind;
//! the file itself stays for good, because to remove it would let two runs hold
//! two files of one name.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use nix::libc;

use crate::host::deploy_lock::holder;
use crate::host::deploy_lock::open::same_file;
use crate::host::files::{FileError, check_open_file};
use crate::host::{process, quoted};

/// A state folder may be removed and made anew while we take the lock.
const ATTEMPTS: u32 = 3;

/// The run lock, held until dropped.
#[derive(Debug)]
pub struct RunLock {
    file: File,
}

impl Drop for RunLock {
    /// Says so to the kernel: closing alone would not release while a child
    /// process, just forked and not yet executing, has a copy of the descriptor.
    /// If it fails, closing remains.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

/// Another run holds the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBy {
    /// The lock file.
    pub path: PathBuf,
    /// Who, in words fit to print, if that run has written it down, or the system
    /// tells.
    pub holder: Option<String>,
    /// Since when, as far as the file's date and the holder's start can tell: the
    /// later of the two, for a pid may be another's by now.
    pub since: Option<DateTime<Utc>>,
}

impl fmt::Display for HeldBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "another run holds {}", quoted(&self.path))?;
        match &self.holder {
            Some(holder) => write!(f, ": {holder}"),
            None => Ok(()),
        }
    }
}

impl RunLock {
    /// Takes the lock, or says who has it; never waits. The folder of `path`
    /// must be trusted already ([`crate::host::files::StateDir`]).
    ///
    /// # Errors
    ///
    /// [`FileError::Io`] for any failure other than "held", which must never
    /// read as "free" (ENOLCK, EIO); [`FileError::Untrusted`] for a lock file
    /// that others may write.
    pub fn take(path: &Path) -> Result<Result<RunLock, HeldBy>, FileError> {
        Self::take_watched(path, || ())
    }

    /// `before_check` runs between taking the lock and comparing the path,
    /// where a test can replace the file.
    fn take_watched(
        path: &Path,
        mut before_check: impl FnMut(),
    ) -> Result<Result<RunLock, HeldBy>, FileError> {
        for _ in 0..ATTEMPTS {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false) // the holder's pid may be in it
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
                .open(path)
                .map_err(FileError::io("open", path))?;
            let meta = file.metadata().map_err(FileError::io("look at", path))?;
            check_open_file(path, &meta)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let pid = holder::pid_of(&meta).or_else(|| read_pid(&mut file));
                    return Ok(Err(HeldBy {
                        path: path.to_owned(),
                        holder: pid.map(process::describe),
                        since: since(path, pid),
                    }));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(FileError::io("lock", path)(error));
                }
            }
            let mut lock = RunLock { file };
            before_check();
            match fs::symlink_metadata(path) {
                Ok(now) if same_file(&now, &meta) => {
                    write_pid(&mut lock.file);
                    return Ok(Ok(lock));
                }
                // Somebody removed it: the next run would lock another file.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(FileError::io("look at", path)(error)),
            }
        }
        let replaced = io::Error::other(format!("it was replaced {ATTEMPTS} times meanwhile"));
        Err(FileError::io("lock", path)(replaced))
    }
}

/// Whoever takes the lock writes to the file at once. It is looked at anew: that
/// run may have taken the lock after we opened the file.
fn since(path: &Path, pid: Option<u32>) -> Option<DateTime<Utc>> {
    let now = crate::host::clock::now();
    let written = fs::symlink_metadata(path).ok();
    let written = written.map(|meta| crate::host::modified(&meta));
    let dates = [written, pid.and_then(process::started)];
    // A date that is to come says nothing: the clock was set back.
    let dates = dates.into_iter().flatten();
    dates.filter(|date| *date <= now).max()
}

/// The pid is for the other run's message alone. A failure does not matter: on
/// a full disk, just when a run is needed most, the lock holds without it.
fn write_pid(file: &mut File) {
    let _ = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()));
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim_end().parse().ok()
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests play the others, whose files come and go"
)]
mod tests {
    use super::*;
    use nix::fcntl::{Flock, FlockArg};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn scene() -> (tempfile::TempDir, PathBuf) {
        let folder = crate::host::folder_of_ours();
        let path = folder.path().join("run.lock");
        (folder, path)
    }

    #[test]
    fn one_run_works_and_the_other_is_told_who() {
        let (_folder, path) = scene();
        let first = RunLock::take(&path).unwrap().unwrap();
        let other = RunLock::take(&path).unwrap().unwrap_err();
        let text = other.to_string();
        assert!(
            text.contains(&format!("pid {}", std::process::id())),
            "{text}"
        );
        drop(first);
        assert!(path.exists());
        RunLock::take(&path).unwrap().unwrap();
    }

    #[test]
    fn the_lock_is_one_that_flock_sees() {
        let (_folder, path) = scene();
        let _ours = RunLock::take(&path).unwrap().unwrap();
        let file = File::open(&path).unwrap();
        assert!(Flock::lock(file, FlockArg::LockSharedNonblock).is_err());
    }

    #[test]
    fn a_long_gone_pid_in_the_file_is_no_lock() {
        let (_folder, path) = scene();
        fs::write(&path, "1\n").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        RunLock::take(&path).unwrap().unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{}\n", std::process::id())
        );
    }

    #[test]
    fn a_lock_file_that_is_replaced_meanwhile_is_locked_anew() {
        let (_folder, path) = scene();
        let mut round = 0;
        let lock = RunLock::take_watched(&path, || {
            round += 1;
            if round <= 2 {
                fs::remove_file(&path).unwrap();
            }
            if round == 2 {
                fs::write(&path, "").unwrap();
                fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
            }
        });
        let _lock = lock.unwrap().unwrap();
        RunLock::take(&path).unwrap().unwrap_err();
    }

    #[test]
    fn a_holder_that_wrote_nonsense_is_whom_the_kernel_names_or_nobody() {
        let (_folder, path) = scene();
        let _first = RunLock::take(&path).unwrap().unwrap();
        fs::write(&path, "\u{1b}[2J").unwrap();
        let held = RunLock::take(&path).unwrap().unwrap_err();
        // Nobody, where /proc/locks is hidden or the device is numbered anew.
        if let Some(holder) = held.holder {
            let us = format!("pid {} (", std::process::id());
            assert!(holder.starts_with(&us), "{holder}");
        }
    }

    #[test]
    fn a_lock_is_held_since_it_was_taken_and_no_longer_than_its_holder_lives() {
        let (_folder, path) = scene();
        let before = crate::host::clock::now() - chrono::TimeDelta::seconds(2);
        let first = RunLock::take(&path).unwrap().unwrap();
        let since = || RunLock::take(&path).unwrap().unwrap_err().since.unwrap();
        assert!(since() >= before && since() <= crate::host::clock::now());
        // The file is old: it was not written, as on a full disk.
        let old = std::time::SystemTime::UNIX_EPOCH;
        first.file.set_modified(old).unwrap();
        let us = process::started(std::process::id()).unwrap();
        assert!(since() >= us - chrono::TimeDelta::seconds(2));
    }

    #[test]
    fn a_lock_file_that_is_a_link_or_open_to_others_is_refused() {
        let (folder, path) = scene();
        fs::write(folder.path().join("real"), "").unwrap();
        symlink("real", &path).unwrap();
        RunLock::take(&path).unwrap_err();
        fs::remove_file(folder.path().join("real")).unwrap();
        RunLock::take(&path).unwrap_err();
        assert!(!folder.path().join("real").exists());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
        let error = RunLock::take(&path).unwrap_err();
        assert!(matches!(error, FileError::Untrusted { .. }), "{error}");
    }
}
