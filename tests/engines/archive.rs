//! `verify-cache --save`: what is promised gets into an archive that others read.

mod crash;
mod from_registry;
mod layers;
mod layout;
mod network;
mod others;

use crate::lab::image::Archive;
use crate::lab::{Engine, Kind, Room, wait_until};
use crate::support::{CALM, EAGER, Ran, Secateur, patient};
use crate::verify_cache::Damage;
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use self::layout::Layout;

const MIB: usize = 1 << 20;

/// secateur with an archive in this folder.
struct Saving {
    secateur: Secateur,
    folder: PathBuf,
    /// Lines of its policy: sections before `[cache]`, and more of `[archive]`.
    general: String,
    more: String,
}

impl Saving {
    fn at(engine: &Engine, folder: &Path) -> Saving {
        Saving {
            secateur: Secateur::on(engine),
            folder: folder.to_owned(),
            general: patient(),
            more: String::new(),
        }
    }

    /// Beside the policy.
    fn on(engine: &Engine) -> Saving {
        let mut saving = Saving::at(engine, Path::new(""));
        saving.folder = saving.secateur.dir().join("archive");
        saving
    }

    fn promise(&self, names: &[&str]) {
        let (general, more) = (&self.general, &self.more);
        let folder = self.folder.display().to_string();
        self.secateur.policy(&format!(
            "{general}{CALM}[cache]\nimages = {names:?}\n[archive]\ndir = {folder:?}\n{more}\n"
        ));
    }

    fn save(&self) -> Ran {
        self.secateur
            .run(&["verify-cache", "--save", "--format", "json"])
    }

    /// Blobs written by a run that ends with 0.
    #[track_caller]
    fn blobs(&self) -> u64 {
        let report = self.save().ended(0).json();
        let images = report["images"].as_array().expect("images").iter();
        let each = images.map(|image| image["saved"]["blobs_written"].as_u64());
        each.map(|count| count.unwrap_or_else(|| panic!("{report:#}")))
            .sum()
    }

    fn layout(&self) -> Layout {
        Layout::read(&self.folder)
    }
}

