use super::*;
use crate::host::pull_signs::found::{ENTRY_LIMIT, sign_at};
use crate::host::pull_signs::places::unreadable;
use crate::model::conditions::Cure;
use chrono::TimeDelta;
use nix::errno::Errno;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::slice::from_ref;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Held while a process is started, and while we have a sign open ourselves: a
/// process has copies of all that we have open until it runs its own program,
/// and would show as a user of the sign.
static STARTING: Mutex<()> = Mutex::new(());

fn starting() -> MutexGuard<'static, ()> {
    STARTING.lock().unwrap_or_else(PoisonError::into_inner)
}

const NOTHING: [PathBuf; 0] = [];

/// An engine's folders, just started, and the time of the host's clock.
struct Scene {
    _folder: tempfile::TempDir,
    roots: Roots,
    start: ClockReading,
}

const ID: &str = "dcd3f9f9-9eb1-433c-887d-e161d050e71d";

impl Scene {
    fn graphdriver() -> Scene {
        Scene::new(Some("overlay2"), &["image/overlay2", "volumes", "tmp"])
    }

    fn containerd() -> Scene {
        let database = "containerd/daemon/io.containerd.metadata.v1.bolt";
        Scene::new(None, &["containers", "volumes", database])
    }

    fn new(driver: Option<&str>, folders: &[&str]) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let data_root = folder.path().join("docker");
        for name in folders {
            fs::create_dir_all(data_root.join(name)).unwrap();
        }
        let scene = Scene {
            roots: Roots {
                engine_id: ID.to_owned(),
                containerd_root: driver
                    .is_none()
                    .then(|| data_root.join("containerd/daemon")),
                data_root,
                driver: driver.map(str::to_owned),
            },
            _folder: folder,
            start: crate::host::clock::read().unwrap(),
        };
        for place in places::of(&scene.roots, &mut Vec::new()) {
            write(&place.anchor);
        }
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.roots.data_root.join(name)
    }

    /// Makes a file, and the folders on the way.
    fn file(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write(&path);
        path
    }

    /// What is seen if this much time has passed. The dates of files cannot be
    /// set (it is their ctime that counts), but the clock can.
    fn seen_after(&self, time: TimeDelta) -> PullSigns {
        let now = ClockReading {
            wall: self.start.wall + time,
            ..self.start.clone()
        };
        read(&self.roots, &now)
    }

    fn state_after(&self, time: TimeDelta) -> SignState {
        let mut seen = self.seen_after(time);
        assert_eq!(seen.unreadable, []);
        assert_eq!(seen.signs.len(), 1, "{seen:?}");
        seen.signs.remove(0).state
    }

    /// The paths of the signs, below the data root.
    fn signs(&self) -> Vec<String> {
        let seen = self.seen_after(TimeDelta::zero());
        assert_eq!(seen.unreadable, []);
        seen.signs
            .iter()
            .map(|sign| sign.path.strip_prefix(&self.roots.data_root).unwrap())
            .map(|path| path.to_str().unwrap().to_owned())
            .collect()
    }

    fn unreadable(&self) -> Vec<PathBuf> {
        let seen = self.seen_after(TimeDelta::zero());
        seen.unreadable
            .into_iter()
            .map(|problem| problem.path)
            .collect()
    }
}

fn write(path: &Path) {
    let _no_process = starting();
    fs::write(path, "bytes").unwrap();
}

/// Another process that has these files open, until dropped.
struct Process {
    child: Child,
}

