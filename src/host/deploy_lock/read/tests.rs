use super::*;
use crate::host::deploy_lock::held::hold;
use crate::host::deploy_lock::pattern::MATCH_LIMIT;
use chrono::Utc;
use nix::sys::stat::Mode;
use nix::unistd::{geteuid, mkfifo};
use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

fn states(pattern: &Path, kind: LockKind) -> Vec<LockState> {
    read(pattern, kind)
        .into_iter()
        .map(|reading| reading.state)
        .collect()
}

#[test]
fn no_lock_is_looked_for_through_a_link_of_somebody_else() {
    if !geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("there");
    fs::create_dir(&there).unwrap();
    fs::write(there.join("deploy.lock"), "").unwrap();
    for to in ["there", "nowhere"] {
        let link = folder.path().join(to).with_extension("link");
        symlink(to, &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(4_001), None).unwrap();
        for kind in [LockKind::Flock, LockKind::Exists] {
            for pattern in ["deploy.lock", "*.lock"] {
                let seen = states(&link.join(pattern), kind);
                let why = cannot_tell(&seen[0]);
                assert!(why.contains("symbolic link of uid 4001"), "{why}");
                let held = hold(&[(link.join(pattern), kind)]).unwrap_err();
                cannot_tell(&held[0].state);
            }
        }
    }
    // Root's own, as /var/run is.
    let link = folder.path().join("current");
    symlink("there", &link).unwrap();
    let seen = states(&link.join("deploy.lock"), LockKind::Flock);
    assert_eq!(seen, [LockState::Free]);
}

fn cannot_tell(state: &LockState) -> &str {
    match state {
        LockState::CannotTell(why) => why,
        other => panic!("wanted CannotTell, got {other:?}"),
    }
}

#[test]
fn a_path_that_is_not_there_is_absent_for_both_kinds() {
    let folder = tempfile::tempdir().unwrap();
    for kind in [LockKind::Exists, LockKind::Flock] {
        for name in ["deploy.lock", "lock-*", "none/deploy.lock", "none/lock-*"] {
            let path = folder.path().join(name);
            let expected = LockReading {
                path: path.clone(),
                kind,
                state: LockState::Absent,
            };
            assert_eq!(read(&path, kind), [expected]);
        }
    }
}

#[test]
fn anything_of_the_name_is_a_held_lock_of_kind_exists() {
    let folder = tempfile::tempdir().unwrap();
    File::create(folder.path().join("file")).unwrap();
    fs::create_dir(folder.path().join("folder")).unwrap();
    symlink("nowhere", folder.path().join("link")).unwrap();
    mkfifo(&folder.path().join("fifo"), Mode::S_IRUSR).unwrap();
    for name in ["file", "folder", "link", "fifo"] {
        let state = &states(&folder.path().join(name), LockKind::Exists)[0];
        assert!(
            matches!(state, LockState::Held { since: Some(_), .. }),
            "{name}: {state:?}"
        );
    }
}

#[test]
fn a_path_is_held_since_its_last_change_or_its_birth_if_earlier() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    let file = File::create(&path).unwrap();
    let day = Duration::from_secs(86_400);
    let long_ago = SystemTime::UNIX_EPOCH + 10_000 * day;
    file.set_modified(long_ago).unwrap();
    let since = |state: &LockState| match state {
        LockState::Held { since, .. } => since.unwrap(),
        other => panic!("{other:?}"),
    };
    let state = &states(&path, LockKind::Exists)[0];
    assert_eq!(since(state), DateTime::<Utc>::from(long_ago));

    let Ok(birth) = file.metadata().unwrap().created() else {
        return; // a file system without births knows the last change alone
    };
    file.set_modified(birth + day).unwrap();
    let state = &states(&path, LockKind::Exists)[0];
    assert_eq!(since(state), DateTime::<Utc>::from(birth));
}

#[test]
fn a_lock_with_an_absurd_date_is_held_all_the_same() {
    // Some file systems keep any date; the others cut it off at theirs.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let folder = folder.unwrap();
    let path = folder.path().join("lock");
    let file = File::create(&path).unwrap();
    for seconds in [i64::MAX as u64 / 2, 1 << 43] {
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        if file.set_modified(date).is_ok() {
            let state = &states(&path, LockKind::Exists)[0];
            assert!(matches!(state, LockState::Held { .. }), "{state:?}");
        }
    }
}

#[test]
fn a_star_in_the_last_part_finds_all_that_match_in_order() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["lock-b", "lock-a", "lock", "other", ".lock-c"] {
        File::create(folder.path().join(name)).unwrap();
    }
    let readings = read(&folder.path().join("lock-*"), LockKind::Flock);
    let paths: Vec<_> = readings
        .iter()
        .map(|reading| reading.path.clone())
        .collect();
    assert_eq!(
        paths,
        [folder.path().join("lock-a"), folder.path().join("lock-b")]
    );
    assert_eq!(
        read(&folder.path().join("*lock-*"), LockKind::Flock).len(),
        3
    );
}

#[test]
fn a_question_mark_stands_for_itself() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a?-1", "ab-1"] {
        File::create(folder.path().join(name)).unwrap();
    }
    let readings = read(&folder.path().join("a?-*"), LockKind::Exists);
    assert_eq!(readings.len(), 1);
    assert_eq!(readings[0].path, folder.path().join("a?-1"));
}

#[test]
fn a_pattern_that_cannot_be_looked_up_is_no_absent_lock() {
    let folder = tempfile::tempdir().unwrap();
    File::create(folder.path().join("file")).unwrap();
    for pattern in [
        folder.path().join("*/lock"),
        PathBuf::from("deploy.lock"),
        PathBuf::from("/"),
        folder.path().join("file/lock"),
        folder.path().join("file/lock-*"),
    ] {
        for kind in [LockKind::Exists, LockKind::Flock] {
            cannot_tell(&states(&pattern, kind)[0]);
        }
    }
}

#[test]
fn too_many_matches_are_no_sights_but_a_refusal() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..MATCH_LIMIT {
        File::create(folder.path().join(format!("lock-{number}"))).unwrap();
    }
    let pattern = folder.path().join("lock-*");
    assert_eq!(read(&pattern, LockKind::Exists).len(), MATCH_LIMIT);
    File::create(folder.path().join("lock-more")).unwrap();
    cannot_tell(&states(&pattern, LockKind::Exists)[0]);
}
