//! What is sent by a run that must change nothing: only GET and HEAD.

use std::fs;
use std::process::Stdio;

use secateur::guard::RefusalKind;
use serde_json::{Value, json};

use super::{Host, KIND};
use crate::fake::fault::Fault;
use crate::lab::wait_until;
use crate::support::{EAGER, refusals};

/// Brings about each refusal; gives what keeps it up, and the exit code.
fn bring_about(kind: &str, host: &Host) -> (Option<fs::File>, i32) {
    match kind {
        "deploy-lock" => {
            let lock = host.secateur.dir().join("deploy.lock");
            fs::write(&lock, "").expect("a lock");
            let lock = format!(
                "[[guard.lock]]\npath = \"{}\"\nkind = \"exists\"\n",
                lock.display()
            );
            host.secateur.policy(&format!("{EAGER}{lock}"));
            (None, 75)
        }
        "pull" => {
            let sign = host.fake.data_root().join("tmp/GetImageBlob123");
            (Some(fs::File::create(sign).expect("a sign")), 75)
        }
        "build" => {
            let building = json!({"BuildCache": [{"ID": "x", "InUse": true}]});
            host.fake.world(|world| world.build_cache = building);
            (None, 75)
        }
        "deploy" => {
            let state = json!("updating");
            host.fake
                .world(|world| world.services[0]["UpdateStatus"]["State"] = state);
            (None, 75)
        }
        "other-run" => {
            let lock = fs::File::create(host.secateur.state().join("run.lock")).expect("the lock");
            lock.lock().expect("it is free");
            (Some(lock), 75)
        }
        "clock" => {
            let path = host.secateur.ledger();
            let text = fs::read_to_string(&path).expect("the ledger");
            let mut ledger: Value = serde_json::from_str(&text).expect("JSON");
            ledger["clock"]["wall"] = json!("2998-01-01T00:00:00Z");
            // As somebody who writes it by hand.
            ledger.as_object_mut().expect("an object").remove("sum");
            fs::write(&path, ledger.to_string()).expect("the ledger");
            (None, 75)
        }
        "max-fraction" => {
            let policy = EAGER.replace("max_fraction = 1.0", "max_fraction = 0.1");
            host.secateur.policy(&policy);
            (None, 65)
        }
        "engine-inconsistent" => {
            host.fake
                .fault("GET", "/containers/json", Fault::Body(b"[]".to_vec()));
            (None, 69)
        }
        "signs-unreadable" => {
            fs::remove_dir(host.fake.data_root().join("image/overlay2")).expect("a folder");
            (None, 75)
        }
        other => panic!("nothing here brings about {other}"),
    }
}

#[test]
fn a_refused_prune_sends_nothing_that_changes_anything() {
    for kind in RefusalKind::of_prune().map(RefusalKind::name) {
        let host = Host::of(KIND);
        let (kept_up, code) = bring_about(kind, &host);
        // A plan says so, where it can: it takes no run lock.
        let ran = host.run(&["plan", "--format", "json"]);
        assert_eq!(ran.code, if code == 69 { 69 } else { 0 }, "{kind}: {ran:?}");
        if ran.code == 0 && kind != "other-run" {
            let plan: Value = serde_json::from_str(&ran.stdout).expect("a plan");
            assert_eq!(refusals(&plan), [kind]);
        }
        let outcome = host.secateur.prune(code);
        assert_eq!(refusals(&outcome), [kind], "{outcome:#}");
        assert_eq!(outcome["result"], "refused");
        assert_eq!(host.fake.changes(), [""; 0], "{kind}");
        host.is_whole_but_for(&[]);
        drop(kept_up);
    }
}

/// Nothing lasts for less than this.
const IMPATIENT: &str = "[guard]\nalert_after = \"1ms\"\n";

