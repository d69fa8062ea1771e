//! The ways to read and write, together.

use super::*;
use crate::host::files::aside::QUARANTINE_LIMIT;
use crate::host::files::write::TEMPORARY;
use nix::sys::stat::Mode;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

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
    let folder = crate::testing::folder_of_ours();
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
    let folder = crate::testing::folder_of_ours();
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
    let folder = crate::testing::folder_of_ours();
    let path = folder.path().join("ledger.json");
    write_atomic(&path, b"12345").unwrap();
    assert_eq!(read_trusted(&path, 5).unwrap().unwrap(), b"12345");
    let error = read_trusted(&path, 4).unwrap_err();
    assert!(error.to_string().contains("longer than 4 bytes"), "{error}");
}

#[test]
fn of_a_file_that_grew_too_long_the_end_is_read() {
    let folder = crate::testing::folder_of_ours();
    let path = folder.path().join("journal.jsonl");
    assert_eq!(read_trusted_end(&path, 4).unwrap(), None);
    write_atomic(&path, b"12345").unwrap();
    assert_eq!(read_trusted_end(&path, 4).unwrap().unwrap(), b"2345");
    assert_eq!(read_trusted_end(&path, 6).unwrap().unwrap(), b"12345");
}

#[test]
fn a_file_is_kept_under_another_name_in_place_of_what_had_it() {
    let folder = crate::testing::folder_of_ours();
    let path = folder.path().join("journal.jsonl");
    let other = folder.path().join("journal.jsonl.1");
    for generation in [b"one", b"two"] {
        write_atomic(&path, generation).unwrap();
        keep_as(&path, &other).unwrap();
        // Again, as after a run that was cut off there.
        keep_as(&path, &other).unwrap();
        assert_eq!(fs::read(&path).unwrap(), generation);
        assert_eq!(fs::read(&other).unwrap(), generation);
    }
    assert_eq!(names(folder.path()), ["journal.jsonl", "journal.jsonl.1"]);
    assert!(keep_as(&folder.path().join("none"), &other).is_err());
}

#[test]
fn a_write_that_fails_leaves_the_folder_as_it_was() {
    let folder = crate::testing::folder_of_ours();
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
    let folder = crate::testing::folder_of_ours();
    let link = folder.path().join("stdout");
    symlink("/dev/null", &link).unwrap();
    write_atomic(&link, b"new").unwrap_err();
    assert!(link.is_symlink());
    assert_eq!(names(folder.path()), ["stdout"]);
}

#[test]
fn a_corrupt_file_goes_to_the_next_free_name() {
    let folder = crate::testing::folder_of_ours();
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
    let folder = crate::testing::folder_of_ours();
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
    let folder = crate::testing::folder_of_ours();
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
    let folder = crate::testing::folder_of_ours();
    let real = folder.path().join("private");
    StateDir::open(&real).unwrap();
    let link = folder.path().join("secateur");
    symlink("private", &link).unwrap();
    let state = StateDir::open(&link).unwrap();
    assert_eq!(state.path(), fs::canonicalize(&real).unwrap());
}

#[test]
fn a_state_folder_that_is_a_file_is_refused() {
    let folder = crate::testing::folder_of_ours();
    let path = folder.path().join("state");
    fs::write(&path, "").unwrap();
    StateDir::open(&path).unwrap_err();
    StateDir::find(&path).unwrap_err();
}

#[test]
fn a_policy_link_that_leads_nowhere_is_no_missing_policy() {
    let folder = crate::testing::folder_of_ours();
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
    let folder = crate::testing::folder_of_ours();
    let path = folder.path().join("ledger.json");
    fs::write(folder.path().join("real"), "x").unwrap();
    symlink("real", &path).unwrap();
    let error = read_trusted(&path, 100).unwrap_err();
    assert!(matches!(error, FileError::Untrusted { .. }), "{error}");
}

#[test]
fn an_error_names_no_file_that_was_only_for_a_moment() {
    let folder = crate::testing::folder_of_ours();
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

type Way = fn(&Path) -> Result<Option<Vec<u8>>, FileError>;

#[test]
fn no_way_of_reading_waits_or_reads_without_end() {
    let folder = crate::testing::folder_of_ours();
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
