//! Opens a lock file of somebody else and tries its lock, without following,
//! creating, writing or waiting for anything.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::host::deploy_lock::{explain, holder};
use crate::host::files::type_name;
use crate::host::signals::Unstopped;
use crate::model::conditions::LockState;

/// A lock file may be replaced just while we look; thrice in a row is no
/// accident.
const ATTEMPTS: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    ReadWrite,
}

/// An open lock file that we hold both locks of, or as much as its access
/// allows. Dropping it releases them.
#[derive(Debug)]
pub(super) struct Taken {
    file: File,
    pub meta: Metadata,
}

impl Drop for Taken {
    /// Says so to the kernel: closing alone would not release while a child
    /// process, just forked and not yet executing, has a copy of the descriptor.
    /// If it fails, closing remains.
    fn drop(&mut self) {
        let unlock = lock_of_type(libc::F_UNLCK);
        let _ = fcntl(&self.file, FcntlArg::F_OFD_SETLK(&unlock));
        let _ = self.file.unlock();
    }
}

/// [`crate::model::conditions::LockKind::Flock`]: takes the lock for a moment to see
/// whether it is free.
pub(super) fn probe(path: &Path) -> LockState {
    let _unstopped = Unstopped::new();
    match take(path, Access::Read) {
        Ok(_taken) => LockState::Free,
        Err(state) => state,
    }
}

/// Takes the lock, if it is free at this moment. Else says what is in the way;
/// never [`LockState::Free`].
pub(super) fn take(path: &Path, access: Access) -> Result<Taken, LockState> {
    take_watched(path, access, || ())
}

/// `before_check` runs between taking the lock and comparing the path, where a
/// test can replace the file.
fn take_watched(
    path: &Path,
    access: Access,
    mut before_check: impl FnMut(),
) -> Result<Taken, LockState> {
    for _ in 0..ATTEMPTS {
        let (taken, access) = open(path, access)?;
        let locked = try_both(&taken, access);
        before_check();
        // Unlinked and made again: what we locked is not what the next deploy
        // will lock. That counts for a lock that is held as well.
        match fs::symlink_metadata(path) {
            Ok(now) if same_file(&now, &taken.meta) => {}
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(LockState::CannotTell(explain(&error))),
        }
        return locked.map(|()| taken);
    }
    Err(LockState::CannotTell(format!(
        "the file was replaced {ATTEMPTS} times while it was looked at"
    )))
}

pub(super) fn same_file(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Opens the file, with no lock as yet, and says with which access.
fn open(path: &Path, access: Access) -> Result<(Taken, Access), LockState> {
    // Before opening: to open a device can be an act (a watchdog starts, a tape
    // rewinds), and a FIFO without a writer would wait.
    let before = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(LockState::Absent),
        Err(error) => return Err(LockState::CannotTell(explain(&error))),
    };
    must_be_plain(&before)?;
    let (opened, access) = match options(access).open(path) {
        // Whoever may only read the file can still flock it.
        Err(_) if access == Access::ReadWrite => (options(Access::Read).open(path), Access::Read),
        opened => (opened, access),
    };
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(LockState::Absent),
        Err(error) => return Err(LockState::CannotTell(explain(&error))),
    };
    let meta = file
        .metadata()
        .map_err(|error| LockState::CannotTell(explain(&error)))?;
    must_be_plain(&meta)?;
    Ok((Taken { file, meta }, access))
}

/// Neither follows a link nor waits for a FIFO's writer, should one have taken
/// the file's place since it was looked at.
fn options(access: Access) -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(access == Access::ReadWrite)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
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

