use super::*;
use crate::host::files::write::{temporary_name, write_atomic};
use nix::fcntl::{Flock, FlockArg};
use std::os::unix::fs::{PermissionsExt, symlink};

fn scene() -> (tempfile::TempDir, PathBuf) {
    let folder = crate::testing::folder_of_ours();
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
    let _first = RunLock::take(&path).unwrap().unwrap();
    let since = || RunLock::take(&path).unwrap().unwrap_err().since.unwrap();
    assert!(since() >= before && since() <= crate::host::clock::now());
    // The file is old: it was not written, as on a full disk.
    let old = std::time::SystemTime::UNIX_EPOCH;
    let file = File::options().write(true).open(&path).unwrap();
    file.set_modified(old).unwrap();
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

#[test]
fn only_what_a_killed_write_left_is_swept() {
    let folder = crate::testing::folder_of_ours();
    let state = StateDir::open(folder.path()).unwrap();
    write_atomic(&state.file("ledger.json"), b"{}").unwrap();
    fs::write(folder.path().join(".Ab12cd.secateur-tmp"), "half").unwrap();
    let lock = RunLock::take(&state.file("run.lock")).unwrap().unwrap();
    assert_eq!(lock.remove_leftovers(&state).unwrap(), 1);
    assert_eq!(state.names().unwrap(), ["ledger.json", "run.lock"]);
}

#[test]
fn the_sweep_knows_the_names_that_a_write_uses() {
    let folder = crate::testing::folder_of_ours();
    let state = StateDir::open(folder.path()).unwrap();
    let left = folder.path().join(temporary_name("x".as_ref()));
    fs::write(&left, "half").unwrap();
    let lock = RunLock::take(&state.file("run.lock")).unwrap().unwrap();
    let writes = File::open(&left).unwrap();
    writes.lock().unwrap();
    assert_eq!(lock.remove_leftovers(&state).unwrap(), 0, "a run is at it");
    drop(writes);
    assert_eq!(lock.remove_leftovers(&state).unwrap(), 1);
    assert!(!left.exists());
}
