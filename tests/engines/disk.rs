//! When the disk asks for space and when it has enough, on engines whose data
//! root lies on a file system of its own.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::lab::image::Archive;
use crate::lab::{Engine, Kind, wait_until};
use crate::support::{EAGER, NOTHING, Secateur, ids, image};
use serde_json::{Value, json};

const MIB: usize = 1 << 20;
/// Images on one disk, each of them so large that its removal shows.
struct Scene {
    engine: Engine,
    secateur: Secateur,
    /// Images that nobody needs, the one that has been so for longest first.
    olds: Vec<String>,
    /// How full the disk is, in percent.
    full: f64,
    /// What one image takes of the disk, in percent.
    share: f64,
}

/// [`EAGER`], with these thresholds, and without a rollback for the one tag.
fn thresholds(start: f64, stop: f64) -> String {
    format!("{EAGER}\n[keep]\nprevious = 0\n")
        .replace(
            "start_above_percent = 0",
            &format!("start_above_percent = {start:.2}"),
        )
        .replace(
            "stop_below_percent = 0",
            &format!("stop_below_percent = {stop:.2}"),
        )
}

/// How full df finds the disk. Not asked of the program, which is to be tested.
fn used_percent(engine: &Engine) -> f64 {
    let output = Command::new("df")
        .args(["--block-size=1", "--output=used,avail"])
        .arg(engine.data_root())
        .output()
        .expect("df");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers: Vec<f64> = text
        .lines()
        .nth(1)
        .expect("figures")
        .split_whitespace()
        .map(|word| word.parse().expect("a number"))
        .collect();
    numbers[0] * 100.0 / (numbers[0] + numbers[1])
}

const IMAGES: usize = 5;

impl Scene {
    /// Five images become unneeded one after another, each seen by a run of its
    /// own; the third is then used once more, so that it is the youngest.
    fn on(kind: Kind) -> Scene {
        let engine = Engine::builder(kind).disk("96m").start();
        let secateur = Secateur::on(&engine);
        secateur.policy(&thresholds(100.0, 100.0));
        engine.load(&Archive::new().tag("app:latest"));
        let empty = used_percent(&engine);
        let mut loaded = Vec::new();
        for _ in 0..IMAGES {
            let id = engine.load(&Archive::new().noise(5 * MIB).tag("app:latest"));
            loaded.push(id);
            // Seen with its tag: it is unneeded from here on.
            assert_eq!(secateur.prune(0)["result"], "nothing");
        }
        let full = used_percent(&engine);
        let share = (full - empty) / IMAGES as f64;
        assert!(share > 4.0, "{}: one image is {share} %", kind.name());
        assert!(full < 95.0, "{}: {full} %", kind.name());
        engine.load(&Archive::new().tag("app:latest"));
        let container = engine.create_container(&loaded[2], &["/nothing"], &json!({}));
        assert_eq!(secateur.prune(0)["result"], "nothing");
        engine.remove_container(&container);
        // What was in use at one run counts as used until the next.
        assert_eq!(secateur.prune(0)["result"], "nothing");

        let mut olds = loaded;
        let youngest = olds.remove(2);
        olds.push(youngest);
        let scene = Scene {
            engine,
            secateur,
            olds,
            full,
            share,
        };
        wait_until("all but the tagged one are candidates", || {
            let plan = scene.secateur.plan();
            // One small image was there before the five.
            (plan["summary"]["candidate"] == IMAGES + 1).then_some(())
        });
        scene
    }

