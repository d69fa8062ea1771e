//! What a run does when the engine is not there, goes away, or may not be
//! looked at; and when the run itself is ended. On live engines.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use crate::lab::image::Archive;
use crate::lab::{Engine, Kind, wait_until};
use crate::support::proxy::Proxy;
use crate::support::scene::{Running, due, due_behind_a_proxy, left_names, tags};
use crate::support::{EAGER, NOTHING, PROGRAM, Ran, Secateur, ids, image, refusals};

/// Prunes until all of these are gone; the run that takes the last of them must
/// leave everything in order.
#[track_caller]
fn converges(engine: &Engine, secateur: &Secateur, rest: &[String]) {
    wait_until("the rest is removed", || {
        let outcome = secateur.prune(0);
        assert_eq!(ids(&outcome, "failed"), NOTHING, "{outcome:#}");
        rest.iter().all(|id| !engine.has(id)).then_some(())
    });
    assert_eq!(left_names(engine), NOTHING);
    assert_eq!(secateur.open_intents(), NOTHING);
    secateur.left_nothing_over();
}

#[test]
fn without_an_engine_both_commands_end_with_69_and_name_the_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing.sock");
    let silent = folder.path().join("silent.sock");
    drop(UnixListener::bind(&silent).expect("a socket"));
    assert!(silent.exists(), "a socket that nobody listens on");
    for socket in [missing, silent] {
        let secateur = Secateur::at(&format!("unix://{}", socket.display()), EAGER);
        for command in ["plan", "prune"] {
            let ran = secateur.run(&[command]).ended(69);
            assert!(ran.stderr.contains(&*socket.to_string_lossy()), "{ran:?}");
            assert_eq!(ran.stdout, "");
        }
    }
}

