//! The run lock: one run at a time on one state folder. The kernel releases it however we die,
//! so no lock is ever left behind. The file stays for good: if a run removed it, two runs could
//! hold two files of one name.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use nix::libc;

use crate::host::file_date::modified;
use crate::host::files::draft::remove;
use crate::host::files::error::FileError;
use crate::host::files::is_temporary;
use crate::host::files::state_dir::StateDir;
use crate::host::files::trust::check_open_file;
use crate::host::lock_file::{ATTEMPTS, Access, LockFile};
use crate::host::{clock, lock_holder, process};
use crate::model::text::quoted;

/// The run lock, held until dropped.
#[derive(Debug)]
pub struct RunLock {
    _lock: LockFile,
}

/// The run that holds the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBy {
    pub path: PathBuf,
    /// Fit to print, if the system knows the holder or that run has written it down.
    pub holder: Option<String>,
    /// The later of the file's date and the holder's start, because the pid may be another
    /// process's by now.
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
    /// Takes the lock, or tells who has it; never waits. The folder of `path` must be trusted
    /// ([`StateDir`]).
    ///
    /// # Errors
    ///
    /// [`FileError::Io`] for any failure other than "held", which must never read as "free"
    /// (ENOLCK, EIO); [`FileError::Untrusted`] for a lock file that others may write.
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
            let mut lock =
                LockFile::open(path, Access::Make).map_err(FileError::io("open", path))?;
            check_open_file(path, &lock.meta)?;
            match lock.file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let pid = lock_holder::pid_of(&lock.meta).or_else(|| read_pid(&mut lock.file));
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
            before_check();
            if lock.is_at(path).map_err(FileError::io("look at", path))? {
                write_pid(&mut lock.file);
                return Ok(Ok(RunLock { _lock: lock }));
            }
        }
        let replaced = io::Error::other(format!("it was replaced {ATTEMPTS} times meanwhile"));
        Err(FileError::io("lock", path)(replaced))
    }

    /// Removes what [`crate::host::files::write_atomic`] or a [`crate::host::files::Draft`]
    /// left in our folder when it was killed, and returns the number of files. It takes the
    /// lock, because another run's temporary file is no left-over; nor is one that a run without
    /// the lock is writing.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read or a file cannot be removed.
    pub fn remove_leftovers(&self, dir: &StateDir) -> Result<usize, FileError> {
        let mut names = dir.names()?;
        names.retain(|name| is_temporary(name.as_ref()) && !is_being_written(&dir.file(name)));
        for path in names.iter().map(|name| dir.file(name)) {
            remove(&path)?;
        }
        Ok(names.len())
    }
}

/// [`crate::host::files::write_atomic`] locks the file that it writes.
fn is_being_written(path: &Path) -> bool {
    let mut options = File::options();
    options
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let lock = options.open(path).map(|file| file.try_lock());
    matches!(lock, Ok(Err(TryLockError::WouldBlock)))
}

/// A run that takes the lock writes to the file at once. The date is read anew, because that
/// run may have taken the lock after we opened the file.
fn since(path: &Path, pid: Option<u32>) -> Option<DateTime<Utc>> {
    let now = clock::now();
    let written = fs::symlink_metadata(path).ok();
    let written = written.map(|meta| modified(&meta));
    let dates = [written, pid.and_then(process::started)];
    // A date in the future says nothing: the clock was set back.
    let dates = dates.into_iter().flatten();
    dates.filter(|date| *date <= now).max()
}

/// The pid is only for the other run's message. A failure does not matter: on a full
/// disk, when a run is needed most, the lock holds without it.
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
mod tests;
