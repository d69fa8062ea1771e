//! Builds by BuildKit beside a prune, and what they leave behind.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::lab::image::Archive;
use crate::lab::{Build, Engine, Kind, Registry, wait_until};
use crate::support::page;
use crate::support::scene::untagged;
use crate::support::{NOTHING, Secateur, dangling, ids, image, keeping, reasons, refusals};

/// The newest engine with each store. Debian 12's own docker knows no buildx.
const KINDS: [Kind; 2] = [Kind::Overlay28, Kind::Containerd28];

/// A command that goes on until the file /go is there.
const WAITS: &str = r#"RUN ["/bin/busybox", "sh", "-c", "until [ -e /go ]; do sleep 0.1; done"]"#;

/// A prune that is refused for a build, which it tells in one line. Refusals of other kinds.
#[track_caller]
fn refused(secateur: &Secateur) -> Vec<String> {
    let outcome = secateur.prune(75);
    assert_eq!(outcome["result"], "refused", "{outcome:#}");
    assert_eq!(ids(&outcome, "removed"), NOTHING);
    let mut kinds = refusals(&outcome);
    let all = kinds.len();
    kinds.retain(|kind| kind != "build");
    assert_eq!(all - kinds.len(), 1, "{outcome:#}");
    // The plan says it as well.
    assert!(refusals(&secateur.plan()).contains(&"build".to_owned()));
    kinds
}

/// The same, and for nothing else. (On the containerd store BuildKit still writes the history of
/// the last build where pulls write.)
#[track_caller]
fn refused_for_one_build(engine: &Engine, secateur: &Secateur) {
    let others = refused(secateur);
    let history = |kind: &String| engine.kind().containerd() && kind == "pull";
    assert!(
        others.iter().all(history),
        "{}: {others:?}",
        engine.kind().name()
    );
}

/// Prunes once no build is at work: its records are in use, and its history is being written, for
/// a moment longer than it lasts.
#[track_caller]
fn prune_at_rest(secateur: &Secateur) -> Value {
    wait_until("the build is over", || {
        let ran = secateur.run(&["prune", "--format", "json"]);
        assert!(ran.code == 0 || ran.code == 75, "{ran:?}");
        (ran.code == 0).then(|| ran.json())
    })
}

/// Fails unless the build ends well, with an image that is whole.
#[track_caller]
fn ends_well(engine: &Engine, build: Build, name: &str) {
    let said = build.done();
    assert_eq!(
        engine.damage(name),
        None,
        "{}: {said}",
        engine.kind().name()
    );
}

/// A registry with big:v1.
fn big() -> Registry {
    let registry = Registry::start();
    registry.put("big:v1", &Archive::new().noise(4 << 20));
    registry
}

/// A build whose base comes slowly.
fn fetches(engine: &Engine, secateur: &Secateur, registry: &Registry) {
    let line = registry.slow_line(50_000);
    engine.log_in(registry, line.address());
    let dockerfile = format!("FROM {}\n", line.name("big:v1"));
    let build = engine.buildx(&["--tag=fetched:v1"], &dockerfile);
    wait_until("the base is being downloaded", || {
        (line.passed() > 20_000).then_some(())
    });
    // A download into containerd's folder, or a layer that is stored, does not show whose it is.
    let others = refused(secateur);
    assert!(others.iter().all(|kind| kind == "pull"), "{others:?}");
    line.open();
    ends_well(engine, build, "fetched:v1");
}

