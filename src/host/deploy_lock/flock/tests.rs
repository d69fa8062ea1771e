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
    let both = File::options().read(true).write(true).open(path);
    both.unwrap()
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
    assert_eq!(state_of(&path), LockState::Free);
    assert_eq!(state_of(&path), LockState::Free);
    assert_eq!(fs::read(&path).unwrap(), b"somebody's words");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_probe_makes_no_file() {
    let (folder, path) = scene();
    fs::remove_file(&path).unwrap();
    assert_eq!(state_of(&path), LockState::Absent);
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
            matches!(state_of(&path), LockState::Held { since: None, .. }),
            "{kind:?}"
        );
        lock.unlock().unwrap();
        assert_eq!(state_of(&path), LockState::Free);
    }
}

#[test]
fn a_write_and_a_read_lock_of_fcntl_are_both_held() {
    let (_folder, path) = scene();
    for kind in [libc::F_WRLCK, libc::F_RDLCK] {
        let file = opened(&path);
        let lock = fcntl_lock(kind);
        fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
        assert!(matches!(state_of(&path), LockState::Held { .. }), "{kind}");
        let state = take(&path, Access::ReadWrite).unwrap_err();
        assert!(matches!(state, LockState::Held { .. }), "{kind}");
        fcntl(&file, FcntlArg::F_OFD_SETLK(&fcntl_lock(libc::F_UNLCK))).unwrap();
        assert_eq!(state_of(&path), LockState::Free);
    }
}

#[test]
fn a_lock_on_one_byte_is_held() {
    let (_folder, path) = scene();
    let file = opened(&path);
    let lock = libc::flock {
        l_start: 1 << 30,
        l_len: 1,
        ..fcntl_lock(libc::F_WRLCK)
    };
    fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
    assert!(matches!(state_of(&path), LockState::Held { .. }));
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
        let state = state_of(&path);
        assert!(cannot_tell(&state).contains(found), "{path:?}: {state:?}");
    }
}

#[test]
fn a_file_that_we_may_only_read_can_be_taken_all_the_same() {
    // A program that runs cannot be opened for writing, not even by root.
    let program = std::env::current_exe().unwrap();
    LockFile::open(&program, Access::ReadWrite).unwrap_err();
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
    assert!(taken.is_at(&path).unwrap());
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