/// What became of a promised image.
#[track_caller]
fn saved<'a>(report: &'a Value, name: &str) -> &'a Value {
    let name = format!("docker.io/library/{name}");
    let images = report["images"].as_array().expect("images");
    let image = images.iter().find(|image| image["image"] == *name);
    &image.unwrap_or_else(|| panic!("no {name}: {report:#}"))["saved"]
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_the_archive_has_is_not_written_again() {
    for (kind, compress) in [
        (Kind::Overlay20, "none"),
        (Kind::Overlay20, "gzip"),
        (Kind::Overlay28, "none"),
        (Kind::Overlay28, "gzip"),
        (Kind::Containerd28, "none"),
    ] {
        let what = format!("{} {compress}", kind.name());
        let engine = Engine::start(kind);
        let mut saving = Saving::on(&engine);
        saving.more = format!("compress = {compress:?}");
        saving.promise(&["app:1", "app:2", "web:1"]);
        let base = Archive::new().noise(MIB);
        let app = base.clone().noise(1000).tag("app:1").tag("app:2");
        engine.load(&app);
        engine.load(&base.clone().tag("web:1"));
        // Manifest, configuration and layers of both; two of these are shared.
        assert_eq!(saving.blobs(), 2 + 2 + 3, "{what}");
        let before = saving.layout();
        assert_eq!(saving.blobs(), 0, "{what}");
        assert_eq!(saving.layout().index, before.index, "{what}");
        engine.load(&app.clone().noise(1000).tag("new:1"));
        saving.promise(&["app:1", "app:2", "web:1", "new:1"]);
        assert_eq!(saving.blobs(), 2 + 1, "{what}");
        let names = ["app:1", "app:2", "web:1", "new:1"];
        let names = names.map(|name| format!("docker.io/library/{name}"));
        let layout = saving.layout();
        assert_eq!(layout.names(), names, "{what}");
        // The load took app:1 and app:2 along.
        assert_eq!(layout.nameless(), 1, "{what}");
        assert_eq!(layout.blobs.len(), 7 + 3, "{what}");
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn of_two_writers_one_waits_and_who_waits_too_long_ends_with_75() {
    let engine = Engine::start(Kind::Overlay28);
    let saving = Saving::on(&engine);
    saving.promise(&["app:1"]);
    engine.load(&Archive::new().noise(MIB).tag("app:1"));
    // The one that begins the archive, and another. On a slow machine that one waits too long.
    let both = std::thread::scope(|scope| {
        let saves = [(); 2].map(|()| scope.spawn(|| saving.save()));
        saves.map(|save| save.join().expect("a run"))
    });
    let ended = both.each_ref().map(|ran| ran.code);
    assert!(matches!(ended, [0, 0 | 75] | [75, 0]), "{both:?}");
    assert_eq!(saving.blobs(), 0, "{both:?}");
    assert_eq!(saving.layout().blobs.len(), 4, "{both:?}");
    let lock = File::open(saving.folder.join(".secateur.lock")).expect("the lock");
    lock.lock().expect("nobody has it");
    let ran = saving.save().ended(75);
    assert!(ran.stderr.contains("another run holds"), "{ran:?}");
    // What it found out before is reported all the same.
    let report = ran.json();
    assert_eq!(report["result"], "refused", "{report:#}");
    assert_eq!(report["images"][0]["state"], "ready", "{report:#}");
    assert_eq!(*saved(&report, "app:1"), Value::Null);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_full_disk_or_archive_leaves_out_what_does_not_fit_and_names_it() {
    for kind in Kind::MAIN {
        let name = kind.name();
        let engine = Engine::start(kind);
        engine.load(&Archive::new().noise(MIB).tag("one:1"));
        engine.load(&Archive::new().noise(8 * MIB).tag("large:1"));
        engine.load(&Archive::new().noise(1000).tag("small:1"));
        let room = Room::new(Some("4m"));
        let mut saving = Saving::at(&engine, &room.dir().join("disk/archive"));
        for (kind, message) in [
            ("unwritten", "No space left"),
            ("too-large", "(archive.max_size)"),
        ] {
            saving.promise(&["one:1", "large:1", "small:1"]);
            let report = saving.save().ended(1).json();
            assert_eq!(saved(&report, "one:1")["not_saved"], Value::Null, "{name}");
            let large = saved(&report, "large:1");
            assert_eq!(large["not_saved"], kind, "{name}: {large}");
            let said = large["message"].as_str().expect("a text");
            assert!(said.contains(message), "{name}: {said}");
            let small = saved(&report, "small:1");
            assert_eq!(small["not_saved"], "left-out", "{name}: {small}");
            let layout = saving.layout();
            assert_eq!(layout.names(), ["docker.io/library/one:1"], "{name}");
            assert_eq!(layout.blobs.len(), 4, "{name}");
            saving = Saving::on(&engine);
            saving.more = "max_size = \"2MiB\"".into();
        }
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn nothing_of_a_damaged_image_gets_into_the_archive() {
    for kind in Kind::MAIN {
        for damage in Damage::of(kind) {
            let what = format!("{} {damage:?}", kind.name());
            let engine = Engine::start(kind);
            let saving = Saving::on(&engine);
            saving.promise(&["app:1", "fine:1"]);
            engine.load(&Archive::new().noise(3_000_000).tag("app:1"));
            engine.load(&Archive::new().noise(1000).tag("fine:1"));
            damage.inflict(&engine, "app:1");
            let report = saving.save().ended(1).json();
            let app = saved(&report, "app:1");
            let kinds = ["unfit", "export"].map(Value::from);
            assert!(kinds.contains(&app["not_saved"]), "{what}: {report:#}");
            println!("{what}: {}", app["message"]);
            assert_eq!(saved(&report, "fine:1")["blobs_written"], 4, "{what}");
            let layout = saving.layout();
            assert_eq!(layout.names(), ["docker.io/library/fine:1"], "{what}");
            assert_eq!(layout.blobs.len(), 4, "{what}");
        }
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_nobody_promises_any_more_goes_after_its_age_and_others_keep_theirs() {
    let engine = Engine::start(Kind::Overlay28);
    let mut saving = Saving::on(&engine);
    let base = Archive::new().noise(1000);
    engine.load(&base.clone().noise(1000).tag("app:1"));
    engine.load(&base.clone().noise(1000).tag("web:1"));
    saving.promise(&["app:1", "web:1"]);
    assert_eq!(saving.blobs(), 2 * 2 + 4);
    let other = saving.layout().add_of_others("web:1");
    saving.promise(&["app:1"]);
    assert_eq!(saving.blobs(), 0);
    // An hour is not over.
    assert_eq!(saving.layout().names().len(), 3);
    saving.general = EAGER.into();
    saving.promise(&["app:1"]);
    wait_until("its second is over", || {
        saving.blobs();
        (saving.layout().names().len() == 2).then_some(())
    });
    let layout = saving.layout();
    assert!(
        layout.index["manifests"]
            .as_array()
            .unwrap()
            .contains(&other)
    );
    // The other's entry leads to all of them.
    assert_eq!(layout.blobs.len(), 8);
    layout.drop_of_others();
    saving.promise(&["app:1", "web:1"]);
    assert_eq!(saving.blobs(), 0, "they are still there, named by nobody");
    saving.promise(&["app:1"]);
    wait_until("its second is over", || {
        saving.blobs();
        (saving.layout().names().len() == 1).then_some(())
    });
    // Manifest, configuration and layer of its own.
    assert_eq!(saving.layout().blobs.len(), 8 - 3);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_damaged_blob_of_the_archive_is_believed_until_deep_reads_it_and_then_written_anew() {
    for kind in Kind::MAIN {
        let name = kind.name();
        let engine = Engine::start(kind);
        let saving = Saving::on(&engine);
        saving.promise(&["app:1"]);
        engine.load(&Archive::new().noise(MIB).tag("app:1"));
        saving.save();
        let whole = saving.layout();
        let blobs: Vec<PathBuf> = files_of(&saving).collect();
        assert_eq!(blobs.len(), 4, "{name}");
        for path in &blobs {
            let mut bytes = fs::read(path).expect("a blob");
            *bytes.last_mut().expect("a byte") ^= 1;
            fs::write(path, bytes).expect("a damaged blob");
            let what = format!("{name}: {}", path.display());
            let deep = ["verify-cache", "--save", "--deep", "--format", "json"];
            let report = saving.secateur.run(&deep).json();
            // A manifest or a configuration that does not read shows that by itself.
            assert_eq!(
                saved(&report, "app:1")["blobs_written"],
                1,
                "{what}: {report:#}"
            );
            assert_eq!(saving.layout().blobs, whole.blobs, "{what}");
        }
        // Without --deep its length is believed, and a restore names it.
        let layer = blobs
            .iter()
            .max_by_key(|path| path.metadata().map(|it| it.len()).ok());
        let layer = layer.expect("a layer");
        let mut bytes = fs::read(layer).expect("a layer");
        bytes[100] ^= 1;
        fs::write(layer, bytes).expect("a damaged layer");
        let report = saving.save().json();
        assert_eq!(saved(&report, "app:1")["blobs_written"], 0, "{name}");
        engine.remove("app:1");
        let calm = format!("{EAGER}{CALM}");
        let restoring = Secateur::at(&engine.host(), &calm);
        let folder = saving.folder.display().to_string();
        let restore = ["verify-cache", "--restore", "--format", "json"];
        let restore = [&restore[..], &["--archive", &folder, "app:1"]].concat();
        let report = restoring.run(&restore).ended(1).json();
        let notes = report["notes"].to_string();
        assert!(
            notes.contains("is damaged: its bytes hash"),
            "{name}: {report:#}"
        );
        // Nothing here can write it anew.
        let deep = ["verify-cache", "--save", "--deep", "--format", "json"];
        let report = saving.secateur.run(&deep).json();
        assert!(
            report["notes"].to_string().contains("is damaged"),
            "{name}: {report:#}"
        );
    }
}

fn files_of(saving: &Saving) -> impl Iterator<Item = PathBuf> {
    let files = fs::read_dir(saving.folder.join("blobs/sha256")).expect("blobs");
    files.map(|file| file.expect("a blob").path())
}
