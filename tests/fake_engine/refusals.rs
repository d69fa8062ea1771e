//! What is sent by a run that must change nothing: only GET and HEAD.

use std::fs;

use secateur::guards::Refusal;
use serde_json::{Value, json};

use crate::fake::fault::Fault;
use crate::support::{EAGER, refusals};
use crate::{Host, KIND};

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
    for kind in Refusal::KINDS {
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
