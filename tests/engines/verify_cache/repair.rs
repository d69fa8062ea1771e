//! --deep --restore and an image that is damaged: nothing is touched, and the commands that
//! are printed, typed as they are, make it whole with all of its names.

use super::restore::names;
use super::*;
use crate::support::{CALM, PROGRAM, executable};

/// Where no registry answers.
const NOWHERE: &str = "127.0.0.1:1/shop";

impl Host {
    fn calm(kind: Kind) -> Host {
        let host = Host::new(kind);
        host.secateur.policy(&format!("{EAGER}{CALM}"));
        host
    }

    /// One line, as somebody types it who has docker on this host.
    fn typed(&self, line: &str) -> Ran {
        let bin = self.secateur.dir().join("bin");
        fs::create_dir_all(&bin).expect("a folder");
        executable(&bin.join("docker"), &self.engine.client());
        let program = Path::new(&*PROGRAM).parent().expect("its folder").display();
        let path = std::env::var("PATH").expect("PATH");
        let path = format!("{}:{program}:{path}", bin.display());
        let mut command = self.secateur.typed(line);
        Ran::of(command.env("PATH", path).output().expect("bash"))
    }

    /// What is to be done about an image, by a run that changes nothing.
    #[track_caller]
    fn repair(&self, image: &str, args: &[&str]) -> Value {
        let before = names(&self.engine);
        let report = self.verify(1, &[&["--deep", "--restore"], args].concat());
        assert_eq!(names(&self.engine), before, "{report:#}");
        let line = line(&report, image);
        assert_eq!(line["state"], "damaged", "{line:#}");
        line["repair"].clone()
    }

    /// The tags are as before, and each digest reference leads to an image. It may be listed
    /// otherwise: an image that came by its digest has it without a tag.
    #[track_caller]
    fn has_all(&self, before: &[String]) {
        let what = self.engine.kind().name();
        let now = names(&self.engine);
        let tags = |names: &[String]| {
            let tags = names.iter().filter(|name| !name.contains('@'));
            tags.cloned().collect::<Vec<_>>()
        };
        assert_eq!(tags(&now), tags(before), "{what}");
        let lost = before.iter().find(|name| !self.engine.has(name));
        assert_eq!(lost, None, "{what}: {now:#?}");
    }

