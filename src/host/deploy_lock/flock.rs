//! Takes the locks on somebody else's file, without following a link, creating, writing or
//! waiting.

use std::fs::{self, File, Metadata, TryLockError};
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::host::deploy_lock::explain::explain;
use crate::host::files::kind::type_name;
use crate::host::lock_file::{ATTEMPTS, Access, LockFile, fcntl_lock};
use crate::host::lock_holder;
use crate::host::signals::Unstopped;
use crate::model::conditions::LockState;

/// Takes the lock for a moment to see whether it is free.
pub(super) fn state_of(path: &Path) -> LockState {
    let _unstopped = Unstopped::new();
    match take(path, Access::Read) {
        Ok(_taken) => LockState::Free,
        Err(state) => state,
    }
}

/// The process that holds the lock on this file, where the system knows it. It reads the open
/// files of every process, so no lock should be held meanwhile.
pub fn holder(path: &Path) -> Option<String> {
    lock_holder::of(&fs::symlink_metadata(path).ok()?)
}

/// Takes the lock, if it is free at this moment. The error is never [`LockState::Free`].
pub(super) fn take(path: &Path, access: Access) -> Result<LockFile, LockState> {
    take_watched(path, access, || ())
}

/// `before_check` runs between taking the lock and comparing the path, where a
/// test can replace the file.
fn take_watched(
    path: &Path,
    access: Access,
    mut before_check: impl FnMut(),
) -> Result<LockFile, LockState> {
    for _ in 0..ATTEMPTS {
        let (lock, access) = open(path, access)?;
        let taken = try_both(&lock, access);
        before_check();
        // Also checked for a held lock: if the file was replaced, the next deploy locks another
        // one.
        if lock.is_at(path).map_err(|error| cannot_tell(&error))? {
            return taken.map(|()| lock);
        }
    }
    Err(LockState::CannotTell(format!(
        "the file was replaced {ATTEMPTS} times while it was opened"
    )))
}

/// Opens the file, and tells with which access.
fn open(path: &Path, access: Access) -> Result<(LockFile, Access), LockState> {
    // Before opening, because that can do something to a device (a watchdog starts, a tape
    // rewinds), and a FIFO without a writer would wait.
    must_be_plain(&fs::symlink_metadata(path).map_err(|error| cannot_open(&error))?)?;
    let (opened, access) = match LockFile::open(path, access) {
        // Whoever may only read the file can still flock it.
        Err(_) if access == Access::ReadWrite => (LockFile::open(path, Access::Read), Access::Read),
        opened => (opened, access),
    };
    let lock = opened.map_err(|error| cannot_open(&error))?;
    must_be_plain(&lock.meta)?;
    Ok((lock, access))
}

fn cannot_open(error: &io::Error) -> LockState {
    if error.kind() == io::ErrorKind::NotFound {
        LockState::Absent
    } else {
        cannot_tell(error)
    }
}

fn cannot_tell(error: &io::Error) -> LockState {
    LockState::CannotTell(explain(error))
}

fn must_be_plain(meta: &Metadata) -> Result<(), LockState> {
    if meta.is_file() {
        return Ok(());
    }
    let found = type_name(meta);
    Err(LockState::CannotTell(format!(
        "it is {found}, wanted a plain file"
    )))
}

fn try_both(LockFile { file, .. }: &LockFile, access: Access) -> Result<(), LockState> {
    // The holder takes long to find: see [`holder`].
    let held = || LockState::Held {
        holder: None,
        since: None,
    };
    // Exclusive, because a shared lock is granted beside another shared one. The standard
    // library's try_lock is flock(2) with LOCK_EX | LOCK_NB.
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(held()),
        Err(TryLockError::Error(error)) => return Err(cannot_tell(&error)),
    }
    let outcome = if access == Access::Read {
        ask_fcntl(file)
    } else {
        take_fcntl(file)
    };
    match outcome {
        Ok(true) => Ok(()),
        Ok(false) => Err(held()),
        Err(errno) => Err(cannot_tell(&errno.into())),
    }
}

/// Whether a write lock on the whole file would be granted. It is not taken:
/// that needs a file open for writing.
fn ask_fcntl(file: &File) -> Result<bool, Errno> {
    let mut lock = fcntl_lock(libc::F_WRLCK);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) == libc::F_UNLCK)
}

/// Takes a write lock on the whole file; `false` if somebody else has one. It
/// belongs to the open file, not to the process, so that closing another
/// descriptor of that file does not lose it.
fn take_fcntl(file: &File) -> Result<bool, Errno> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&fcntl_lock(libc::F_WRLCK))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false), // POSIX allows either
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests play the others, whose files come and go"
)]
mod tests;
