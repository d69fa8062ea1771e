//! What the fake engine serves was recorded from live engines of the lab, and
//! they still answer in that shape. To record anew:
//!
//!     SECATEUR_RECORD=1 tests/support/lab/alone cargo test --test engines -- --ignored fake_recorded::

use std::collections::BTreeSet;
use std::path::Path;

use crate::fake::recorded::{PARTS, ROOT, Recorded};
use crate::lab::image::Archive;
use crate::lab::{Engine, Kind, Registry, wait_until};
use serde_json::{Value, json};

/// The newest minor API versions by which secateur asks, and by which it inspects an image.
const NEWEST: u32 = 55;
const INSPECTING: u32 = 52;

/// What of GET /info is recorded: the rest tells of the machine.
const INFO: [&str; 14] = [
    "Architecture",
    "Containerd",
    "Containers",
    "ContainersPaused",
    "ContainersRunning",
    "ContainersStopped",
    "DockerRootDir",
    "Driver",
    "DriverStatus",
    "ID",
    "Images",
    "RegistryConfig",
    "ServerVersion",
    "Swarm",
];

#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_the_fake_engine_serves_has_the_shape_that_live_engines_answer_in() {
    let registry = Registry::start();
    for kind in Kind::MAIN {
        let live = live(kind, &registry);
        let path = Recorded::path(kind.name());
        if std::env::var_os("SECATEUR_RECORD").is_some() {
            let text = serde_json::to_string_pretty(&live).expect("JSON");
            std::fs::write(&path, text + "\n").expect("the recording");
        }
        if kind.is_given() && !path.exists() {
            continue; // of its version there are no recordings
        }
        let recorded = Recorded::read(kind.name()).0;
        for part in PARTS {
            let (live, recorded) = (keys(&live[part]), keys(&recorded[part]));
            assert!(!recorded.is_empty(), "{}: no {part}", kind.name());
            let of = |more: &BTreeSet<String>, less: &BTreeSet<String>| -> Vec<String> {
                more.difference(less).cloned().collect()
            };
            let (new, gone) = (of(&live, &recorded), of(&recorded, &live));
            assert!(
                new.is_empty() && gone.is_empty(),
                "{} {part}: the live engine has {new:?} and has no {gone:?}",
                kind.name()
            );
        }
    }
}

/// The keys of an object, or of a list's objects together.
fn keys(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(map) => map.keys().cloned().collect(),
        Value::Array(list) => list.iter().flat_map(keys).collect(),
        _ => BTreeSet::new(),
    }
}

/// A host with an image of each class, a container, and a service that was
/// updated once.
fn live(kind: Kind, registry: &Registry) -> Value {
    let engine = Engine::start(kind);
    let auth = registry.auth_header();
    let old = || Archive::new().noise(1000).created("2024-05-01T10:00:00Z");
    for _ in 0..3 {
        engine.load(&old().tag("app:latest"));
    }
    let name = registry.name("web:1");
    for _ in 0..2 {
        registry.put("web:1", &old());
        engine.pull(&name, Some(&auth));
    }
    registry.put("db:1", &old().label("com.example.tier", "base"));
    engine.pull(&registry.pinned("db:1"), Some(&auth));
    engine.load(&old().tag("job:1"));
    engine.create_container("job:1", &["/bin/true"], &json!({}));
    engine.swarm_init();
    for name in ["site:1", "site:2"] {
        engine.runnable(name);
    }
    engine.service_create("site", "site:1", 1, None);
    engine.wait_tasks("site", "site:1", "running", 1);
    engine.service_update_image("site", "site:2", None);
    engine.wait_tasks("site", "site:2", "running", 1);
    wait_until("the update is over", || {
        (engine.service("site")["UpdateStatus"]["State"] == "completed").then_some(())
    });
    recorded(&engine)
}

fn recorded(engine: &Engine) -> Value {
    // By the versions by which secateur asks.
    let minor = engine.api_version();
    let by = |ours: u32, path: &str| engine.get(&format!("/v1.{}{path}", minor.min(ours)));
    let all = |path: &str| by(NEWEST, path);
    let mut info = all("/info");
    if let Value::Object(info) = &mut info {
        info.retain(|key, _| INFO.contains(&key.as_str()));
    }
    // With all that any command asks for; the fake leaves out what it is not asked for.
    let images = all(match (engine.kind().containerd(), minor) {
        (_, ..42) => "/images/json?all=1",
        (true, 54..) => "/images/json?all=1&shared-size=1&manifests=1&identity=1",
        (_, 47..) => "/images/json?all=1&shared-size=1&manifests=1",
        _ => "/images/json?all=1&shared-size=1",
    });
    let inspects: Vec<Value> = images
        .as_array()
        .expect("a list")
        .iter()
        .map(|image| image["Id"].as_str().expect("an id"))
        .map(|id| by(INSPECTING, &format!("/images/{id}/json")))
        .collect();
    let mut events = engine.events(std::time::UNIX_EPOCH);
    events.retain(|event| event["Type"] == "image" || event["Type"] == "container");
    let build_cache = if engine.kind() == Kind::Overlay20 {
        // Never asked for there (API 1.41); in the form of the others.
        json!({"BuildCache": null})
    } else if minor < 52 {
        all("/system/df?type=build-cache")
    } else {
        all("/system/df?type=build-cache&verbose=1")
    };
    let mut parts = json!({
        "version": engine.get("/version"),
        "info": info,
        "images": images,
        "inspects": inspects,
        "containers": all("/containers/json?all=1"),
        "services": all("/services"),
        "tasks": all("/tasks"),
        "build_cache": build_cache,
        "events": events,
    });
    neutral(&mut parts, engine.dir());
    parts
}

/// Takes out what tells of the machine: folders, and the kernel.
fn neutral(value: &mut Value, room: &Path) {
    match value {
        Value::String(text) => {
            let room = room.to_string_lossy();
            *text = text
                .replace(&format!("{room}/data"), ROOT)
                .replace(&*room, ROOT);
        }
        Value::Array(list) => list.iter_mut().for_each(|value| neutral(value, room)),
        Value::Object(map) => {
            map.remove("KernelVersion");
            map.values_mut().for_each(|value| neutral(value, room));
        }
        _ => {}
    }
}
