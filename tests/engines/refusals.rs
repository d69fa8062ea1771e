//! What a run refuses beside: deploy locks, pulls, another run; on live engines.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use crate::lab::image::{Archive, tar};
use crate::lab::{Engine, Kind, Pull, Registry, SlowLine, wait_until};
use crate::support::scene::{Deploy, Running, due, due_behind_a_proxy, left_names, tags, untagged};
use crate::support::{EAGER, NOTHING, Secateur, dangling, ids, refusals, with_lock};
use serde_json::Value;

const MIB: usize = 1 << 20;

/// A prune that must be refused for just this reason, before any removal.
#[track_caller]
fn refused(secateur: &Secateur, code: i32, kind: &str) -> Value {
    let outcome = secateur.prune(code);
    assert_eq!(outcome["result"], "refused", "{outcome:#}");
    only(&outcome, kind);
    assert_eq!(ids(&outcome, "removed"), NOTHING);
    outcome
}

/// Fails unless all refusals are of this kind, and each for a thing of its own:
/// a pull may have a file for each layer.
#[track_caller]
fn only(document: &Value, kind: &str) {
    let kinds = refusals(document);
    assert!(!kinds.is_empty(), "{document:#}");
    assert!(kinds.iter().all(|other| other == kind), "{document:#}");
    let list = document["refusals"].as_array().expect("refusals");
    let things: BTreeSet<String> = list.iter().map(|one| one["path"].to_string()).collect();
    assert_eq!(things.len(), list.len(), "one is told twice: {document:#}");
}

/// The message of the first refusal.
#[track_caller]
fn message(outcome: &Value) -> &str {
    outcome["refusals"][0]["message"]
        .as_str()
        .expect("a message")
}