    fn name(&self) -> &'static str {
        self.engine.kind().name()
    }

    fn here(&self) -> Vec<bool> {
        self.olds.iter().map(|id| self.engine.has(id)).collect()
    }

    /// Those of the five that this run removed, in its order.
    fn removed(&self, outcome: &Value) -> Vec<String> {
        let removed = ids(outcome, "removed").into_iter();
        removed.filter(|id| self.olds.contains(id)).collect()
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn while_the_disk_has_room_candidates_stay() {
    for kind in Kind::MAIN {
        let scene = Scene::on(kind);
        scene.secateur.policy(&thresholds(
            scene.full + 2.0,
            scene.full - 3.0 * scene.share,
        ));
        let plan = scene.secateur.plan();
        assert_eq!(plan["disk"]["asks_for_space"], false, "{plan:#}");
        for id in &scene.olds {
            assert_eq!(image(&plan, id)["verdict"], "candidate", "{plan:#}");
            assert_eq!(image(&plan, id)["held_back"], "disk-has-room");
            assert_eq!(image(&plan, id)["reasons"], json!([]));
        }
        let outcome = scene.secateur.prune(0);
        assert_eq!(outcome["result"], "nothing", "{outcome:#}");
        assert_eq!(scene.here(), [true; IMAGES], "{}", scene.name());

        // min_free asks although the percentage does not, and is what ends the run.
        let min_free = |bytes: u64| {
            let policy = thresholds(scene.full + 2.0, scene.full - 3.5 * scene.share);
            policy.replace("[disk]", &format!("[disk]\nmin_free = \"{bytes}B\""))
        };
        let free = plan["disk"]["free_bytes"].as_u64().expect("bytes");
        scene.secateur.policy(&min_free(free + 2 * MIB as u64));
        let outcome = scene.secateur.prune(0);
        assert_eq!(scene.removed(&outcome), scene.olds[..1], "{outcome:#}");
        scene.secateur.policy(&min_free(1 << 30));
        let outcome = scene.secateur.prune(0);
        assert_eq!(scene.removed(&outcome), scene.olds[1..], "{outcome:#}");
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn above_the_threshold_the_longest_unneeded_go_until_the_disk_has_enough() {
    for kind in Kind::MAIN {
        let scene = Scene::on(kind);
        let (start, stop) = (scene.full - 0.5, scene.full - 2.5 * scene.share);
        scene.secateur.policy(&thresholds(start, stop));
        let outcome = scene.secateur.prune(0);
        assert_eq!(outcome["result"], "pruned", "{outcome:#}");
        let after = used_percent(&scene.engine);
        // Two are not enough, three are.
        assert_eq!(
            scene.removed(&outcome),
            scene.olds[..3],
            "{}: {} % full, one is {} %, {stop} % wanted, {after} % reached: {outcome:#}",
            scene.name(),
            scene.full,
            scene.share,
        );
        assert_eq!(
            scene.here(),
            [false, false, false, true, true],
            "{}",
            scene.name()
        );
        assert!(after < stop, "{}: {after} %, wanted {stop}", scene.name());
        assert_eq!(scene.secateur.open_intents(), NOTHING);

        // What was measured, not summed, is what the report says.
        let freed = outcome["reclaimed_bytes"].as_f64().expect("bytes");
        let percent = freed * 100.0 / (96.0 * MIB as f64);
        assert!(
            (percent - (scene.full - after)).abs() < 1.0,
            "{}: {outcome:#}",
            scene.name()
        );

        // The disk has enough: the next run takes nothing.
        let outcome = scene.secateur.prune(0);
        assert_eq!(outcome["result"], "nothing", "{outcome:#}");
        assert_eq!(
            image(&scene.secateur.plan(), &scene.olds[3])["verdict"],
            "candidate"
        );
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn above_the_threshold_with_a_target_out_of_reach_all_go_oldest_first() {
    for kind in Kind::MAIN {
        let scene = Scene::on(kind);
        scene.secateur.policy(&thresholds(scene.full - 0.5, 0.1));
        let outcome = scene.secateur.prune(0);
        assert_eq!(
            scene.removed(&outcome),
            scene.olds,
            "{}: {outcome:#}",
            scene.name()
        );
        let shares = 4.5 * scene.share;
        assert!(
            used_percent(&scene.engine) < scene.full - shares,
            "{}",
            scene.name()
        );
        assert!(scene.engine.has("app:latest"));
    }
}

/// What all files and folders below take on the disk; without databases, which keep their room.
fn taken_below(folder: &Path) -> u64 {
    let mut taken = 0;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let file = entry.metadata().expect("its size");
        if entry.path().extension().is_none_or(|end| end != "db") {
            taken += file.blocks() * 512;
        }
        if file.is_dir() {
            taken += taken_below(&entry.path());
        }
    }
    taken
}

/// Of an image that shares two thirds with another the plan counts the last third alone, and all
/// of it where the engine tells what is shared.
#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_removing_an_image_frees_is_no_less_than_the_plan_says() {
    const MIB: usize = 1 << 20;
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let secateur = Secateur::on(&engine);
        let shared = Archive::new().noise(2 * MIB).tag("app:1");
        let old = engine.load(&shared.clone().noise(MIB));
        let new = engine.load(&shared.clone().noise(MIB));
        secateur.remember();
        let plan = secateur.plan();
        let said = image(&plan, &old)["reclaimable_bytes_at_least"].as_u64();
        let said = said.expect("bytes");
        let before = taken_below(engine.data_root());
        secateur.prune_takes(&engine, &[&old], &[&new]);
        let freed = before.saturating_sub(taken_below(engine.data_root()));
        assert!(said <= freed, "{}: {said}, and {freed}", kind.name());
        // Compressed and unpacked, which is the same for noise but for some folders.
        let own = MIB as u64 * if kind.containerd() { 2 } else { 1 };
        let told = kind != Kind::Overlay20;
        let nearly = said >= own / 100 * 99;
        assert!(nearly || !told, "{}: {said} of {own}", kind.name());
    }
}
