use super::*;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::os::unix::fs::{PermissionsExt, symlink};

const FILE: u32 = libc::S_IFREG;
const FOLDER: u32 = libc::S_IFDIR;
const LINK: u32 = libc::S_IFLNK;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// A folder of ours with `real/file` in it, free of links.
fn scene() -> (tempfile::TempDir, PathBuf) {
    let folder = crate::testing::folder_of_ours();
    let root = fs::canonicalize(folder.path()).unwrap();
    fs::create_dir(root.join("real")).unwrap();
    chmod(&root.join("real"), 0o755);
    fs::write(root.join("real/file"), "x").unwrap();
    chmod(&root.join("real/file"), 0o644);
    (folder, root)
}

fn refused(path: &Path, wanted: Wanted) -> PathBuf {
    match check(path, wanted) {
        Err(FileError::Untrusted { path, .. }) => path,
        other => panic!("wanted a refusal, got {other:?}"),
    }
}

#[test]
fn only_root_and_we_may_own() {
    assert_eq!(flaw(0, FILE | 0o644, 1000), None);
    assert_eq!(flaw(1000, FILE | 0o644, 1000), None);
    assert_eq!(flaw(1001, FILE | 0o600, 1000), Some(Flaw::Owner));
    assert_eq!(flaw(1000, FILE | 0o600, 0), Some(Flaw::Owner));
    assert_eq!(flaw(1001, LINK | 0o777, 0), Some(Flaw::Owner));
    // The owner of a sticky folder may move everything in it.
    assert_eq!(flaw(1001, FOLDER | 0o1777, 1000), Some(Flaw::Owner));
}

#[test]
fn no_folder_is_given_away_for_the_sake_of_a_file_in_it() {
    for wanted in [Wanted::Folder, Wanted::File, Wanted::FileOrLink] {
        for we in [0, 1000] {
            let way_out = elsewhere(we, wanted, true);
            assert!(way_out.contains("a folder that only root"), "{way_out}");
        }
    }
    assert!(elsewhere(0, Wanted::File, true).ends_with("such as /root"));
}

/// The advice for a path that is not trusted.
fn advice(path: &Path, wanted: Wanted) -> String {
    check(path, wanted).unwrap_err().to_string()
}

#[test]
fn no_command_is_advised_for_what_is_not_ours_to_mend() {
    let (_folder, root) = scene();
    let file = root.join("real/file");
    chmod(&file, 0o646);
    assert!(advice(&file, Wanted::File).contains("chmod go-w"));
    // Anybody may have put it there, and may still have it open.
    chmod(&root.join("real"), 0o1777);
    let said = advice(&file, Wanted::File);
    assert!(said.contains("read it, then copy it"), "{said}");
    // A team's folder.
    chmod(&root.join("real"), 0o775);
    let said = advice(&file, Wanted::File);
    assert!(said.contains("move the file to a folder"), "{said}");
    assert!(!said.contains("chmod"), "{said}");
    let said = advice(&root.join("real/state"), Wanted::Folder);
    assert!(said.contains("use a folder that only root"), "{said}");
    // Our own, and wrong.
    assert!(advice(&root.join("real"), Wanted::Folder).contains("chmod go-w"));
}

#[test]
fn of_a_device_or_folder_its_type_is_said_and_no_mode_is_advised() {
    let (_folder, root) = scene();
    chmod(&root.join("real"), 0o777);
    for (path, found) in [
        (PathBuf::from("/dev/null"), "it is a device"),
        (PathBuf::from("/tmp"), "it is a folder"),
        (root.join("real"), "it is a folder"),
    ] {
        for wanted in [Wanted::File, Wanted::FileOrLink] {
            let said = advice(&path, wanted);
            assert!(
                said.contains(&format!("{found}, wanted a plain file")),
                "{said}"
            );
            assert!(!said.contains("chmod"), "{said}");
        }
    }
    let said = advice(Path::new("/dev/null"), Wanted::Folder);
    assert!(said.contains("it is a device, wanted a folder"), "{said}");
}

#[test]
fn neither_group_nor_others_may_write() {
    assert_eq!(flaw(0, FILE | 0o755, 0), None);
    assert_eq!(flaw(0, FILE | 0o620, 0), Some(Flaw::Mode));
    assert_eq!(flaw(0, FILE | 0o602, 0), Some(Flaw::Mode));
    assert_eq!(flaw(0, FOLDER | 0o775, 0), Some(Flaw::Mode));
    assert_eq!(flaw(0, LINK | 0o777, 0), None);
}

