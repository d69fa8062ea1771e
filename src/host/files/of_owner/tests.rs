use super::*;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::PathBuf;

const ALICE: u32 = 4_001;
const BOB: u32 = 4_002;

/// A folder of this user with a file `config.json` in it that holds `x`.
fn of(owner: u32) -> (tempfile::TempDir, PathBuf) {
    let folder = crate::testing::folder_of_ours();
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