impl Process {
    fn with_open(one: &Path, two: &Path) -> Process {
        let starting = starting();
        let mut child = Command::new("sh")
            .args(["-c", r#"exec 3<"$1" 4<"$2"; echo open; read -r _"#, "sh"])
            .args([one, two])
            .stdin(Stdio::piped()) // never written, so it waits
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        drop(starting);
        let mut said = [0; 4];
        child.stdout.take().unwrap().read_exact(&mut said).unwrap();
        assert_eq!(&said, b"open");
        Process { child }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn an_engine_that_does_nothing_shows_no_sign() {
    for scene in [Scene::graphdriver(), Scene::containerd()] {
        scene.file("tmp/unrelated");
        assert_eq!(scene.seen_after(TimeDelta::zero()), PullSigns::default());
    }
}

#[test]
fn every_sign_of_the_graphdriver_store_is_seen_in_order() {
    let scene = Scene::graphdriver();
    scene.file("tmp/GetImageBlob123");
    scene.file("tmp/docker-import-1/layer.tar");
    scene.file("tmp/docker-export-1/layer.tar");
    scene.file("image/overlay2/layerdb/tmp/write-set-1/diff");
    scene.file("image/overlay2/layerdb/tmp/other/diff");
    scene.file("buildkit/content/ingest/abc/data");
    assert_eq!(
        scene.signs(),
        [
            "buildkit/content/ingest/abc",
            "image/overlay2/layerdb/tmp/write-set-1",
            "tmp/GetImageBlob123",
            "tmp/docker-export-1",
            "tmp/docker-import-1",
        ]
    );
}

#[test]
fn every_sign_of_the_containerd_store_is_seen_in_order() {
    let scene = Scene::containerd();
    let ingest = "containerd/daemon/io.containerd.content.v1.content/ingest/abc";
    scene.file(&format!("{ingest}/data"));
    scene.file("tmp/docker-import-1/layer.tar");
    scene.file("buildkit/content/ingest/abc/data");
    let expected = ["buildkit/content/ingest/abc", ingest, "tmp/docker-import-1"];
    assert_eq!(scene.signs(), expected);
}

#[test]
fn a_classic_build_is_seen_on_either_store_however_long_it_is_quiet() {
    for scene in [Scene::graphdriver(), Scene::containerd()] {
        let context = scene.file("tmp/docker-builder123/Dockerfile");
        let database = scene.path("volumes/metadata.db");
        let _engine = Process::with_open(&database, &database);
        for days in [0, 30, -30] {
            assert_eq!(scene.state_after(TimeDelta::days(days)), SignState::Build);
        }
        fs::remove_dir_all(context.parent().unwrap()).unwrap();
        scene.file("tmp/docker-build-git123/Dockerfile");
        assert_eq!(scene.signs(), ["tmp/docker-build-git123"]);
    }
}

#[test]
fn what_buildkit_downloads_into_its_own_folder_is_a_build_until_it_is_quiet() {
    let scene = Scene::graphdriver();
    scene.file("buildkit/content/ingest/abc/data");
    let state = |minutes| scene.state_after(TimeDelta::minutes(minutes));
    assert!(matches!(state(14), SignState::BuildKit(_)));
    assert!(matches!(state(16), SignState::Stale { .. }));
}

#[test]
fn a_sign_that_is_quiet_and_not_open_is_stale_after_a_minute_if_the_engine_is_seen() {
    let scene = Scene::graphdriver();
    let database = scene.path("volumes/metadata.db");
    scene.file("tmp/GetImageBlob1");
    let _engine = Process::with_open(&database, &database);
    assert!(matches!(
        scene.state_after(TimeDelta::seconds(50)),
        SignState::Live(_)
    ));
    let SignState::Stale { quiet } = scene.state_after(TimeDelta::seconds(70)) else {
        panic!("a left-over blocks");
    };
    assert!(quiet >= Duration::from_secs(60));
}

#[test]
fn without_sight_of_the_engine_a_sign_is_stale_only_after_a_quarter_of_an_hour() {
    let scene = Scene::graphdriver();
    scene.file("tmp/GetImageBlob1");
    let SignState::Live(why) = scene.state_after(TimeDelta::minutes(14)) else {
        panic!("stale too early");
    };
    assert!(why.contains("cannot be seen"), "{why}");
    assert!(matches!(
        scene.state_after(TimeDelta::minutes(16)),
        SignState::Stale { .. }
    ));
}

#[test]
fn to_see_the_files_of_containerd_is_not_to_see_those_of_dockerd() {
    let scene = Scene::containerd();
    scene.file("containerd/daemon/io.containerd.content.v1.content/ingest/abc/data");
    scene.file("tmp/docker-import-1/layer.tar");
    let database = scene.path("containerd/daemon/io.containerd.metadata.v1.bolt/meta.db");
    let _containerd = Process::with_open(&database, &database);
    let seen = scene.seen_after(TimeDelta::minutes(14));
    let states: Vec<_> = seen.signs.into_iter().map(|sign| sign.state).collect();
    assert!(
        matches!(&states[..], [SignState::Stale { .. }, SignState::Live(_)]),
        "{states:?}"
    );
}

#[test]
fn a_sign_that_the_engine_has_open_is_live_however_long_it_is_quiet() {
    let scene = Scene::graphdriver();
    let blob = scene.file("tmp/GetImageBlob1");
    let engine = Process::with_open(&blob, &scene.path("volumes/metadata.db"));
    let SignState::Live(why) = scene.state_after(TimeDelta::days(2)) else {
        panic!("a stalled pull reads as left behind");
    };
    assert_eq!(why, format!("open in pid {} (sh)", engine.child.id()));
    drop(engine);
    assert!(matches!(
        scene.state_after(TimeDelta::days(2)),
        SignState::Stale { .. }
    ));
}

#[test]
fn a_folder_is_live_while_a_file_anywhere_below_it_is_open() {
    let scene = Scene::containerd();
    let database = "containerd/daemon/io.containerd.metadata.v1.bolt/meta.db";
    for name in [
        "containerd/daemon/io.containerd.content.v1.content/ingest/abc/data",
        "tmp/docker-import-1/blobs/sha256/abc",
    ] {
        let file = scene.file(name);
        let process = Process::with_open(&file, &scene.path(database));
        assert!(
            matches!(scene.state_after(TimeDelta::days(2)), SignState::Live(_)),
            "{name}"
        );
        drop(process);
        fs::remove_dir_all(file.parent().unwrap()).unwrap();
        fs::remove_dir_all(scene.path("tmp")).unwrap_or_default();
    }
}

#[test]
fn a_file_of_the_same_name_elsewhere_is_another_file() {
    let scene = Scene::graphdriver();
    scene.file("tmp/GetImageBlob1");
    let other = scene.file("elsewhere/GetImageBlob1");
    let other_database = scene.file("elsewhere/metadata.db");
    let _process = Process::with_open(&other, &other_database);
    assert!(
        matches!(scene.state_after(TimeDelta::minutes(14)), SignState::Live(why)
        if why.contains("cannot be seen"))
    );
    assert!(matches!(
        scene.state_after(TimeDelta::minutes(16)),
        SignState::Stale { .. }
    ));
}

#[test]
fn the_dates_that_an_archive_gave_its_files_do_not_count() {
    let scene = Scene::graphdriver();
    let file = scene.file("tmp/docker-import-1/layer.tar");
    let folder = file.parent().unwrap();
    for year in [0, 32_000_000_000] {
        let date = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(year);
        for path in [&*file, folder] {
            let _no_process = starting();
            File::open(path).unwrap().set_modified(date).unwrap();
        }
        assert!(matches!(
            scene.state_after(TimeDelta::seconds(10)),
            SignState::Live(_)
        ));
        assert!(matches!(
            scene.state_after(TimeDelta::minutes(16)),
            SignState::Stale { .. }
        ));
    }
}

#[test]
fn a_clock_that_went_back_does_not_let_a_left_over_block_for_ever() {
    let scene = Scene::graphdriver();
    let database = scene.path("volumes/metadata.db");
    scene.file("tmp/GetImageBlob1");
    let a_year_back = TimeDelta::days(-365);
    assert!(matches!(scene.state_after(a_year_back), SignState::Live(_)));
    let _engine = Process::with_open(&database, &database);
    assert_eq!(
        scene.state_after(a_year_back),
        SignState::Stale {
            quiet: Duration::ZERO
        }
    );
}

#[test]
fn a_folder_that_is_not_the_engines_is_unreadable_not_without_signs() {
    let scene = Scene::graphdriver();
    let mut elsewhere = Scene::graphdriver();
    elsewhere.roots.driver = Some("btrfs".to_owned());
    assert_eq!(
        elsewhere.unreadable(),
        *from_ref(&elsewhere.roots.data_root)
    );
    elsewhere.roots.data_root = scene.path("missing");
    assert_eq!(elsewhere.unreadable(), [scene.path("missing")]);
    for driver in ["..", "", "a/b", "/"] {
        elsewhere.roots.driver = Some(driver.to_owned());
        elsewhere.roots.data_root = scene.roots.data_root.clone();
        assert_eq!(
            elsewhere.unreadable(),
            *from_ref(&scene.roots.data_root),
            "{driver}"
        );
    }
}

#[test]
fn the_folder_of_another_engine_is_unreadable_not_without_signs() {
    for scene in [Scene::graphdriver(), Scene::containerd()] {
        let file = scene.file("engine-id");
        for (id, known) in [(ID, true), ("another", false), ("", false)] {
            fs::write(&file, id).unwrap();
            let seen = scene.unreadable();
            assert_eq!(
                seen,
                if known { vec![] } else { vec![file.clone()] },
                "{id}"
            );
        }
        // As long as a disk: not read to its end.
        fs::write(&file, ID.repeat(1000)).unwrap();
        assert_eq!(scene.unreadable(), *from_ref(&file));
        // 20.10 has none.
        fs::remove_file(&file).unwrap();
        assert_eq!(scene.unreadable(), [] as [PathBuf; 0]);
    }
}

#[test]
fn a_file_in_the_place_of_the_engines_folder_is_no_engine() {
    let scene = Scene::graphdriver();
    fs::remove_dir(scene.path("image/overlay2")).unwrap();
    scene.file("image/overlay2");
    assert_eq!(scene.unreadable(), *from_ref(&scene.roots.data_root));
}

#[test]
fn the_containerd_store_needs_both_its_roots() {
    let mut scene = Scene::containerd();
    let root = scene.roots.containerd_root.take();
    assert_eq!(scene.unreadable(), *from_ref(&scene.roots.data_root));
    scene.roots.containerd_root = Some(scene.path("tmp"));
    assert_eq!(scene.unreadable(), [scene.path("tmp")]);
    scene.roots.containerd_root = root;
    assert_eq!(scene.unreadable(), NOTHING);
    fs::remove_dir(scene.path("containers")).unwrap();
    assert_eq!(scene.unreadable(), *from_ref(&scene.roots.data_root));
}

#[test]
fn a_root_that_is_unreadable_does_not_hide_the_signs_of_the_other() {
    let mut scene = Scene::containerd();
    scene.file("containerd/daemon/io.containerd.content.v1.content/ingest/abc/data");
    scene.roots.data_root = scene.path("missing");
    let seen = scene.seen_after(TimeDelta::zero());
    assert_eq!((seen.signs.len(), seen.unreadable.len()), (1, 1));
}

#[test]
fn a_sign_with_too_much_in_it_does_not_hide_the_sign_beside_it() {
    let scene = Scene::graphdriver();
    let live = scene.file("tmp/GetImageBlob1");
    for number in 0..=ENTRY_LIMIT {
        scene.file(&format!("tmp/docker-import-1/{number}"));
    }
    let found = scene.seen_after(TimeDelta::zero());
    assert_eq!(found.unreadable.len(), 1);
    assert_eq!(found.signs.len(), 1);
    assert_eq!(found.signs[0].path, live);
}

#[test]
fn a_folder_of_signs_that_is_no_folder_or_leads_nowhere_is_unreadable() {
    let scene = Scene::graphdriver();
    let folder = scene.path("tmp");
    fs::remove_dir(&folder).unwrap();
    symlink("/nowhere/tmp", &folder).unwrap();
    assert_eq!(scene.unreadable(), *from_ref(&folder));
    fs::remove_file(&folder).unwrap();
    fs::write(&folder, "").unwrap();
    assert_eq!(scene.unreadable(), [folder]);
    // The same of a folder further up.
    symlink("/nowhere/buildkit", scene.path("buildkit")).unwrap();
    assert!(scene.unreadable().contains(&scene.path("buildkit")));
}

#[test]
fn where_the_engine_downloads_elsewhere_its_signs_are_unreadable_until_they_are_linked() {
    let scene = Scene::graphdriver();
    let folder = scene.path("tmp");
    fs::remove_dir(&folder).unwrap();
    let seen = scene.seen_after(TimeDelta::zero()).unreadable;
    assert_eq!((seen.len(), &seen[0].path), (1, &folder));
    assert!(seen[0].why.contains("DOCKER_TMPDIR"), "{}", seen[0].why);
    scene.file("elsewhere/GetImageBlob1");
    symlink("elsewhere", &folder).unwrap();
    assert_eq!(scene.signs(), ["tmp/GetImageBlob1"]);
    // The containerd store downloads nothing there.
    assert_eq!(Scene::containerd().unreadable(), NOTHING);
}

#[test]
fn a_linked_folder_is_looked_through() {
    let scene = Scene::graphdriver();
    scene.file("elsewhere/GetImageBlob1");
    fs::remove_dir(scene.path("tmp")).unwrap();
    symlink("elsewhere", scene.path("tmp")).unwrap();
    assert_eq!(scene.signs(), ["tmp/GetImageBlob1"]);
}

#[test]
fn more_entries_than_are_looked_at_are_unreadable() {
    for name in ["tmp", "tmp/docker-import-1"] {
        let scene = Scene::graphdriver();
        let folder = scene.path(name);
        fs::create_dir_all(&folder).unwrap();
        for number in 0..=ENTRY_LIMIT {
            symlink("x", folder.join(number.to_string())).unwrap();
        }
        assert_eq!(scene.unreadable(), [folder]);
    }
}

#[test]
fn a_sign_that_goes_while_we_look_is_none() {
    let scene = Scene::graphdriver();
    let anchor = scene.path("volumes/metadata.db");
    let path = scene.path("tmp/GetImageBlob1");
    let sign = sign_at(&path, Liveness::Changing, &anchor);
    assert!(sign.unwrap().is_none());
}

#[test]
fn a_missing_permission_is_named_with_what_would_give_it() {
    let problem = unreadable(Path::new("/var/lib/docker"), &Errno::EACCES.into());
    assert_eq!(problem.cure, Cure::Permission);
    let problem = unreadable(Path::new("/var/lib/docker"), &Errno::EIO.into());
    assert_eq!(problem.cure, Cure::DataRoot);
}