#[test]
fn the_sticky_bit_excuses_a_folder_and_nothing_else() {
    assert_eq!(flaw(0, FOLDER | 0o1777, 1000), None);
    assert_eq!(flaw(0, FILE | 0o1666, 1000), Some(Flaw::Mode));
}

#[test]
fn a_file_of_ours_in_a_folder_of_ours_is_trusted() {
    let (_folder, root) = scene();
    let file = root.join("real/file");
    assert_eq!(check(&file, Wanted::File).unwrap(), file);
    assert_eq!(
        check(&root.join("real/../real/./file"), Wanted::File).unwrap(),
        file
    );
}

#[test]
fn a_file_that_others_may_write_is_refused_by_name_with_the_way_out() {
    let (_folder, root) = scene();
    let file = root.join("real/file");
    chmod(&file, 0o646);
    let error = check(&file, Wanted::File).unwrap_err().to_string();
    assert!(error.contains("mode 0646"), "{error}");
    assert!(
        error.contains(&format!("chmod go-w {}", file.display())),
        "{error}"
    );
}

#[test]
fn a_parent_that_others_may_write_is_refused_by_name() {
    let (_folder, root) = scene();
    chmod(&root, 0o770);
    assert_eq!(refused(&root.join("real/file"), Wanted::File), root);
}

#[test]
fn a_missing_file_below_an_untrusted_parent_is_untrusted_not_missing() {
    let (_folder, root) = scene();
    assert!(
        check(&root.join("real/none"), Wanted::File)
            .unwrap_err()
            .is_not_found()
    );
    chmod(&root.join("real"), 0o777);
    assert_eq!(
        refused(&root.join("real/none"), Wanted::File),
        root.join("real")
    );
}

#[test]
fn a_sticky_parent_is_fine_but_not_as_the_state_folder_itself() {
    let (_folder, root) = scene();
    chmod(&root, 0o1777);
    check(&root.join("real/file"), Wanted::File).unwrap();
    assert_eq!(refused(&root, Wanted::Folder), root);
    assert_eq!(refused(&root.join("real/.."), Wanted::Folder), root);
}

#[test]
fn a_link_needs_both_its_own_folder_and_its_target_trusted() {
    let (_folder, root) = scene();
    fs::create_dir(root.join("etc")).unwrap();
    chmod(&root.join("etc"), 0o755);
    let link = root.join("etc/policy.toml");
    symlink("../real/file", &link).unwrap();
    assert_eq!(
        check(&link, Wanted::FileOrLink).unwrap(),
        root.join("real/file")
    );
    chmod(&root.join("real"), 0o777);
    assert_eq!(refused(&link, Wanted::FileOrLink), root.join("real"));
    chmod(&root.join("real"), 0o700);
    chmod(&root.join("etc"), 0o777);
    assert_eq!(refused(&link, Wanted::FileOrLink), root.join("etc"));
}

#[test]
fn a_linked_folder_on_the_way_is_followed_and_judged() {
    let (_folder, root) = scene();
    symlink(root.join("real"), root.join("link")).unwrap();
    let path = root.join("link/file");
    assert_eq!(check(&path, Wanted::File).unwrap(), root.join("real/file"));
    chmod(&root.join("real"), 0o777);
    assert_eq!(refused(&path, Wanted::File), root.join("real"));
}

#[test]
fn links_in_a_circle_end() {
    let (_folder, root) = scene();
    symlink("b", root.join("a")).unwrap();
    symlink("a", root.join("b")).unwrap();
    let error = check(&root.join("a"), Wanted::FileOrLink).unwrap_err();
    assert!(matches!(error, FileError::Io { .. }), "{error}");
}

#[test]
fn what_is_no_plain_file_is_refused() {
    let (_folder, root) = scene();
    let fifo = root.join("fifo");
    mkfifo(&fifo, Mode::S_IRUSR).unwrap();
    assert_eq!(refused(&fifo, Wanted::File), fifo);
    assert_eq!(refused(&root.join("real"), Wanted::File), root.join("real"));
    assert_eq!(
        refused(&root.join("real/file"), Wanted::Folder),
        root.join("real/file")
    );
    symlink("real/file", root.join("link")).unwrap();
    assert_eq!(refused(&root.join("link"), Wanted::File), root.join("link"));
}