fn try_both(Taken { file, meta }: &Taken, access: Access) -> Result<(), LockState> {
    let held = || LockState::Held {
        holder: holder::of(meta),
        since: None,
    };
    // Exclusive, for a shared lock is granted beside another shared one. The
    // standard library's try_lock is flock(2) with LOCK_EX | LOCK_NB.
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(held()),
        Err(TryLockError::Error(error)) => return Err(LockState::CannotTell(explain(&error))),
    }
    let outcome = match access {
        Access::Read => ask_fcntl(file),
        Access::ReadWrite => take_fcntl(file),
    };
    match outcome {
        Ok(true) => Ok(()),
        Ok(false) => Err(held()),
        Err(errno) => Err(LockState::CannotTell(explain(&errno.into()))),
    }
}

/// Whether a write lock on the whole file would be granted. It is not taken:
/// that needs a file open for writing.
fn ask_fcntl(file: &File) -> Result<bool, Errno> {
    let mut lock = lock_of_type(libc::F_WRLCK);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) == libc::F_UNLCK)
}

/// Takes a write lock on the whole file; `false` if somebody else has one. It
/// belongs to the open file, not to the process, so that closing another
/// descriptor of that file does not lose it.
fn take_fcntl(file: &File) -> Result<bool, Errno> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&lock_of_type(libc::F_WRLCK))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false), // POSIX allows either
        Err(errno) => Err(errno),
    }
}