fn deploy_locks(kind: Kind) {
    let engine = Engine::start(kind);
    let secateur = Secateur::on(&engine);
    let lock = secateur.dir().join("deploy.lock");
    let (olds, new) = untagged(&engine, 1);
    let old = &olds[0];

    // Where the policy wants none, both say that nothing guards a deploy.
    let without = format!("{EAGER}\n[guard]\nlock = []\n");
    secateur.policy(&without);
    let unguarded = "names no deploy lock (guard.lock): deploys are not guarded";
    let notes = |document: &Value| document["notes"].to_string();
    assert!(notes(&secateur.plan()).contains(unguarded), "{unguarded}");
    let shown = secateur.run(&["plan"]).ended(0).stdout;
    let line = format!("\nnote    the policy {unguarded}\n");
    assert!(shown.contains(&line), "{shown}");

    // Of kind exists, and there from the very first run on.
    secateur.policy(&with_lock(&lock, "exists"));
    fs::write(&lock, "").expect("the lock");
    let outcome = refused(&secateur, 75, "deploy-lock");
    assert!(message(&outcome).contains("deploy.lock"), "{outcome:#}");
    assert!(!notes(&outcome).contains(unguarded), "{outcome:#}");
    // What a refused run saw counts: the image grows old meanwhile.
    assert!(secateur.remembers(old), "{}", kind.name());
    wait_until("a removal is planned", || {
        let plan = secateur.plan();
        only(&plan, "deploy-lock");
        (plan["summary"]["remove"] == 1).then_some(())
    });
    refused(&secateur, 75, "deploy-lock");

    // Of kind flock, and held.
    secateur.policy(&with_lock(&lock, "flock"));
    let file = File::open(&lock).expect("the lock");
    file.try_lock().expect("nobody holds it");
    refused(&secateur, 75, "deploy-lock");
    file.unlock().expect("unlock");
    file.try_lock_shared().expect("nobody holds it");
    refused(&secateur, 75, "deploy-lock");
    assert!(engine.has(old), "{}", kind.name());

    // There, as its deploy left it, and held by nobody.
    file.unlock().expect("unlock");
    let outcome = secateur.prune(0);
    assert_eq!(ids(&outcome, "removed"), olds, "{outcome:#}");
    assert!(!engine.has(old) && engine.has(&new), "{}", kind.name());
    assert!(lock.exists(), "it is not ours to remove");
    file.try_lock().expect("the run has let it go");

    secateur.policy(&without);
    let outcome = secateur.prune(0);
    assert!(notes(&outcome).contains(unguarded), "{outcome:#}");
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_held_deploy_lock_refuses_and_one_that_nobody_holds_does_not() {
    for kind in Kind::MAIN {
        deploy_locks(kind);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_deploy_lock_that_is_held_for_too_long_wants_a_person() {
    let (engine, secateur, (olds, _)) = due(Kind::Overlay28, 1);
    let lock = secateur.dir().join("deploy.lock");

    // The path itself tells since when, if it is a lock by being there.
    secateur.policy(&with_lock(&lock, "exists"));
    let file = File::create(&lock).expect("the lock");
    refused(&secateur, 75, "deploy-lock");
    let hours = |n: u64| SystemTime::now() - Duration::from_secs(n * 3600);
    file.set_modified(hours(5)).expect("its date");
    refused(&secateur, 75, "deploy-lock");
    file.set_modified(hours(7)).expect("its date");
    let outcome = refused(&secateur, 65, "deploy-lock");
    assert!(
        message(&outcome).contains("guard.alert_after"),
        "{outcome:#}"
    );

    // Whose lock it is since when, only our own memory tells: that file is old.
    let lock = secateur.dir().join("flock.lock");
    let file = File::create(&lock).expect("the lock");
    file.set_modified(hours(7)).expect("its date");
    let impatient = with_lock(&lock, "flock").replace(
        "[[guard.lock]]",
        "[guard]\nalert_after = \"1s\"\n[[guard.lock]]",
    );
    secateur.policy(&impatient);
    let deploy = File::open(&lock).expect("the lock");
    deploy.try_lock().expect("nobody holds it");
    refused(&secateur, 75, "deploy-lock");
    wait_until("it has been seen held for longer than a second", || {
        let ran = secateur.run(&["prune", "--format", "json"]);
        assert!(ran.code == 75 || ran.code == 65, "{ran:?}");
        (ran.code == 65).then_some(())
    });
    assert!(engine.has(&olds[0]));
    // Let go, seen free by a run, and taken anew: that is another deploy.
    deploy.unlock().expect("unlock");
    assert_eq!(ids(&secateur.prune(0), "removed"), olds);
    deploy.try_lock().expect("nobody holds it");
    refused(&secateur, 75, "deploy-lock");
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_deploy_that_waits_gets_the_lock_while_a_removal_hangs() {
    for kind in Kind::MAIN {
        let (engine, proxy, secateur, (olds, _)) = due_behind_a_proxy(kind, 3);
        let lock = secateur.dir().join("deploy.lock");
        fs::write(&lock, "").expect("the lock");
        secateur.policy(&with_lock(&lock, "flock"));

        let gate = proxy.stop("DELETE", "/images/", 1);
        let mut run = secateur.start_prune();
        gate.reached();
        // Only to see that the run holds it, at least at first.
        let deploy = Deploy::start(&lock, &[]);
        deploy.gets_the_lock();
        assert!(!run.is_done(), "{}", kind.name());
        gate.let_through();
        let outcome = run.ended(75).json();
        assert_eq!(outcome["result"], "stopped", "{outcome:#}");
        only(&outcome, "deploy-lock");
        assert_eq!(ids(&outcome, "removed"), olds[..1], "{}", kind.name());
        assert!(engine.has(&olds[1]) && engine.has(&olds[2]));
        assert_eq!(secateur.open_intents(), NOTHING);

        deploy.end();
        let outcome = secateur.prune(0);
        assert_eq!(ids(&outcome, "removed"), olds[1..], "{}", kind.name());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_deploy_that_waits_gets_the_lock_while_the_engine_does_not_answer() {
    for kind in Kind::MAIN {
        for naming in [false, true] {
            let (engine, proxy, secateur, (olds, _)) = due_behind_a_proxy(kind, 2);
            let lock = secateur.dir().join("deploy.lock");
            fs::write(&lock, "").expect("the lock");
            secateur.policy(&with_lock(&lock, "flock"));
            // The look at an image before its removal, or giving it a name.
            let inspect = format!("/images/{}/json", olds[0]);
            let gate = if naming {
                proxy.stop("POST", "/tag", 1)
            } else {
                proxy.stop("GET", &inspect, 2)
            };
            let mut run = secateur.start_prune();
            gate.reached();
            let deploy = Deploy::start(&lock, &[]);
            deploy.gets_the_lock();
            assert!(!run.is_done(), "{}: {naming}", kind.name());
            gate.let_through();
            let outcome = run.ended(75).json();
            only(&outcome, "deploy-lock");
            assert_eq!(ids(&outcome, "removed"), NOTHING);
            assert!(engine.has(&olds[0]), "{}: {naming}", kind.name());
            assert_eq!(secateur.open_intents(), NOTHING);

            deploy.end();
            wait_until("both are removed", || {
                secateur.prune(0);
                (!engine.has(&olds[0]) && !engine.has(&olds[1])).then_some(())
            });
            assert_eq!(left_names(&engine), NOTHING);
        }
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_deploy_that_waits_gets_the_lock_in_the_middle_of_a_long_run() {
    let (engine, proxy, secateur, (olds, _)) = due_behind_a_proxy(Kind::Overlay28, 40);
    let lock = secateur.dir().join("deploy.lock");
    fs::write(&lock, "").expect("the lock");
    secateur.policy(&with_lock(&lock, "flock"));
    proxy.slow_removals(Duration::from_millis(100));

    let gate = proxy.stop("DELETE", "/images/", 1);
    let run = secateur.start_prune();
    gate.reached();
    let held = File::open(&lock).expect("the lock");
    held.try_lock_shared()
        .expect_err("the run holds the lock while it removes");
    let deploy = Deploy::start(&lock, &[]);
    deploy.waits();
    gate.let_through();
    let outcome = run.ended(75).json();
    assert!(deploy.has_the_lock());
    assert_eq!(outcome["result"], "stopped", "{outcome:#}");
    only(&outcome, "deploy-lock");
    let removed = ids(&outcome, "removed");
    assert!(!removed.is_empty() && removed.len() < olds.len());
    assert_eq!(removed, olds[..removed.len()]);
    assert_eq!(secateur.open_intents(), NOTHING);
    assert_eq!(left_names(&engine), NOTHING);
    deploy.end();
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn deploys_that_take_the_lock_for_milliseconds_end_no_run_and_go_on_beside_it() {
    let (_engine, secateur, (olds, _)) = due(Kind::Overlay28, 40);
    let lock = secateur.dir().join("deploy.lock");
    fs::write(&lock, "").expect("the lock");
    secateur.policy(&with_lock(&lock, "flock"));
    let over = AtomicBool::new(false);
    let (deploys, outcome) = std::thread::scope(|scope| {
        let deployer = scope.spawn(|| {
            let file = File::open(&lock).expect("the lock");
            let mut deploys = 0;
            while !over.load(Ordering::SeqCst) {
                file.lock_shared().expect("the lock");
                std::thread::sleep(Duration::from_millis(4)); // a short deploy
                file.unlock().expect("the lock");
                deploys += 1;
                std::thread::sleep(Duration::from_millis(2)); // and the next
            }
            deploys
        });
        let outcome = secateur.prune(0);
        over.store(true, Ordering::SeqCst);
        (deployer.join().expect("the deployer"), outcome)
    });
    assert_eq!(ids(&outcome, "removed"), olds, "{outcome:#}");
    assert!(deploys > 2, "nobody deployed");
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_deploy_lock_that_comes_or_is_made_anew_in_the_middle_of_a_run_stops_it() {
    // The last: whoever makes the file anew locks another file than the run.
    for (kind, there) in [("exists", false), ("flock", false), ("flock", true)] {
        let (engine, proxy, secateur, (olds, _)) = due_behind_a_proxy(Kind::Overlay28, 3);
        let lock = secateur.dir().join("deploy.lock");
        secateur.policy(&with_lock(&lock, kind));
        if there {
            fs::write(&lock, "").expect("the lock");
        }
        let gate = proxy.stop("DELETE", "/images/", 1);
        let run = secateur.start_prune();
        gate.reached();
        if there {
            fs::remove_file(&lock).expect("the lock");
        }
        // Held: a run whose engine is slow lets its locks go, and takes this file.
        let new = File::create(&lock).expect("the lock");
        new.lock().expect("nobody has it");
        gate.let_through();
        let outcome = run.ended(75).json();
        drop(new);
        assert_eq!(outcome["result"], "stopped", "{outcome:#}");
        only(&outcome, "deploy-lock");
        assert_eq!(ids(&outcome, "removed"), olds[..1], "{kind}");
        assert!(engine.has(&olds[1]) && engine.has(&olds[2]));
        assert_eq!(secateur.open_intents(), NOTHING);
    }
}

/// The files of layers that are being downloaded.
fn downloads(engine: &Engine) -> Vec<PathBuf> {
    let (folder, prefix) = if engine.kind().containerd() {
        (
            "containerd/daemon/io.containerd.content.v1.content/ingest",
            "",
        )
    } else {
        ("tmp", "GetImageBlob")
    };
    entries(&engine.data_root().join(folder), prefix)
}

fn entries(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let listing = fs::read_dir(folder).into_iter().flatten().flatten();
    listing
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().expect("a name");
            name.to_string_lossy().starts_with(prefix)
        })
        .collect()
}

/// A pull that has begun, and goes on slowly.
fn slow_pull(registry: &Registry, engine: &Engine) -> (SlowLine, Pull) {
    registry.put("big:v1", &Archive::new().noise(16 * MIB));
    // So slow that it goes on until it is opened.
    let line = registry.slow_line(50_000);
    let auth = registry.auth_header_for(line.address());
    let pull = engine.pull_in_background(&line.name("big:v1"), Some(&auth));
    // Manifests come first, and between them and the layer there is no file.
    wait_until("the layer is being downloaded", || {
        downloads(engine).into_iter().find(|path| {
            let data = if engine.kind().containerd() {
                path.join("data")
            } else {
                path.clone()
            };
            fs::metadata(data).is_ok_and(|meta| meta.len() >= 10_000)
        })
    });
    (line, pull)
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn nothing_is_removed_beside_a_pull_and_the_pull_ends_well() {
    let registry = Registry::start();
    for kind in Kind::MAIN {
        let (engine, secateur, (olds, _)) = due(kind, 1);

        let (line, pull) = slow_pull(&registry, &engine);
        let outcome = refused(&secateur, 75, "pull");
        assert!(!pull.is_done(), "{}", kind.name());
        // Beside it may be what the engine has just written and closed.
        let said = outcome["refusals"].to_string();
        assert!(said.contains("open in pid"), "{}: {said}", kind.name());
        assert!(engine.has(&olds[0]), "{}", kind.name());
        only(&secateur.plan(), "pull");

        line.open();
        pull.done()
            .unwrap_or_else(|error| panic!("{}: {error}", kind.name()));
        assert!(engine.has(&line.name("big:v1")), "{}", kind.name());
        let outcome = secateur.prune(0);
        assert_eq!(
            ids(&outcome, "removed"),
            olds,
            "{}: {outcome:#}",
            kind.name()
        );
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_pull_that_begins_in_the_middle_of_a_run_stops_it() {
    let registry = Registry::start();
    for kind in Kind::MAIN {
        let (engine, proxy, secateur, (olds, _)) = due_behind_a_proxy(kind, 3);
        let gate = proxy.stop("DELETE", "/images/", 1);
        let run = secateur.start_prune();
        gate.reached();
        let (line, pull) = slow_pull(&registry, &engine);
        gate.let_through();
        let outcome = run.ended(75).json();
        assert_eq!(outcome["result"], "stopped", "{outcome:#}");
        only(&outcome, "pull");
        assert_eq!(ids(&outcome, "removed"), olds[..1], "{}", kind.name());
        line.open();
        pull.done()
            .unwrap_or_else(|error| panic!("{}: {error}", kind.name()));
    }
}

/// A classic build, until it waits in its last command for the file
/// /go; the container that it runs in.
fn waiting_build(engine: &Engine, name: &str) -> (Pull, String) {
    let dockerfile = format!(
        "FROM base:v1 AS stage\nCOPY Dockerfile /staged\nFROM base:v1\nENV NAME={name}\n\
        RUN [\"/bin/busybox\", \"sh\", \"-c\", \"until [ -e /go ]; do sleep 0.1; done\"]\n\
        COPY --from=stage /staged /copied\n"
    );
    let build = engine.build_in_background(name, &dockerfile);
    let container = wait_until("the build runs its command", || {
        let running = engine.get("/containers/json");
        Some(running[0]["Id"].as_str()?.to_owned())
    });
    (build, container)
}

fn classic_build(kind: Kind) {
    let mut engine = Engine::start(kind);
    let secateur = Secateur::on(&engine);
    engine.runnable("base:v1");
    let (olds, _) = untagged(&engine, 1);
    secateur.remember();

    let (build, container) = waiting_build(&engine, "built:v1");
    let stages = dangling(&engine);
    assert!(stages.len() > 1, "{}: {stages:?}", kind.name());
    let outcome = refused(&secateur, 75, "build");
    assert!(
        message(&outcome).contains("tmp/docker-builder"),
        "{outcome:#}"
    );
    only(&secateur.plan(), "build");
    // However many runs see its stages grow old.
    let policy = EAGER.replace("\"1s\"", "\"1ms\"");
    secateur.policy(&policy);
    refused(&secateur, 75, "build");
    assert!(stages.iter().all(|stage| engine.has(stage)));

    let path = format!("/containers/{container}/archive?path=/");
    let go = engine.try_api("PUT", &path, &[], &tar(&[("go", b"")]));
    go.expect("PUT").ok("the file that it waits for");
    let said = build
        .done()
        .unwrap_or_else(|error| panic!("{}: {error}", kind.name()));
    assert!(engine.has("built:v1"), "{}: {said:?}", kind.name());
    let outcome = secateur.prune(0);
    assert!(ids(&outcome, "removed").contains(&olds[0]), "{outcome:#}");

    // What a build leaves whose engine is killed goes at the engine's next start.
    let (build, _) = waiting_build(&engine, "built:v2");
    let contexts = |engine: &Engine| entries(&engine.data_root().join("tmp"), "docker-build");
    assert_eq!(contexts(&engine).len(), 1, "{}", kind.name());
    engine.kill();
    drop(build);
    assert_eq!(contexts(&engine).len(), 1, "{}", kind.name());
    engine.restart();
    assert_eq!(contexts(&engine), [] as [PathBuf; 0], "{}", kind.name());
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn nothing_is_removed_beside_a_classic_build_and_the_build_ends_well() {
    std::thread::scope(|scope| {
        for kind in Kind::MAIN {
            scope.spawn(move || classic_build(kind));
        }
    });
}

/// What a pull leaves when its engine is killed, and what of that is still
/// there once the engine has started again.
fn killed_pull(registry: &Registry, kind: Kind) {
    let (mut engine, secateur, (olds, _)) = due(kind, 1);

    let (line, pull) = slow_pull(registry, &engine);
    refused(&secateur, 75, "pull");
    engine.kill();
    drop(pull);
    drop(line);
    let left = downloads(&engine);
    assert!(!left.is_empty(), "{}", kind.name());
    engine.restart();

    let left = if kind.containerd() {
        assert_eq!(downloads(&engine), left, "{}", kind.name());
        left.into_iter().next().expect("one")
    } else {
        // The engine clears its downloads at its start. What a killed
        // extraction leaves, it never clears; that cannot be timed.
        assert_eq!(downloads(&engine), [] as [PathBuf; 0], "{}", kind.name());
        let layers = engine.data_root().join("image/overlay2/layerdb/tmp");
        let left = layers.join("write-set-123456789");
        fs::create_dir(&left).expect("a left-over");
        fs::write(left.join("diff"), "sha256:").expect("a left-over");
        left
    };
    let left = left.display().to_string();

    // It has just changed, so it may be a pull between two opened files ...
    let outcome = refused(&secateur, 75, "pull");
    assert!(message(&outcome).contains(&left), "{outcome:#}");
    // ... and a minute later, with the engine up and not having it open, not.
    let outcome = wait_until("the sign is stale", || {
        let ran = secateur.run(&["prune", "--format", "json"]);
        assert!(ran.code == 75 || ran.code == 0, "{ran:?}");
        (ran.code == 0).then(|| ran.json())
    });
    assert_eq!(
        ids(&outcome, "removed"),
        olds,
        "{}: {outcome:#}",
        kind.name()
    );
    let notes = outcome["notes"].to_string();
    assert!(notes.contains(&left), "{}: {notes}", kind.name());
    assert!(
        notes.contains("holds nothing up"),
        "{}: {notes}",
        kind.name()
    );
    assert!(Path::new(&left).exists(), "it is not ours to remove");
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_a_killed_pull_leaves_is_named_and_does_not_block_for_ever() {
    let registry = Registry::start();
    std::thread::scope(|scope| {
        // Side by side: each waits for more than a minute.
        for kind in Kind::MAIN {
            let registry = &registry;
            scope.spawn(move || killed_pull(registry, kind));
        }
    });
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_second_run_is_turned_away_and_the_first_ends_as_if_alone() {
    for kind in Kind::MAIN {
        let (engine, proxy, secateur, (olds, new)) = due_behind_a_proxy(kind, 2);
        let gate = proxy.stop("DELETE", "/images/", 1);
        let first = secateur.start_prune();
        gate.reached();
        let asked = proxy.seen().len();

        let outcome = refused(&secateur, 75, "other-run");
        assert!(message(&outcome).contains("pid "), "{outcome:#}");
        assert_eq!(proxy.seen().len(), asked, "the engine was not asked");
        // To look is no run.
        secateur.plan();

        gate.let_through();
        let outcome = first.ended(0).json();
        assert_eq!(ids(&outcome, "removed"), olds, "{}", kind.name());
        assert!(engine.has(&new));
        assert_eq!(tags(&engine, &new).len(), 1);
        assert_eq!(secateur.open_intents(), NOTHING);
        secateur.left_nothing_over();
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn of_fifty_runs_at_once_one_works() {
    let (_engine, proxy, secateur, (olds, _)) = due_behind_a_proxy(Kind::Overlay28, 2);
    // Whoever is first is stopped at its first question, until all others ended.
    let gate = proxy.stop("GET", "/info", 1);
    let mut runs: Vec<Running> = (0..50).map(|_| secateur.start_prune()).collect();
    gate.reached();
    wait_until("all but one have ended", || {
        let going: Vec<usize> = (0..runs.len()).filter(|&n| !runs[n].is_done()).collect();
        (going.len() == 1).then_some(())
    });
    gate.let_through();
    let mut worked = 0;
    for run in runs {
        let ran = run.done();
        let outcome = ran.json();
        if ran.code == 0 {
            worked += 1;
            assert_eq!(ids(&outcome, "removed"), olds, "{outcome:#}");
        } else {
            assert_eq!(ran.code, 75, "{ran:?}");
            assert_eq!(refusals(&outcome), ["other-run"], "{outcome:#}");
        }
    }
    assert_eq!(worked, 1);
    assert_eq!(secateur.open_intents(), NOTHING);
    secateur.left_nothing_over();
}
