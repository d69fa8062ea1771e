//! A plan that somebody reviewed, carried out later on live engines: at most
//! what was reviewed, and only while it still is what was reviewed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::lab::{Engine, Kind};
use crate::support::scene::due;
use crate::support::{EAGER, Ran, Secateur, ids};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

/// A host with so many images to remove, and their plan in a file.
struct Review {
    engine: Engine,
    secateur: Secateur,
    planned: Vec<String>,
    file: PathBuf,
}

impl Review {
    fn of(kind: Kind, count: usize) -> Review {
        let (engine, secateur, (planned, _)) = due(kind, count);
        let file = secateur.dir().join("reviewed.json");
        let out = file.display().to_string();
        secateur.run(&["plan", "--out", &out]).ended(0);
        let review = Review {
            engine,
            secateur,
            planned,
            file,
        };
        assert_eq!(review.removals(), review.planned, "{}", kind.name());
        review
    }

    fn document(&self) -> Value {
        serde_json::from_slice(&fs::read(&self.file).expect("the plan")).expect("JSON")
    }

    /// What the file says is to be removed.
    fn removals(&self) -> Vec<String> {
        let document = self.document();
        let images = document["images"].as_array().expect("images").iter();
        images
            .filter(|image| image["verdict"] == "remove")
            .map(|image| image["id"].as_str().expect("an id").to_owned())
            .collect()
    }

    fn prune_by(&self, plan: &Path, more: &[&str]) -> Ran {
        let plan = plan.display().to_string();
        let args = ["prune", "--format", "json", "--plan", &plan];
        self.secateur.run(&[&args, more].concat())
    }

    /// A prune by the plan is refused, for a person to look at, with these
    /// words; and everything is still here.
    #[track_caller]
    fn is_refused(&self, more: &[&str], words: &str) {
        let metrics = self.secateur.dir().join("prune.prom");
        let file = metrics.display().to_string();
        let more = [more, &["--metrics", &file]].concat();
        let ran = self.prune_by(&self.file, &more).ended(65);
        refused_as(&ran, words);
        let numbers = fs::read_to_string(metrics).expect("the metrics");
        let result = "secateur_prune_last_run_result{result=\"refused\"} 1";
        assert!(numbers.contains(result), "{numbers}");
        for id in &self.planned {
            assert!(self.engine.has(id));
        }
    }
}

/// The document of a refusal: none of the kinds fits, so why stands beside them.
#[track_caller]
fn refused_as(ran: &Ran, words: &str) {
    let outcome = ran.json();
    assert_eq!(outcome["schema"], "secateur/outcome/2", "{outcome:#}");
    assert_eq!(outcome["result"], "refused", "{outcome:#}");
    for list in ["refusals", "removed", "skipped", "failed"] {
        assert_eq!(outcome[list], json!([]), "{outcome:#}");
    }
    let why = outcome["ended_because"].as_str().expect("a reason");
    assert!(why.contains(words), "{why}");
    assert!(why.contains("secateur plan --out"), "{why}");
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_changed_since_the_review_is_skipped_and_named() {
    for kind in Kind::MAIN {
        let review = Review::of(kind, 4);
        let (engine, planned) = (&review.engine, &review.planned);
        engine.tag(&planned[0], "back:again");
        engine.create_container(&planned[1], &["/x"], &json!({}));
        engine.tag(&planned[2], "for:nothing");
        engine.remove("for:nothing");
        assert!(!engine.has(&planned[2]), "{}", kind.name());

        let outcome = review.prune_by(&review.file, &[]).ended(0).json();
        assert_eq!(ids(&outcome, "removed"), planned[3..], "{outcome:#}");
        let skipped = outcome["skipped"].as_array().expect("skipped").iter();
        let told: BTreeMap<&str, &str> = skipped
            .map(|one| {
                let text = |key: &str| one[key].as_str().expect("a text");
                (text("id"), text("reason"))
            })
            .collect();
        assert_eq!(told.len(), 3, "{}: {outcome:#}", kind.name());
        for (id, words) in [
            (&planned[0], "since the review: tagged back:again"),
            (&planned[1], "since the review: container "),
            (&planned[2], "since the review: it is gone"),
        ] {
            let why = told[id.as_str()];
            assert!(why.contains(words), "{}: {why}", kind.name());
        }
        assert!(engine.has(&planned[0]) && engine.has(&planned[1]));

        // And for people.
        let plan = review.file.display().to_string();
        let text = review.secateur.run(&["prune", "--plan", &plan]).ended(0);
        assert!(text.stdout.contains("not removed after all: 4 images"));
        for id in planned {
            let short = &id["sha256:".len()..][..12];
            assert!(text.stdout.contains(short), "{}", text.stdout);
        }
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_reviewed_plan_of_another_engine_or_policy_is_refused() {
    let review = Review::of(Kind::Overlay28, 1);
    let other = Engine::start(Kind::Overlay28);
    let there = Secateur::on(&other);
    let plan = review.file.display().to_string();
    let ran = there.run(&["prune", "--plan", &plan]).ended(65);
    let said: Vec<&str> = ran.stdout.split_whitespace().collect();
    let said = said.join(" ");
    assert!(said.starts_with("refused: reviewed plan "), "{said}");
    assert!(said.contains("of another engine"), "{said}");

    // Even one that would remove the same.
    review.secateur.policy(&format!("{EAGER}# as before\n"));
    review.is_refused(&[], "made with another policy");
    review.secateur.policy(EAGER);
    let outcome = review.prune_by(&review.file, &[]).ended(0).json();
    assert_eq!(ids(&outcome, "removed"), review.planned);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_reviewed_plan_is_good_for_an_hour_or_for_what_the_option_says() {
    let review = Review::of(Kind::Overlay28, 2);
    let mut document = review.document();
    let made = document["generated_at"].as_str().expect("a date");
    let made: DateTime<Utc> = made.parse().expect("a date");
    let mut dated = |minutes: i64| {
        let date = made - TimeDelta::minutes(minutes);
        document["generated_at"] = json!(date);
        fs::write(&review.file, document.to_string()).expect("the plan");
    };
    dated(61);
    review.is_refused(&[], "more than 1h (--max-plan-age)");
    review.is_refused(&["--max-plan-age", "10m"], "more than 10m");
    dated(-10);
    review.is_refused(&[], "made in the future");
    dated(61);
    let longer = ["--max-plan-age", "2h"];
    let outcome = review.prune_by(&review.file, &longer).ended(0).json();
    assert_eq!(ids(&outcome, "removed"), review.planned);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_reviewed_plan_that_others_may_write_commands_nothing() {
    let review = Review::of(Kind::Overlay28, 1);
    let mode = |mode| fs::set_permissions(&review.file, fs::Permissions::from_mode(mode));
    mode(0o666).expect("chmod");
    let ran = review.prune_by(&review.file, &[]).ended(77);
    assert!(ran.stderr.contains("reviewed.json"), "{}", ran.stderr);
    assert!(review.engine.has(&review.planned[0]));
    mode(0o644).expect("chmod");
    let missing = review.secateur.dir().join("missing.json");
    let ran = review.prune_by(&missing, &[]).ended(65);
    refused_as(&ran, "it is not there");
    let outcome = review.prune_by(&review.file, &[]).ended(0).json();
    assert_eq!(ids(&outcome, "removed"), review.planned);
}