#[test]
fn an_engine_on_another_host_is_refused_with_what_named_it() {
    let secateur = Secateur::at("tcp://127.0.0.1:2375", EAGER);
    for command in ["plan", "prune"] {
        let ran = secateur.run(&[command]).ended(2);
        for part in ["--host is tcp://127.0.0.1:2375", "local socket", "unix://"] {
            assert!(ran.stderr.contains(part), "{ran:?}");
        }
    }
    // $DOCKER_HOST, as docker itself reads it.
    let mut command = Command::new(&*PROGRAM);
    command
        .args(["plan", "--policy"])
        .arg(secateur.policy_path())
        .arg("--state-dir")
        .arg(secateur.state())
        .env("DOCKER_HOST", "ssh://deploy@host");
    let ran = Running::of(&mut command).ended(2);
    assert!(
        ran.stderr.contains("DOCKER_HOST is ssh://deploy@host"),
        "{ran:?}"
    );
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_engine_that_hangs_up_ends_the_run_before_anything_is_removed() {
    let (engine, proxy, secateur, (olds, _)) = due_behind_a_proxy(Kind::Overlay28, 1);
    for question in ["/info", "/images/json", "/containers/json", "/events"] {
        let gate = proxy.stop("GET", question, 1);
        let run = secateur.start_prune();
        gate.reached();
        drop(gate);
        let ran = run.ended(69);
        assert!(ran.stderr.contains("error: "), "{question}: {ran:?}");
    }
    assert_eq!(proxy.count("DELETE") + proxy.count("POST"), 0);
    assert!(engine.has(&olds[0]));
    converges(&engine, &secateur, &olds);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_engine_that_stops_in_the_middle_ends_the_run_with_what_was_done() {
    for kind in Kind::MAIN {
        let (mut engine, proxy, secateur, (olds, new)) = due_behind_a_proxy(kind, 4);
        let gate = proxy.stop("DELETE", "/images/", 2);
        let run = secateur.start_prune();
        gate.reached();
        engine.kill();
        gate.let_through();
        let outcome = run.ended(69).json();
        assert_eq!(outcome["result"], "stopped", "{outcome:#}");
        assert_eq!(ids(&outcome, "removed"), olds[..1], "{}", kind.name());
        let why = outcome["ended_because"].as_str().expect("why it ended");
        assert!(why.contains("the engine went away"), "{why}");
        assert_eq!(secateur.results(&olds[0]), ["removed"]);
        // What became of those that were under way cannot be told: one, or two on an engine
        // that was quick at the first. The others were not tried.
        let open = secateur.open_intents();
        let under_way = (1..=2).any(|count| open == olds[1..=count]);
        assert!(under_way, "{}: {open:?} of {olds:?}", kind.name());
        secateur.left_nothing_over();

        engine.restart();
        assert!(!engine.has(&olds[0]), "{}", kind.name());
        converges(&engine, &secateur, &olds);
        assert!(engine.has(&new), "{}", kind.name());
        assert_eq!(tags(&engine, &new), ["app:latest"]);
    }
}

/// The same host for a user without rights: a copy of the program that every
/// user can start, and a state folder that is the user's own.
fn as_nobody(secateur: &Secateur, args: &[&str]) -> Ran {
    const NOBODY: u32 = 65534;
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(secateur.dir(), mode).expect("the folder's mode");
    let program = secateur.dir().join("secateur");
    if !program.exists() {
        fs::copy(&*PROGRAM, &program).expect("the program");
    }
    let state = secateur.state();
    fs::create_dir_all(&state).expect("a state folder");
    give(&state, NOBODY);
    let usual = secateur.command(args);
    let user = format!("--reuid={NOBODY}");
    let group = format!("--regid={NOBODY}");
    let mut command = Command::new("setpriv");
    command
        .args([&*user, &*group, "--clear-groups"])
        .arg(program)
        .args(usual.get_args())
        .env_clear();
    Running::of(&mut command).done()
}

/// Hands a folder and what is in it to a user.
fn give(folder: &Path, user: u32) {
    let listing = fs::read_dir(folder).expect("the folder").flatten();
    for path in listing.map(|entry| entry.path()).chain([folder.into()]) {
        chown(path, Some(user), Some(user)).expect("its owner");
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_data_root_that_cannot_be_read_refuses_and_names_the_permission() {
    for kind in Kind::MAIN {
        let (engine, secateur, (olds, new)) = due(kind, 1);

        // The socket's own permission first.
        let ran = as_nobody(&secateur, &["prune"]).ended(77);
        assert!(ran.stderr.contains("docker.sock"), "{ran:?}");
        assert!(ran.stderr.contains("group that owns the socket"), "{ran:?}");

        // Then the socket is open to all, and the data root is not.
        let open = fs::Permissions::from_mode(0o666);
        fs::set_permissions(engine.socket(), open).expect("the socket's mode");
        let json = ["prune", "--format", "json"];
        let outcome = as_nobody(&secateur, &json).ended(75).json();
        assert_eq!(outcome["result"], "refused", "{outcome:#}");
        let kinds = refusals(&outcome);
        assert!(!kinds.is_empty(), "{}", kind.name());
        assert!(
            kinds.iter().all(|kind| kind == "signs-unreadable"),
            "{outcome:#}"
        );
        for refusal in outcome["refusals"].as_array().expect("refusals") {
            let message = refusal["message"].as_str().expect("a message");
            let root = engine.data_root().display().to_string();
            assert!(message.contains(&root), "{}: {message}", kind.name());
            let denied = message.contains("Permission denied");
            assert!(denied, "{}: {message}", kind.name());
            let way_out = refusal["way_out"].as_str().expect("a way out");
            for part in ["run as root", "CAP_DAC_READ_SEARCH", "best-effort"] {
                assert!(way_out.contains(part), "{}: {way_out}", kind.name());
            }
        }
        assert!(engine.has(&olds[0]), "{}", kind.name());

        // Asked to, it goes on with what can be read.
        secateur.policy(&format!("{EAGER}\n[guard]\npulls = \"best-effort\"\n"));
        let outcome = as_nobody(&secateur, &json).ended(0).json();
        assert_eq!(ids(&outcome, "removed"), olds, "{outcome:#}");
        assert!(engine.has(&new), "{}", kind.name());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_run_that_is_asked_to_end_finishes_its_removal_and_says_so() {
    for kind in Kind::MAIN {
        for signal in ["TERM", "INT"] {
            let (engine, proxy, secateur, (olds, _)) = due_behind_a_proxy(kind, 3);
            let gate = proxy.stop("DELETE", "/images/", 1);
            let mut run = secateur.start_prune();
            gate.reached();
            run.signal(signal);
            assert!(!run.is_done(), "it is in the middle of a removal");
            gate.let_through();
            let outcome = run.ended(75).json();
            assert_eq!(outcome["result"], "stopped", "{outcome:#}");
            assert_eq!(ids(&outcome, "removed"), olds[..1], "{}", kind.name());
            assert_eq!(
                outcome["ended_because"],
                "by a signal; the next run continues"
            );
            assert!(!engine.has(&olds[0]) && engine.has(&olds[1]));
            assert_eq!(secateur.open_intents(), NOTHING, "{}", kind.name());
            assert_eq!(left_names(&engine), NOTHING);
            secateur.left_nothing_over();
            converges(&engine, &secateur, &olds);
        }
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_run_that_is_asked_to_end_while_the_engine_hangs_ends_by_itself() {
    let (engine, proxy, secateur, (olds, _)) = due_behind_a_proxy(Kind::Overlay28, 2);
    // While it looks: nothing was begun.
    let gate = proxy.stop("GET", "/images/json", 1);
    let mut run = secateur.start_prune();
    gate.reached();
    run.signal("TERM");
    let outcome = run.ended(75).json();
    assert_eq!(outcome["result"], "stopped", "{outcome:#}");
    assert_eq!(secateur.open_intents(), NOTHING);
    drop(gate);
    // While it removes: what became of that image cannot be told.
    let gate = proxy.stop("DELETE", "/images/", 1);
    let mut run = secateur.start_prune();
    gate.reached();
    run.signal("TERM");
    let outcome = run.ended(69).json();
    assert_eq!(outcome["result"], "stopped", "{outcome:#}");
    let why = outcome["ended_because"].as_str().expect("why it ended");
    assert!(why.contains("asked to end"), "{why}");
    assert_eq!(ids(&outcome, "removed"), NOTHING);
    assert_eq!(ids(&outcome, "failed"), olds[..1]);
    assert_eq!(outcome["failed"][0]["unconfirmed"], true, "{outcome:#}");
    assert_eq!(secateur.open_intents(), olds[..1]);
    secateur.left_nothing_over();
    drop(gate);
    converges(&engine, &secateur, &olds);
}

/// A run that was killed while this request was at the gate. What hung there
/// never reaches the engine.
fn killed_at(secateur: &Secateur, proxy: &Proxy, method: &str, part: &str, number: usize) {
    let gate = proxy.stop(method, part, number);
    let mut run = secateur.start_prune();
    gate.reached();
    run.signal("KILL");
    assert_eq!(run.done().code, -1, "killed");
    drop(gate);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn after_a_killed_run_the_next_one_finds_out_and_goes_on() {
    for kind in Kind::MAIN {
        let (engine, proxy, secateur, (olds, new)) = due_behind_a_proxy(kind, 3);

        // Killed just before a removal: the image is still here, with the name
        // that was given to it for that.
        killed_at(&secateur, &proxy, "DELETE", "/images/", 1);
        assert_eq!(secateur.open_intents(), olds, "{}", kind.name());
        assert!(engine.has(&olds[0]), "{}", kind.name());
        assert_eq!(left_names(&engine).len(), 1, "{}", kind.name());
        // What was left is ours, and so no sign that anybody wants it.
        let plan = secateur.plan();
        assert_eq!(image(&plan, &olds[0])["verdict"], "remove", "{plan:#}");

        // Killed just after one: the image is gone, and nobody has said so.
        // The planning looks at it, then the removal, before and after.
        let part = format!("/images/{}/json", olds[0]);
        killed_at(&secateur, &proxy, "GET", &part, 3);
        assert!(!engine.has(&olds[0]), "{}", kind.name());
        assert_eq!(secateur.open_intents(), olds, "{}", kind.name());

        converges(&engine, &secateur, &olds);
        assert_eq!(secateur.results(&olds[0]), ["skipped", "removed"]);
        assert_eq!(
            secateur.results(&olds[1]),
            ["skipped", "skipped", "removed"]
        );
        assert!(engine.has(&new), "{}", kind.name());
        assert_eq!(tags(&engine, &new), ["app:latest"]);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_the_engine_goes_on_with_after_a_run_was_killed_is_told_by_the_next() {
    let (engine, proxy, secateur, (olds, _)) = due_behind_a_proxy(Kind::Overlay28, 1);
    let removal = proxy.stop("DELETE", "/images/", 1);
    let mut run = secateur.start_prune();
    removal.reached();
    run.signal("KILL");
    assert_eq!(run.done().code, -1, "killed");
    // The next run has listed the image, and then the engine is done with it.
    let part = format!("/images/{}/json", olds[0]);
    let look = proxy.stop("GET", &part, 1);
    let run = secateur.start_prune();
    look.reached();
    removal.let_through();
    wait_until("the image is removed", || {
        (!engine.has(&olds[0])).then_some(())
    });
    look.let_through();
    let outcome = run.ended(0).json();
    assert_eq!(ids(&outcome, "removed"), NOTHING, "not by this run");
    let results = secateur.results(&olds[0]);
    assert_eq!(results.last().map(String::as_str), Some("removed"));
    assert_eq!(secateur.open_intents(), NOTHING);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_name_that_a_killed_run_left_goes_and_an_image_tagged_since_stays() {
    for kind in Kind::MAIN {
        let (engine, proxy, secateur, (olds, _)) = due_behind_a_proxy(kind, 1);
        killed_at(&secateur, &proxy, "DELETE", "/images/", 1);
        assert_eq!(left_names(&engine).len(), 1, "{}", kind.name());
        engine.tag(&olds[0], "wanted:again");
        let outcome = secateur.prune(0);
        assert_eq!(outcome["result"], "nothing", "{outcome:#}");
        assert_eq!(tags(&engine, &olds[0]), ["wanted:again"], "{}", kind.name());
        assert_eq!(secateur.open_intents(), NOTHING);
        assert_eq!(secateur.results(&olds[0]), ["skipped"]);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_head_of_one_answer_tells_which_api_an_engine_speaks() {
    for kind in Kind::ALL {
        let engine = Engine::start(kind);
        let proxy = Proxy::before(&engine);
        let plan = Secateur::at(&proxy.host(), EAGER).plan();
        assert_eq!(plan["engine"]["version"], engine.version(), "{plan:#}");
        let api = engine.api_version();
        let list = format!("/v1.{}/images/json", api.min(55));
        let seen = proxy.seen();
        assert!(seen.iter().any(|line| line.contains(&list)), "{seen:?}");
        let versions = seen.iter().filter(|line| line.contains("/version"));
        // An engine that is later than is known is asked what it is.
        let asked = usize::from(api > 55);
        assert_eq!(versions.count(), asked, "{}: {seen:?}", kind.name());
        // The list is asked for before its store is known.
        if api >= 47 && !kind.containerd() {
            engine.load(&Archive::new().noise(64).tag("app:1"));
            let bare = "/images/json?all=1&shared-size=1";
            let with = engine.get(&format!("{bare}&manifests=1"));
            assert_eq!(engine.get(bare), with, "{}", kind.name());
        }
    }
}