/// For fcntl(2), on the whole file.
#[expect(clippy::cast_possible_truncation, reason = "small constants")]
fn lock_of_type(kind: i32) -> libc::flock {
    libc::flock {
        l_type: kind as _,
        l_whence: libc::SEEK_SET as _,
        l_start: 0,
        l_len: 0, // to the end, wherever that will be
        l_pid: 0, // must be nought for the locks of open files
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests play the others, whose files come and go"
)]
mod tests {
    use super::*;
    use nix::fcntl::{Flock, FlockArg};
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    fn scene() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deploy.lock");
        fs::write(&path, "somebody's words").unwrap();
        (folder, path)
    }

    /// Another open file description stands for another process: flock(2) and
    /// the OFD locks of fcntl(2) belong to those.
    fn opened(path: &Path) -> File {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap()
    }

    fn cannot_tell(state: &LockState) -> &str {
        match state {
            LockState::CannotTell(why) => why,
            other => panic!("wanted CannotTell, got {other:?}"),
        }
    }

    #[test]
    fn a_file_that_nobody_holds_is_free_and_stays_as_it_is() {
        let (folder, path) = scene();
        assert_eq!(probe(&path), LockState::Free);
        assert_eq!(probe(&path), LockState::Free);
        assert_eq!(fs::read(&path).unwrap(), b"somebody's words");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_probe_makes_no_file() {
        let (folder, path) = scene();
        fs::remove_file(&path).unwrap();
        assert_eq!(probe(&path), LockState::Absent);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_exclusive_and_a_shared_flock_are_both_held() {
        let (_folder, path) = scene();
        for kind in [
            FlockArg::LockExclusiveNonblock,
            FlockArg::LockSharedNonblock,
        ] {
            let lock = Flock::lock(opened(&path), kind).unwrap();
            assert!(
                matches!(probe(&path), LockState::Held { since: None, .. }),
                "{kind:?}"
            );
            lock.unlock().unwrap();
            assert_eq!(probe(&path), LockState::Free);
        }
    }

    #[test]
    fn a_write_and_a_read_lock_of_fcntl_are_both_held() {
        let (_folder, path) = scene();
        for kind in [libc::F_WRLCK, libc::F_RDLCK] {
            let file = opened(&path);
            let lock = lock_of_type(kind);
            fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
            assert!(matches!(probe(&path), LockState::Held { .. }), "{kind}");
            let state = take(&path, Access::ReadWrite).unwrap_err();
            assert!(matches!(state, LockState::Held { .. }), "{kind}");
            fcntl(&file, FcntlArg::F_OFD_SETLK(&lock_of_type(libc::F_UNLCK))).unwrap();
            assert_eq!(probe(&path), LockState::Free);
        }
    }

    #[test]
    fn a_lock_on_one_byte_is_held() {
        let (_folder, path) = scene();
        let file = opened(&path);
        let lock = libc::flock {
            l_start: 1 << 30,
            l_len: 1,
            ..lock_of_type(libc::F_WRLCK)
        };
        fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
        assert!(matches!(probe(&path), LockState::Held { .. }));
    }

    #[test]
    fn what_we_take_is_taken_for_users_of_either_kind() {
        let (_folder, path) = scene();
        let taken = take(&path, Access::ReadWrite).unwrap();
        let other = opened(&path);
        let (other, errno) =
            Flock::lock(other, FlockArg::LockSharedNonblock).expect_err("flock is taken");
        assert_eq!(errno, Errno::EWOULDBLOCK);
        assert!(!take_fcntl(&other).unwrap());
        drop(taken);
        assert!(take_fcntl(&other).unwrap());
    }

    #[test]
    fn what_is_no_plain_file_is_told_at_once_and_not_followed() {
        let (folder, path) = scene();
        let at = |name: &str| folder.path().join(name);
        symlink(&path, at("link")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        let _listener = UnixListener::bind(at("socket")).unwrap();
        for (path, found) in [
            (at("link"), "a symbolic link"),
            (at("dangling"), "a symbolic link"),
            (at("folder"), "a folder"),
            (at("fifo"), "a FIFO"),
            (at("socket"), "a socket"),
            (PathBuf::from("/dev/null"), "a device"),
        ] {
            let state = probe(&path);
            assert!(cannot_tell(&state).contains(found), "{path:?}: {state:?}");
        }
    }

    #[test]
    fn what_takes_the_files_place_before_it_is_opened_is_not_followed_or_waited_for() {
        let (folder, path) = scene();
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        let error = options(Access::Read).open(&link).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
        let fifo = folder.path().join("fifo");
        mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        options(Access::Read).open(&fifo).unwrap(); // would wait for a writer
    }

    #[test]
    fn a_file_that_we_may_only_read_can_be_taken_all_the_same() {
        // A program that runs cannot be opened for writing, not even by root.
        let program = std::env::current_exe().unwrap();
        options(Access::ReadWrite).open(&program).unwrap_err();
        let _taken = take(&program, Access::ReadWrite).unwrap();
        let other = File::open(&program).unwrap();
        assert!(Flock::lock(other, FlockArg::LockSharedNonblock).is_err());
    }

    #[test]
    fn a_file_that_is_replaced_while_we_lock_is_looked_at_again() {
        let (_folder, path) = scene();
        let mut left = 1;
        let taken = take_watched(&path, Access::Read, || {
            if left > 0 {
                left -= 1;
                replace(&path);
            }
        })
        .unwrap();
        assert!(same_file(&taken.meta, &fs::metadata(&path).unwrap()));
    }

    #[test]
    fn a_file_that_is_replaced_again_and_again_cannot_be_told() {
        let (_folder, path) = scene();
        let state = take_watched(&path, Access::Read, || replace(&path)).unwrap_err();
        assert!(cannot_tell(&state).contains("replaced 3 times"));
    }

    #[test]
    fn a_held_file_that_was_replaced_says_nothing_of_the_new_one() {
        let (_folder, path) = scene();
        let _old = Flock::lock(opened(&path), FlockArg::LockExclusiveNonblock).unwrap();
        let mut replaced = false;
        let taken = take_watched(&path, Access::Read, || {
            if !replaced {
                replaced = true;
                replace(&path);
            }
        });
        assert!(taken.is_ok());
    }

    #[test]
    fn a_file_that_vanishes_while_we_lock_is_absent() {
        let (_folder, path) = scene();
        let state = take_watched(&path, Access::Read, || fs::remove_file(&path).unwrap());
        assert_eq!(state.unwrap_err(), LockState::Absent);
    }

    /// Puts a new file in the old one's place. The old one is still open
    /// elsewhere, so that its number is not given to the new one.
    fn replace(path: &Path) {
        fs::remove_file(path).unwrap();
        fs::write(path, "new").unwrap();
    }
}
