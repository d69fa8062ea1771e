//! What containers use stays, and is not even asked for.

use std::time::SystemTime;

use crate::lab::image::Archive;
use crate::lab::{Engine, Kind};
use crate::support::{Secateur, changes, dangling, ids, image, keeping, reasons};
use serde_json::{Value, json};

/// An engine whose log has every request.
fn engine(kind: Kind) -> Engine {
    Engine::builder(kind).config("debug", json!(true)).start()
}

/// Prunes: all that goes is one image that nothing uses, and nothing was asked of the engine for
/// any other.
#[track_caller]
fn prune_takes_only(engine: &Engine, secateur: &Secateur, litter: &str) {
    let kind = engine.kind().name();
    let (since, before) = (SystemTime::now(), changes(engine).len());
    let outcome = secateur.prune(0);
    assert_eq!(ids(&outcome, "removed"), [litter], "{kind}: {outcome:#}");
    assert_eq!(outcome["skipped"], json!([]), "{kind}: {outcome:#}");
    let hex = &litter["sha256:".len()..][..12];
    let sent = &changes(engine)[before..];
    assert!(
        sent.iter().any(|line| line.contains("DELETE")),
        "{kind}: {sent:#?}"
    );
    assert!(
        sent.iter().all(|line| line.contains(hex)),
        "{kind}: {sent:#?}"
    );
    let gone: Vec<Value> = engine
        .events(since)
        .into_iter()
        .filter(|event| event["Type"] == "image")
        .filter(|event| event["Action"] == "delete" || event["Action"] == "untag")
        .collect();
    assert!(!gone.is_empty(), "{kind}");
    assert!(
        gone.iter().all(|event| event.to_string().contains(hex)),
        "{kind}: {gone:#?}"
    );
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_image_of_a_container_stays_whatever_the_containers_state() {
    for kind in Kind::MAIN {
        let engine = engine(kind);
        let states = ["created", "running", "paused", "exited"];
        let used = states.map(|state| {
            let id = engine.load(&Archive::new().busybox());
            let container =
                engine.create_container(&id, &["/bin/busybox", "sleep", "100000"], &json!({}));
            let steps: &[&str] = match state {
                "created" => &[],
                "running" => &["start"],
                "paused" => &["start", "pause"],
                _ => &["start", "kill"],
            };
            for step in steps {
                engine.container(&container, step);
            }
            engine.wait_container(&container, state);
            id
        });
        let litter = engine.load(&Archive::new());
        let dangling = dangling(&engine);
        assert!(
            used.iter().all(|id| dangling.contains(id)),
            "{}: {dangling:?}",
            kind.name()
        );

        let secateur = Secateur::on(&engine);
        secateur.remember();
        let plan = secateur.plan();
        for (id, state) in used.iter().zip(states) {
            let why = &image(&plan, id)["reasons"][0];
            assert_eq!(why["kind"], "in-use", "{}: {why}", kind.name());
            let message = why["message"].as_str().expect("a message");
            assert!(
                message.contains(&format!("({state})")),
                "{}: {message}",
                kind.name()
            );
        }
        prune_takes_only(&engine, &secateur, &litter);
        assert!(used.iter().all(|id| engine.has(id)), "{}", kind.name());
    }
}

/// A container with this image mounted; 20.10 has no such mounts.
fn mount(engine: &Engine, image: &str) -> String {
    engine.runnable("base:v1");
    let mounts = json!([{"Type": "image", "Source": image, "Target": "/mounted"}]);
    let container = engine.create_container(
        "base:v1",
        &["/bin/busybox", "sleep", "100000"],
        &json!({"HostConfig": {"Mounts": mounts}}),
    );
    engine.container(&container, "start");
    engine.wait_container(&container, "running");
    container
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_engine_before_image_mounts_takes_none() {
    let engine = engine(Kind::Overlay20);
    let image = engine.runnable("base:v1");
    let mounts = json!([{"Type": "image", "Source": image, "Target": "/mounted"}]);
    let body = json!({"Image": "base:v1", "HostConfig": {"Mounts": mounts}});
    let answer = engine.api("POST", "/containers/create", Some(&body));
    assert_eq!(answer.status, 400, "{}", answer.text());
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_that_is_mounted_by_its_id_stays() {
    for kind in Kind::NEWEST {
        let engine = engine(kind);
        let mounted = engine.load(&Archive::new().busybox());
        mount(&engine, &mounted);
        let litter = engine.load(&Archive::new());
        assert!(dangling(&engine).contains(&mounted), "{}", kind.name());
        let secateur = Secateur::on(&engine);
        secateur.remember();
        assert_eq!(
            reasons(&secateur.plan(), &mounted)[0],
            "image-mount",
            "{}",
            kind.name()
        );
        prune_takes_only(&engine, &secateur, &litter);
        assert!(engine.has(&mounted), "{}", kind.name());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_that_is_mounted_by_a_name_it_has_lost_stays() {
    for kind in Kind::NEWEST {
        let engine = engine(kind);
        let mounted = engine.load(&Archive::new().busybox().tag("mounted:v1"));
        mount(&engine, "mounted:v1");
        let secateur = Secateur::at(&engine.host(), &keeping("previous = 0"));
        secateur.prune(0);
        engine.small("mounted:v1");
        let litter = engine.load(&Archive::new());
        assert!(dangling(&engine).contains(&mounted), "{}", kind.name());
        secateur.prune(0);
        secateur.until_removable(&litter);
        assert_eq!(
            reasons(&secateur.plan(), &mounted)[0],
            "image-mount",
            "{}",
            kind.name()
        );
        prune_takes_only(&engine, &secateur, &litter);
        assert!(engine.has(&mounted), "{}", kind.name());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_that_is_mounted_by_a_name_nobody_saw_it_with_is_kept_by_the_engine() {
    for kind in Kind::NEWEST {
        let engine = engine(kind);
        let mounted = engine.load(&Archive::new().busybox().tag("mounted:v1"));
        mount(&engine, "mounted:v1");
        engine.small("mounted:v1");
        let secateur = Secateur::on(&engine);
        secateur.remember();
        // Neither the engine's lists nor our memory tell which image it is. The engine knows.
        assert_eq!(
            image(&secateur.plan(), &mounted)["verdict"],
            "remove",
            "{}",
            kind.name()
        );
        let outcome = secateur.prune(0);
        assert_eq!(
            ids(&outcome, "removed"),
            [""; 0],
            "{}: {outcome:#}",
            kind.name()
        );
        assert_eq!(
            ids(&outcome, "skipped"),
            [mounted.as_str()],
            "{}: {outcome:#}",
            kind.name()
        );
        assert!(engine.has(&mounted), "{}", kind.name());
    }
}