#[test]
fn what_lasts_beyond_alert_after_ends_with_65_and_is_not_left_to_the_next_run() {
    for kind in RefusalKind::of_prune().map(RefusalKind::name) {
        let host = Host::of(KIND);
        let (kept_up, code) = bring_about(kind, &host);
        if code != 75 {
            continue; // loud from the beginning
        }
        let path = host.secateur.policy_path();
        let policy = fs::read_to_string(&path).expect("the policy");
        // Seen for the first time; only since when another run holds its lock tells
        // that lock itself.
        let first = if kind == "other-run" { 65 } else { 75 };
        let policy = match policy.split_once("[[guard.lock]]") {
            Some((before, lock)) => format!("{before}{IMPATIENT}[[guard.lock]]{lock}"),
            None => format!("{policy}{IMPATIENT}"),
        };
        if kind == "deploy-lock" {
            // By its own date it is as old as the run before it.
            host.secateur.policy(&policy.replace("1ms", "1h"));
            host.secateur.prune(75);
            host.secateur.policy(&policy);
        } else {
            host.secateur.policy(&policy);
            host.secateur.prune(first);
        }
        if kind == "clock" {
            // It is in doubt again.
            let _ = bring_about(kind, &host);
            continue;
        }
        let outcome = host.secateur.prune(65);
        assert_eq!(refusals(&outcome), [kind], "{outcome:#}");
        let refusal = &outcome["refusals"][0];
        let text = |key: &str| refusal[key].as_str().expect(key).to_owned();
        let (message, way_out) = (text("message"), text("way_out"));
        assert!(message.contains("guard.alert_after"), "{kind}: {message}");
        assert!(!way_out.contains("nothing to do"), "{kind}: {way_out}");
        assert_eq!(host.fake.changes(), [""; 0], "{kind}");
        drop(kept_up);
    }
}

#[test]
fn what_was_away_at_one_look_is_told_to_the_next_run_again() {
    let host = Host::of(KIND);
    host.secateur.policy(&format!("{EAGER}{IMPATIENT}"));
    let build = |records: Value| {
        host.fake
            .world(|world| world.build_cache = json!({"BuildCache": records}));
    };
    build(json!([{"ID": "x", "InUse": true}]));
    host.secateur.prune(75);
    host.secateur.prune(65);
    build(json!([{"ID": "y", "InUse": true}]));
    host.secateur.prune(75);
}

#[test]
fn a_run_that_hangs_is_named_to_the_next_and_wants_a_person_in_the_end() {
    let host = Host::of(KIND);
    host.fake.fault("GET", "/images/json", Fault::Hang);
    let mut hangs = host.secateur.command(&["prune"]);
    let mut hangs = hangs
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("a run");
    wait_until("it is at work", || {
        let seen = host.fake.seen();
        seen.iter()
            .any(|line| line.contains("/images/json"))
            .then_some(())
    });
    let outcome = host.secateur.prune(75);
    assert_eq!(refusals(&outcome), ["other-run"]);
    host.secateur.policy(&format!("{EAGER}{IMPATIENT}"));
    let outcome = host.secateur.prune(65);
    let message = outcome["refusals"][0]["message"]
        .as_str()
        .expect("a message");
    let named = format!("pid {} (secateur)", hangs.id());
    assert!(message.contains(&named), "{message}");
    hangs.kill().expect("it ends");
    hangs.wait().expect("it has ended");
}

#[test]
fn plan_and_verify_cache_send_nothing_that_changes_anything() {
    let host = Host::of(KIND);
    let file = |name: &str| {
        host.secateur
            .dir()
            .join(name)
            .to_string_lossy()
            .into_owned()
    };
    let (plan, saved, baseline) = (file("plan.json"), file("host.json"), file("baseline.json"));
    let litter = host.litter();
    for args in [
        &["plan", "-v"][..],
        &["plan", "--out", &plan, "--save-inventory", &saved],
        &["plan", "--explain", &litter[0], "--trust-engine-dates"],
        &["verify-cache", "app:latest"],
        &["verify-cache", "--record", &baseline, "app:latest", "job:1"],
        &[
            "verify-cache",
            "--against",
            &baseline,
            "--registry",
            "--strict",
        ],
        &["verify-cache", "--deep", "app:latest", &litter[0]],
    ] {
        let asked = host.fake.seen().len();
        let ran = host.run(args);
        assert!([0, 1].contains(&ran.code), "{args:?}: {ran:?}");
        assert!(host.fake.seen().len() > asked, "{args:?}");
        for line in &host.fake.seen()[asked..] {
            assert!(
                line.starts_with("GET ") || line.starts_with("HEAD "),
                "{args:?}: {line}"
            );
        }
    }
    host.is_whole_but_for(&[]);
}

#[test]
fn a_redeploy_that_is_refused_pulls_nothing() {
    for kind in ["deploy-lock", "pull", "build", "deploy"] {
        let host = Host::of(KIND);
        let (kept_up, _) = bring_about(kind, &host);
        let ran = host.run(&["verify-cache", "--redeploy", "site:1"]);
        assert_eq!(ran.code, 75, "{kind}: {ran:?}");
        assert_eq!(host.fake.changes(), [""; 0], "{kind}");
        drop(kept_up);
    }
}