fn beside_builds(kind: Kind, registry: &Registry) {
    let engine = Engine::start(kind);
    let secateur = Secateur::on(&engine);
    engine.runnable("base:v1");
    let (olds, _) = untagged(&engine, 1);
    secateur.remember();

    // A command, in a build that copies from another stage.
    let dockerfile = format!(
        "FROM base:v1 AS stage\nCOPY Dockerfile /staged\nFROM base:v1\n\
         COPY --from=stage /staged /copied\n{WAITS}\n"
    );
    let attested: &[&str] = &["--tag=attested:v1", "--attest=type=provenance,mode=max"];
    let mut options: Vec<&[&str]> = vec![&["--tag=app:v1"], &["--load", "--tag=loaded:v1"]];
    // overlay2 knows no attestations.
    options.extend(kind.containerd().then_some(attested));
    for options in options {
        let build = engine.buildx(&[options, &["--no-cache"]].concat(), &dockerfile);
        let go = engine.build_waits();
        refused_for_one_build(&engine, &secateur);
        fs::write(go, "").expect("the file that it waits for");
        let name = options
            .iter()
            .find_map(|option| option.strip_prefix("--tag="));
        ends_well(&engine, build, name.expect("a tag"));
    }

    fetches(&engine, &secateur, registry);

    // One that is cancelled holds nothing up for long.
    let build = engine.buildx(&["--no-cache"], &dockerfile);
    engine.build_waits();
    refused_for_one_build(&engine, &secateur);
    build.cancel();
    let outcome = prune_at_rest(&secateur);
    assert_eq!(
        ids(&outcome, "removed"),
        olds,
        "{}: {outcome:#}",
        kind.name()
    );
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn nothing_is_removed_beside_a_buildkit_build_which_is_told_in_one_line_and_ends_well() {
    let registry = big();
    std::thread::scope(|scope| {
        for kind in KINDS {
            let registry = &registry;
            scope.spawn(move || beside_builds(kind, registry));
        }
    });
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_build_of_which_an_engine_cannot_tell_ends_well_whatever_goes_beside_it() {
    let engine = Engine::start(Kind::Overlay20);
    let secateur = Secateur::at(&engine.host(), &keeping("previous = 0"));
    let base = engine.runnable("base:v1");
    secateur.look();
    let dockerfile = format!(
        "FROM base:v1 AS stage\nCOPY Dockerfile /staged\nFROM base:v1\n{WAITS}\nCOPY --from=stage /staged /copied\n"
    );
    let build = engine.buildx(&["--tag=app:v1", "--no-cache"], &dockerfile);
    let go = engine.build_waits();
    // Its base loses its name to another image, and goes.
    engine.runnable("base:v1");
    secateur.until_removable(&base);
    secateur.prune_takes(&engine, &[&base], &[]);
    fs::write(go, "").expect("the file that it waits for");
    let said = build.done();
    assert!(engine.damage("app:v1").is_none(), "{said}");

    // A download shows.
    fetches(&engine, &secateur, &big());
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_another_builder_builds_is_nothing_to_wait_for_until_it_is_loaded() {
    let other = Engine::start(Kind::Containerd28);
    other.runnable("base:v1");
    for kind in KINDS {
        let engine = Engine::start(kind);
        let secateur = Secateur::on(&engine);
        let (olds, _) = untagged(&engine, 1);
        secateur.remember();
        engine.add_builder("other", &other);
        let dockerfile = format!("FROM base:v1\nLABEL of={}\n{WAITS}\n", kind.major());
        let options = ["--builder=other", "--no-cache", "--load", "--tag=loaded:v1"];
        let build = engine.buildx(&options, &dockerfile);
        let go = other.build_waits();
        secateur.prune_takes(&engine, &[&olds[0]], &[]);
        fs::write(go, "").expect("the file that it waits for");
        ends_well(&engine, build, "loaded:v1");
        prune_at_rest(&secateur);
        assert!(engine.has("loaded:v1"), "{}", kind.name());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn builds_beside_a_janitor_that_never_rests_end_well() {
    for kind in KINDS {
        let engine = Engine::start(kind);
        let secateur = Secateur::at(&engine.host(), &keeping("previous = 0"));
        engine.runnable("base:v1");
        secateur.prune(0);
        let over = AtomicBool::new(false);
        let removed = std::thread::scope(|scope| {
            let janitor = scope.spawn(|| {
                let mut removed = 0;
                while !over.load(Ordering::SeqCst) {
                    let ran = secateur.run(&["prune", "--format", "json"]);
                    assert!(ran.code == 0 || ran.code == 75, "{ran:?}");
                    removed += ids(&ran.json(), "removed").len();
                }
                removed
            });
            for n in 0..5 {
                // A new image in the place of the last one, and one without any name.
                let dockerfile = format!("FROM base:v1\nENV N={n}\nCOPY Dockerfile /\n");
                let build = engine.buildx(&["--tag=app:v1"], &dockerfile);
                ends_well(&engine, build, "app:v1");
                engine.built(&[], &format!("{dockerfile}COPY Dockerfile /again\n"));
            }
            over.store(true, Ordering::SeqCst);
            janitor.join().expect("the janitor")
        });
        println!("{}: removed {removed} beside builds", kind.name());
        // What it could not take beside them goes now.
        wait_until("only what has a name is left", || {
            prune_at_rest(&secateur);
            (engine.images().len() == 2).then_some(())
        });
        assert_eq!(engine.damage("app:v1"), None, "{}", kind.name());
        assert_eq!(engine.damage("base:v1"), None, "{}", kind.name());
    }
}

/// Prunes until this image is gone; these are still here then.
#[track_caller]
fn goes(engine: &Engine, secateur: &Secateur, image: &str, stays: &[&str]) {
    wait_until("the image is old enough and goes", || {
        prune_at_rest(secateur);
        (!engine.has(image)).then_some(())
    });
    for stays in stays {
        assert!(engine.has(stays), "{}: {stays}", engine.kind().name());
    }
}

/// The id of a build by this name, which has this word in it.
fn build(engine: &Engine, name: &str, word: &str) -> String {
    let dockerfile = format!(
        "FROM base:v1 AS stage\nCOPY Dockerfile /{word}\nFROM base:v1\nCOPY --from=stage /{word} /\n"
    );
    engine.built(&["--tag", name], &dockerfile);
    engine.id(name)
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_rebuild_leaves_a_rollback_on_overlay2_and_nothing_on_the_containerd_store() {
    for kind in KINDS {
        let engine = Engine::start(kind);
        let secateur = Secateur::at(&engine.host(), &keeping("previous = 1"));
        engine.runnable("base:v1");
        let class = |plan: &Value, id: &str| image(plan, id)["class"].clone();

        let first = build(&engine, "app:v1", "first");
        // Its stages are no images.
        assert_eq!(engine.images().len(), 2, "{}", kind.name());
        prune_at_rest(&secateur);
        let second = build(&engine, "app:v1", "second");
        if kind.containerd() {
            assert_eq!(dangling(&engine), NOTHING);
            assert!(!engine.has(&first) && engine.has(&second));
        } else {
            assert_eq!(dangling(&engine), [&*first]);
            let plan = secateur.plan();
            assert_eq!(class(&plan, &first), "untagged");
            assert_eq!(reasons(&plan, &first)[0], "previous", "{plan:#}");
            prune_at_rest(&secateur);
            let third = build(&engine, "app:v1", "third");
            goes(&engine, &secateur, &first, &[&second, &third]);
        }

        // A build without a name is there once, on both.
        engine.built(&["--no-cache"], "FROM base:v1\nCOPY Dockerfile /nameless\n");
        let kept = if kind.containerd() {
            NOTHING.to_vec()
        } else {
            vec![second]
        };
        let nameless: Vec<String> = dangling(&engine);
        let nameless: Vec<&String> = nameless.iter().filter(|id| !kept.contains(id)).collect();
        let [nameless] = nameless[..] else {
            panic!("{}: {nameless:?}", kind.name())
        };
        assert_eq!(class(&secateur.plan(), nameless), "untagged");
        let stays: Vec<&str> = kept.iter().map(|id| &**id).collect();
        goes(&engine, &secateur, nameless, &stays);
        // It was no build's base: what was built of it is in the cache.
        build(&engine, "app:v2", "second");
    }
}

/// Whether the plan says that builds leave no rollback here.
#[track_caller]
fn warned(secateur: &Secateur) -> bool {
    let notes = secateur.plan()["notes"].to_string();
    notes.contains("keep.previous has no rollback of what is built here")
}

/// Creates a container of this image as a rollback does that must not fetch anything.
#[track_caller]
fn runs(engine: &Engine, name: &str, id: &str) {
    let container = engine.create_container(name, &["/bin/busybox", "true"], &json!({}));
    let made = engine.get(&format!("/containers/{container}/json"));
    assert_eq!(made["Image"], id, "{name}");
    engine.container(&container, "start");
    engine.wait_container(&container, "exited");
    engine.remove_container(&container);
    assert_eq!(engine.damage(name), None, "{name}");
}

/// What the page says of builds: with a second tag, and by digest.
fn advice() -> [String; 2] {
    let blocks = page::of("deploy-lock.md", "Builds on this host", "sh");
    let blocks: Vec<String> = blocks.into_iter().map(|block| block.text).collect();
    blocks.try_into().expect("two blocks")
}

fn dockerfile(word: &str) -> String {
    format!("FROM base:v1\nCOPY Dockerfile /{word}\n")
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn where_a_build_leaves_no_rollback_a_second_tag_before_it_is_one() {
    let [second_tag, _] = advice();
    for kind in KINDS {
        let engine = Engine::start(kind);
        let secateur = Secateur::at(&engine.host(), &keeping("previous = 1"));
        engine.runnable("base:v1");
        assert!(!warned(&secateur), "{}: nothing was built", kind.name());
        engine.types(&second_tag, &dockerfile("first"));
        assert_eq!(warned(&secateur), kind.containerd(), "{}", kind.name());
        secateur.policy(&keeping("previous = 0"));
        assert!(!warned(&secateur), "{}: none is wanted", kind.name());
        secateur.policy(&keeping("previous = 1"));

        let mut before = engine.id("shop:latest");
        for word in ["second", "third"] {
            prune_at_rest(&secateur);
            secateur.until_old();
            engine.types(&second_tag, &dockerfile(word));
            prune_at_rest(&secateur);
            secateur.until_old();
            prune_at_rest(&secateur);
            runs(&engine, "shop:before", &before);
            let now = engine.id("shop:latest");
            assert_ne!(now, before);
            before = now;
        }
        let rollback = engine.id("shop:before");
        let (way, text) = (
            "docker tag shop:before shop:latest",
            page::text("deploy-lock.md"),
        );
        assert!(text.contains(&format!("`{way}`")), "{text}");
        engine.types(way, "");
        prune_at_rest(&secateur);
        runs(&engine, "shop:latest", &rollback);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn builds_that_are_pushed_and_deployed_by_digest_are_rolled_back_without_a_fetch() {
    let [_, by_digest] = advice();
    let (push, pull) = by_digest.split_once('\n').expect("two lines");
    let registry = Registry::start();
    let engine = Engine::start(Kind::Containerd28);
    let secateur = Secateur::at(&engine.host(), &keeping("previous = 1"));
    engine.log_in(&registry, registry.address());
    engine.runnable("base:v1");
    let mut deployed: Vec<(String, String)> = Vec::new();
    for word in ["first", "second", "third"] {
        let push = push.replace("registry.example", registry.address());
        engine.types(&push, &dockerfile(word));
        let pinned = format!(
            "{}/shop@{}",
            registry.address(),
            registry.digest("shop:latest")
        );
        engine.types(
            &pull.replace("registry.example/shop@sha256:DIGEST", &pinned),
            "",
        );
        let id = engine.id(&pinned);
        runs(&engine, &pinned, &id);
        deployed.push((pinned, id));
        prune_at_rest(&secateur);
        secateur.until_old();
        prune_at_rest(&secateur);
    }
    let asked = registry.requests().len();
    for (pinned, id) in &deployed {
        runs(&engine, pinned, id);
    }
    assert_eq!(registry.requests().len(), asked, "something was fetched");
}
