//! Promises by recent use, retention by name, and room, on live engines.

use crate::lab::image::Archive;
use crate::lab::{Engine, Kind};
use crate::support::{EAGER, Secateur, image, reasons};
use serde_json::{Value, json};

const MIB: usize = 1 << 20;

fn verify(secateur: &Secateur, code: i32) -> Value {
    let ran = secateur.run(&["verify-cache", "--format", "json"]);
    ran.ended(code).json()
}

/// The promised images with their states, in the order of their names.
fn states(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let images = report["images"].as_array().expect("images").iter();
    let mut states: Vec<_> = images
        .map(|image| (text(&image["image"]), text(&image["state"])))
        .collect();
    states.sort();
    states
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_ran_is_promised_by_the_engines_events_and_then_by_the_ledger() {
    for kind in Kind::MAIN {
        let name = kind.name();
        let mut engine = Engine::start(kind);
        let recent = format!("{EAGER}[cache]\nrecent = \"14d\"\nnever = [\"*:pr-*\"]\n");
        let secateur = Secateur::at(&engine.host(), &recent);
        for tag in [
            "127.0.0.1:1/ran:1",
            "127.0.0.1:1/idle:1",
            "127.0.0.1:1/ran:pr-7",
        ] {
            engine.load(&Archive::new().busybox().tag(tag));
        }
        // The first survey asks for no events.
        secateur.look();
        let create = |engine: &Engine, image: &str| {
            engine.create_container(image, &["/bin/busybox", "true"], &json!({}))
        };
        create(&engine, "127.0.0.1:1/idle:1");
        for image in ["127.0.0.1:1/ran:1", "127.0.0.1:1/ran:pr-7"] {
            let container = create(&engine, image);
            engine.container(&container, "start");
            engine.wait_container(&container, "exited");
            engine.remove_container(&container);
        }
        let ready = |state: &str| vec![("127.0.0.1:1/ran:1".to_owned(), state.to_owned())];
        let by_events = verify(&secateur, 0);
        assert_eq!(states(&by_events), ready("ready"), "{name}: {by_events:#}");
        assert_eq!(by_events["images"][0]["promised_by"][0]["kind"], "recent");
        // An engine that starts anew has forgotten all events.
        secateur.look();
        engine.restart();
        let by_ledger = verify(&secateur, 0);
        assert_eq!(states(&by_ledger), ready("ready"), "{name}: {by_ledger:#}");
        assert!(by_ledger["images"][0]["since"].is_string(), "{name}");
        engine.remove("127.0.0.1:1/ran:1");
        let gone = verify(&secateur, 1);
        assert_eq!(states(&gone), ready("missing"), "{name}: {gone:#}");
        assert!(gone["images"][0]["since"].is_string(), "{name}");
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_rule_by_name_keeps_what_has_lost_that_name_and_no_other() {
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let secateur = Secateur::on(&engine);
        let load = |name: &str| engine.load(&Archive::new().tag(name));
        let [kept, other] = ["acme/app:1", "acme/web:1"].map(load);
        secateur.look();
        for name in ["acme/app:1", "acme/web:1"] {
            load(name);
        }
        let general = EAGER.replace(
            "[disk]",
            "digest_pinned = \"1s\"\n[keep]\nprevious = 0\n[disk]",
        );
        secateur.policy(&general);
        secateur.until_removable(&kept);
        let rule = "[[retain]]\nimages = [\"acme/app:*\"]\nmin_age = \"1h\"\n";
        secateur.policy(&format!("{general}{rule}"));
        let plan = secateur.plan();
        assert_eq!(reasons(&plan, &kept), ["too-young"], "{}", kind.name());
        let said = image(&plan, &kept)["reasons"][0]["message"].to_string();
        assert!(said.contains("by [[retain]] of acme/app:*"), "{said}");
        secateur.prune_takes(&engine, &[&other], &[&kept]);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_store_that_fills_has_little_room_and_then_none() {
    for kind in Kind::MAIN {
        let engine = Engine::builder(kind).disk("96m").start();
        let secateur = Secateur::on(&engine);
        engine.load(&Archive::new().noise(20 * MIB).tag("app:1"));
        let used = |report: &Value| report["room"]["used_percent"].as_f64().expect("a figure");
        let room = |warn: f64, crit: f64, code| {
            let limits = format!("[room]\nwarn_percent = {warn}\ncrit_percent = {crit}\n");
            secateur.policy(&format!("{EAGER}{limits}"));
            let ran = secateur.run(&["verify-cache", "--format", "json", "app:1"]);
            // The disk of a lab lies in memory, and is broken for that.
            let report = ran.ended(code).json();
            (report["room"]["level"].clone(), report)
        };
        let (level, report) = room(99.0, 100.0, 1);
        assert_eq!(level, "enough", "{}: {report:#}", kind.name());
        assert_eq!(
            report["room"]["largest"]["image"],
            "docker.io/library/app:1"
        );
        let full = used(&report);
        let (level, report) = room((full - 1.0).floor(), 100.0, 1);
        assert_eq!(level, "warn", "{}: {report:#}", kind.name());
        let (level, report) = room(1.0, (full - 1.0).floor(), 1);
        assert_eq!(level, "crit", "{}: {report:#}", kind.name());
        assert_eq!(report["room"]["status"], "broken");
        // As much again as the largest image does not fit any more.
        let (_, report) = room(99.0, 100.0, 1);
        let free = report["room"]["free_bytes"].as_u64().expect("a figure");
        let size = report["room"]["largest"]["size_bytes"]
            .as_u64()
            .expect("a size");
        let bytes = usize::try_from(free - size / 2).expect("it fits in memory");
        let filler = engine.data_root().join("filler");
        std::fs::write(&filler, vec![1; bytes]).expect("it fits on the disk");
        let (level, report) = room(99.9, 100.0, 1);
        assert_eq!(level, "warn", "{}: {report:#}", kind.name());
        let said = report["room"]["message"].to_string();
        assert!(said.contains("room for 0 more"), "{said}");
        std::fs::remove_file(&filler).expect("it is there");
    }
}
