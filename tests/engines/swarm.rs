//! What Swarm wants stays, and what it wanted is cache. Runs under `tests/support/lab/alone`.

use crate::lab::image::Archive;
use crate::lab::{Engine, Kind, Registry, encode, wait_until};
use crate::support::{Secateur, dangling, ids, image, reasons, unpinned};
use serde_json::{Value, json};

/// A manager where a service ran and is gone. Returns the id of its image.
fn service_came_and_went(engine: &Engine, registry: &Registry, image: &str) -> String {
    engine.swarm_init();
    engine.service_create("web", image, 1, Some(&registry.auth_header()));
    engine.wait_tasks("web", image, "running", 1);
    let id = engine.id(image);
    engine.service_remove("web");
    wait_until("its tasks are forgotten", || {
        engine.get("/tasks").as_array()?.is_empty().then_some(())
    });
    id
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_service_that_is_gone_leaves_its_image_as_cache() {
    let registry = Registry::start();
    registry.put("web:v1", &Archive::new().busybox());
    let name = registry.pinned("web:v1");
    for kind in Kind::MAIN {
        let (engine, twin) = (Engine::start(kind), Engine::start(kind));
        let id = service_came_and_went(&engine, &registry, &name);
        assert_eq!(
            service_came_and_went(&twin, &registry, &name),
            id,
            "{}",
            kind.name()
        );

        // What the engine's own `docker image prune` makes of it: on a graphdriver store it goes.
        // The containerd store keeps the pin as a name, which is not dangling.
        assert_eq!(
            dangling(&twin).contains(&id),
            !kind.containerd(),
            "{}",
            kind.name()
        );
        let filter = encode(&json!({"dangling": ["true"]}).to_string());
        twin.api("POST", &format!("/images/prune?filters={filter}"), None)
            .ok("prune");
        assert_eq!(twin.has(&id), kind.containerd(), "{}", kind.name());

        // What secateur makes of it, with everything else as eager as can be.
        let litter = engine.load(&Archive::new());
        let secateur = Secateur::on(&engine);
        secateur.remember_all();
        assert_eq!(
            reasons(&secateur.plan(), &id),
            ["digest-pinned"],
            "{}",
            kind.name()
        );
        secateur.prune_takes(&engine, &[&litter], &[&name]);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_image_of_a_service_that_is_gone_goes_where_the_policy_says_when() {
    let registry = Registry::start();
    registry.put("web:v1", &Archive::new().busybox());
    let name = registry.pinned("web:v1");
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let id = service_came_and_went(&engine, &registry, &name);
        let secateur = Secateur::at(&engine.host(), &unpinned());
        secateur.remember();
        assert_eq!(
            image(&secateur.plan(), &id)["class"],
            "digest-pinned",
            "{}",
            kind.name()
        );
        // With room on the disk it stays all the same.
        let room = unpinned().replace("_above_percent = 0", "_above_percent = 100");
        secateur.policy(&room);
        assert_eq!(
            image(&secateur.plan(), &id)["held_back"],
            "disk-has-room",
            "{}",
            kind.name()
        );
        secateur.prune_takes(&engine, &[], &[&id]);
        secateur.policy(&unpinned());
        secateur.prune_takes(&engine, &[&id], &[]);
    }
}

/// Removes containers of tasks that are over, as `docker container prune`. Swarm may have
/// been faster.
fn without_ended_containers(engine: &Engine) {
    let ended = encode(&json!({"status": ["exited", "dead", "created"]}).to_string());
    let path = format!("/containers/json?all=1&filters={ended}");
    for container in engine.get(&path).as_array().expect("a list") {
        let id = container["Id"].as_str().expect("an id");
        let answer = engine.api("DELETE", &format!("/containers/{id}?force=1&v=1"), None);
        assert!([204, 404, 409].contains(&answer.status), "{answer:?}");
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn of_thirty_updates_by_digest_two_images_stay_and_the_service_rolls_back_without_a_pull() {
    const UPDATES: usize = 30;
    let registry = Registry::start();
    let image = Archive::new().busybox();
    let put = |n: usize| {
        let tag = format!("web:v{n}");
        registry.put(&tag, &image.clone().label("number", &n.to_string()));
        registry.pinned(&tag)
    };
    let names: Vec<String> = (0..=UPDATES).map(put).collect();
    let auth = registry.auth_header();
    let engine = Engine::start(Kind::Containerd28);
    engine.swarm_init();
    // A task that is remembered wants its image: by default there are five for each service.
    let swarm = engine.get("/swarm");
    let mut spec = swarm["Spec"].clone();
    spec["Orchestration"]["TaskHistoryRetentionLimit"] = json!(1);
    let path = format!("/swarm/update?version={}", swarm["Version"]["Index"]);
    engine.api("POST", &path, Some(&spec)).ok("swarm update");
    engine.service_create("web", &names[0], 1, Some(&auth));
    for name in &names[1..] {
        engine.service_update_image("web", name, Some(&auth));
        engine.wait_tasks("web", name, "running", 1);
    }
    // On the containerd store an image's digest is its id.
    let digest = |name: &String| name.split_once('@').expect("a digest").1.to_owned();
    let images: Vec<String> = names.iter().map(digest).collect();
    wait_until(
        "the update to end, and the last task's container to be left",
        || {
            if engine.service("web")["UpdateStatus"]["State"] != "completed" {
                return None;
            }
            without_ended_containers(&engine);
            let left = engine.get("/containers/json?all=1");
            let one = left.as_array()?.len() == 1 && engine.tasks("web").len() <= 2;
            one.then_some(())
        },
    );
    let secateur = Secateur::at(
        &engine.host(),
        &unpinned().replace("digest_pinned = \"1s\"", "digest_pinned = \"3s\""),
    );
    // Some were wanted a moment longer.
    let (goes, stays) = images.split_at(UPDATES - 1);
    wait_until("all but two images to be gone", || {
        let plan = secateur.prune(0);
        assert_eq!(plan["collateral"], json!([]), "{plan:#}");
        let left = goes.iter().filter(|id| engine.has(id));
        (left.count() == 0).then_some(())
    });
    assert!(stays.iter().all(|id| engine.has(id)));
    assert_eq!(reasons(&secateur.plan(), &stays[0])[0], "service");
    drop(registry);
    let version = engine.service("web")["Version"]["Index"].clone();
    let spec = engine.service("web")["Spec"].clone();
    let path = format!("/services/web/update?version={version}&rollback=previous");
    engine.api("POST", &path, Some(&spec)).ok("rollback");
    engine.wait_tasks("web", &names[UPDATES - 1], "running", 1);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_service_without_replicas_keeps_its_image() {
    let registry = Registry::start();
    registry.put("web:v1", &Archive::new().busybox());
    let name = registry.pinned("web:v1");
    let auth = registry.auth_header();
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        engine.swarm_init();
        engine.pull(&name, Some(&auth));
        let id = engine.id(&name);
        engine.service_create("web", &name, 0, Some(&auth));
        assert_eq!(
            engine.get("/containers/json?all=1"),
            json!([]),
            "{}",
            kind.name()
        );
        let litter = engine.load(&Archive::new());
        let secateur = Secateur::at(&engine.host(), &unpinned());
        secateur.remember();
        let plan = secateur.plan();
        assert_eq!(reasons(&plan, &id)[0], "service", "{}", kind.name());
        assert_eq!(
            image(&plan, &id)["reasons"][0]["message"],
            "service web runs it",
            "{}",
            kind.name()
        );
        secateur.prune_takes(&engine, &[&litter], &[&name]);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_service_keeps_the_image_that_it_would_roll_back_to() {
    let registry = Registry::start();
    registry.put("web:v1", &Archive::new().busybox());
    registry.put("web:v2", &Archive::new().busybox());
    let (one, two) = (registry.pinned("web:v1"), registry.pinned("web:v2"));
    let auth = registry.auth_header();
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        engine.swarm_init();
        engine.pull(&one, Some(&auth));
        engine.pull(&two, Some(&auth));
        let id = engine.id(&one);
        // No task ever ran it: nothing but the previous spec refers to it.
        engine.service_create("web", &one, 0, Some(&auth));
        engine.service_update_image("web", &two, Some(&auth));
        // Without tasks there is nothing to update: no status of one is ever set.
        assert_eq!(
            engine.service("web")["UpdateStatus"],
            json!(null),
            "{}",
            kind.name()
        );
        assert_eq!(engine.get("/tasks"), json!([]), "{}", kind.name());
        let litter = engine.load(&Archive::new());
        let secateur = Secateur::at(&engine.host(), &unpinned());
        secateur.remember();
        let plan = secateur.plan();
        let why = &image(&plan, &id)["reasons"][0];
        assert_eq!(
            why["message"],
            "service web rolls back to it",
            "{}: {plan:#}",
            kind.name()
        );
        secateur.prune_takes(&engine, &[&litter], &[&one, &two]);
    }
}

/// Services of one node that never come to rest: each in its own way would be a deploy for
/// ever, by the states alone that Swarm gives.
fn never_at_rest(engine: &Engine, image: &str, auth: &str) {
    let command = |spec: &mut Value, line: &[&str], delay: u64| {
        let task = &mut spec["TaskTemplate"];
        task["ContainerSpec"]["Command"] = json!(line);
        task["RestartPolicy"] = json!({"Condition": "any", "Delay": delay});
    };
    let second = 1_000_000_000;
    let auth = Some(auth);
    // Its tasks end by themselves, and then it is updated again.
    engine.service_create_as("once", image, auth, |spec| {
        command(spec, &["/bin/busybox", "true"], second);
        spec["TaskTemplate"]["RestartPolicy"] = json!({"Condition": "none"});
        // Its end must not come after it was watched.
        spec["UpdateConfig"]["Monitor"] = json!(60 * second);
    });
    engine.wait_tasks("once", image, "complete", 1);
    engine.service_update("once", auth, |spec| {
        spec["TaskTemplate"]["ForceUpdate"] = json!(1);
    });
    // It fits on no node any more.
    engine.service_create("nowhere", image, 1, auth);
    engine.wait_tasks("nowhere", image, "running", 1);
    engine.service_update("nowhere", auth, |spec| {
        let other = json!({"Constraints": ["node.labels.room == cellar"]});
        spec["TaskTemplate"]["Placement"] = other;
    });
    // One fails at once, again and again; one cannot even start; one is a cron job.
    engine.service_create_as("fails", image, auth, |spec| {
        command(spec, &["/bin/busybox", "false"], second);
    });
    engine.service_create_as("no-program", image, auth, |spec| {
        command(spec, &["/no/such/program"], second);
    });
    engine.service_create_as("nightly", image, auth, |spec| {
        command(spec, &["/bin/busybox", "true"], 3600 * second);
    });
    let update = |name: &str, state: &str| {
        wait_until(&format!("{name} is {state}"), || {
            (engine.service(name)["UpdateStatus"]["State"] == state).then_some(())
        });
    };
    update("once", "paused");
    update("nowhere", "updating");
    let ended = |name: &str, states: &[&str]| {
        wait_until(&format!("tasks of {name} have ended"), || {
            let tasks = engine.tasks(name);
            let over = |task: &&Value| states.iter().any(|s| task["Status"]["State"] == *s);
            (tasks.iter().filter(over).count() >= 2).then_some(())
        });
    };
    ended("fails", &["failed"]);
    ended("no-program", &["failed", "rejected"]);
    engine.wait_tasks("nightly", image, "ready", 1);
    wait_until("the scheduler has given it up", || {
        let tasks = engine.tasks("nowhere");
        let waits = |task: &&Value| task["Status"]["State"] == "pending";
        tasks.iter().find(waits)?["Status"]["Err"]
            .as_str()
            .map(drop)
    });
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn services_that_never_come_to_rest_keep_their_images_and_the_rest_is_pruned() {
    let registry = Registry::start();
    registry.put("web:v1", &Archive::new().busybox());
    let name = registry.pinned("web:v1");
    let auth = registry.auth_header();
    let engine = Engine::start(Kind::Overlay28);
    engine.swarm_init();
    never_at_rest(&engine, &name, &auth);
    let litter = engine.load(&Archive::new());
    let secateur = Secateur::at(&engine.host(), &unpinned());
    secateur.remember();

    // A task that pulls is a deploy all the same, also of a service that was stopped.
    registry.put("web:v2", &Archive::new().noise(16 << 20).busybox());
    let line = registry.slow_line(50_000);
    let next = format!("{}@{}", line.name("web:v2"), registry.digest("web:v2"));
    let slow = registry.auth_header_for(line.address());
    engine.service_update_image("once", &next, Some(&slow));
    engine.wait_tasks("once", &next, "preparing", 1);
    let outcome = secateur.prune(75);
    let deploy = |refusal: &Value| {
        let message = refusal["message"].as_str().expect("a message");
        refusal["kind"] == "deploy" && message.contains("service once")
    };
    let refusals = outcome["refusals"].as_array().expect("refusals");
    assert!(refusals.iter().any(deploy), "{outcome:#}");
    assert!(engine.has(&litter));
    line.open();
    wait_until("its update has failed, too", || {
        (engine.service("once")["UpdateStatus"]["State"] == "paused").then_some(())
    });

    let outcome = secateur.prune(0);
    assert_eq!(ids(&outcome, "removed"), [litter.as_str()], "{outcome:#}");
    assert!(
        engine.has(&name) && engine.has(&next),
        "what they want stays"
    );
    let notes = outcome["notes"].to_string();
    for service in ["once: update is paused", "nowhere: update is updating"] {
        assert!(notes.contains(&format!("service {service}")), "{notes}");
    }
}