    /// Types the commands of a repair, and ends with all that was here whole, under the names
    /// that it had.
    #[track_caller]
    fn mended(&self, repair: &Value, images: &[&str]) {
        let what = format!("{}: {repair:#}", self.engine.kind().name());
        assert_eq!(repair["kind"], "commands", "{what}");
        let before = names(&self.engine);
        let lines = repair["commands"].as_array().expect("commands");
        let lines: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
        let [record, remove, restore] = lines[..] else {
            panic!("{what}");
        };
        println!("{}:\n{}", self.engine.kind().name(), lines.join("\n"));
        let recorded = self.typed(record);
        assert!(recorded.code <= 1, "{recorded:?}");
        self.typed(remove).ended(0);
        assert!(!self.engine.has(images[0]), "{what}");
        let restored = self.typed(restore);
        assert!(restored.code == 0, "{what}\n{restored:?}");
        self.has_all(&before);
        let report = self.verify(0, &[&["--deep"], images].concat());
        for image in images {
            says(self.engine.kind(), &report, image, "whole", "ok", &[]);
        }
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_its_registry_has_comes_back_whole_with_all_its_names() {
    for kind in Kind::ALL {
        for damage in Damage::of(kind) {
            let host = Host::calm(kind);
            let base = Archive::new().noise(1000);
            let app = host.registry.name("app:v1");
            let near = host.registry.name("near:v1");
            host.registry
                .put("app:v1", &base.clone().noise(3_000_000).tag("x:1"));
            host.registry
                .put("near:v1", &base.clone().noise(2000).tag("x:2"));
            host.pull(&app);
            host.pull(&near);
            host.pull(&host.registry.pinned("app:v1"));
            // Before and after the other in every list.
            host.engine.tag(&app, "also:1");
            host.engine.tag(&app, "0.example/also:1");
            damage.inflict(&host.engine, &app);
            let report = host.verify(1, &["--deep", "--restore", &app, &near]);
            assert_eq!(line(&report, &near)["repair"], Value::Null);
            let text = host.run(&["--deep", "--restore", &app, &near]).ended(1);
            let repair = host.repair(&app, &[&app, &near]);
            for command in repair["commands"].as_array().expect("commands") {
                let shown = format!("  -> {}\n", command.as_str().expect("a text"));
                assert!(text.stdout.contains(&shown), "{shown}{}", text.stdout);
            }
            host.mended(&repair, &[&app, &near, "also:1", "0.example/also:1"]);
        }
    }
}

/// Saves what is here into an archive, and then damages this image.
fn saved_and_damaged(host: &Host, damage: Damage, image: &str, promised: &[&str]) -> String {
    let archive = host.path("archive");
    let save = ["--save", "--archive", &archive];
    // 1: the containerd store makes up a digest, and no registry answers for it.
    let ran = host.run(&[&save[..], promised].concat());
    assert!(ran.code <= 1 && ran.stdout.contains("new blob"), "{ran:?}");
    damage.inflict(&host.engine, image);
    archive
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_the_archive_has_comes_back_whole_and_a_damaged_archive_has_nothing() {
    for kind in Kind::MAIN {
        for damage in Damage::of(kind) {
            let host = Host::calm(kind);
            let app = format!("{NOWHERE}/app:1");
            host.engine
                .load(&Archive::new().noise(1000).noise(3_000_000).tag(&app));
            host.engine.tag(&app, "also:1");
            let created = host.engine.create_container(&app, &["/x"], &json!({}));
            let archive = saved_and_damaged(&host, *damage, &app, &[&app]);
            let args = ["--archive", &archive, &app];
            let in_use = host.repair(&app, &args);
            assert_eq!(in_use["kind"], "in-use", "{in_use:#}");
            assert_eq!(in_use["commands"], json!([]));
            host.engine.remove_container(&created);
            let repair = host.repair(&app, &args);
            assert_eq!(repair["kind"], "commands", "{repair:#}");
            let largest = fs::read_dir(host.path("archive/blobs/sha256"))
                .unwrap()
                .map(|file| file.unwrap().path())
                .max_by_key(|path| path.metadata().unwrap().len())
                .unwrap();
            let kept = fs::read(&largest).unwrap();
            let mut spoilt = kept.clone();
            spoilt[1_000_000] ^= 1;
            fs::write(&largest, spoilt).unwrap();
            let nobody = host.repair(&app, &args);
            assert_eq!(nobody["kind"], "nowhere", "{nobody:#}");
            let message = nobody["message"].as_str().unwrap();
            assert!(message.starts_with("do not remove it"), "{message}");
            assert!(message.contains("is damaged: its bytes hash"), "{message}");
            assert_eq!(nobody["commands"], json!([]));
            fs::write(&largest, kept).unwrap();
            host.mended_alone(&repair, &app);
        }
    }
}

impl Host {
    /// As [`Host::mended`], where no registry can be asked about anything.
    #[track_caller]
    fn mended_alone(&self, repair: &Value, image: &str) {
        let before = names(&self.engine);
        let lines = repair["commands"].as_array().expect("commands");
        let lines: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
        println!("{}:\n{}", self.engine.kind().name(), lines.join("\n"));
        for line in lines {
            let ran = self.typed(line);
            assert!(ran.code <= 1, "{line}: {ran:?}");
        }
        self.has_all(&before);
        let report = self.run(&["--deep", "--format", "json", image]).json();
        says(self.engine.kind(), &report, image, "whole", "ok", &[]);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_damaged_layer_that_two_images_share_takes_both() {
    for kind in Kind::MAIN {
        for damage in Damage::of(kind) {
            let host = Host::calm(kind);
            let base = Archive::new().noise(1000).noise(3_000_000);
            let (app, near) = (host.registry.name("app:v1"), host.registry.name("near:v1"));
            host.registry.put("app:v1", &base.clone().tag("x:1"));
            host.registry
                .put("near:v1", &base.clone().noise(1000).tag("x:2"));
            host.pull(&app);
            host.pull(&near);
            damage.inflict(&host.engine, &app);
            // Nobody promised the other one, so it was not read.
            let alone = host.repair(&app, &[&app]);
            let message = alone["message"].as_str().expect("a message");
            assert!(message.contains(&near), "{}: {message}", kind.name());
            let both = host.repair(&app, &[&app, &near]);
            host.mended(&both, &[&app, &near]);
        }
    }
}
