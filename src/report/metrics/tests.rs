//! Whole files of metrics, word for word: src/report/metrics/testdata. To write them
//! anew after a change, and read the difference: UPDATE_METRICS=1 cargo test

use std::time::Duration;

use crate::cache::findings::{Findings, Line};
use crate::cache::{Check, Kind, Status};
use crate::decide::plan::Plan;
use crate::exit::Exit;
use crate::guard::{Cause, Refusal};
use crate::prune::outcome::{Ending, Outcome};
use crate::report::metrics::page::PreviousFile;
use crate::report::metrics::{ERROR, Ran, cache, prune, write};
use crate::report::tests::{planned, policy, refusals, run};
use crate::testing::{at, inventory};

fn ran<'a>(second: i64, result: &'static str, exit: Exit, refusals: &'a [Refusal]) -> Ran<'a> {
    Ran {
        began: at(second),
        took: Duration::from_millis(1234),
        exit,
        result,
        refusals,
    }
}

/// The file of a prune that surveyed and was refused.
fn refused(second: i64, refusals: &[Refusal], before: &str) -> String {
    refused_with(Some(&planned("").0), second, refusals, before)
}

fn refused_with(plan: Option<&Plan>, second: i64, refusals: &[Refusal], before: &str) -> String {
    let mut outcome = Outcome::new(
        "run".into(),
        at(second),
        crate::model::Observed::Unknown(String::new()),
    );
    outcome.ending = Ending::Refused;
    outcome.refusals = refusals.to_vec();
    let ran = ran(second, "refused", Exit::RefusedForNow, refusals);
    prune::text(
        &ran,
        Some((&outcome, &policy(""))),
        plan,
        &PreviousFile::of(before.as_bytes()),
    )
}

fn findings(kinds: &[(Kind, Status)]) -> Findings {
    let line = |(kind, status): &(Kind, Status)| Line {
        checks: vec![Check::new(*kind, *status, "")],
        ..crate::testing::line(kind.name())
    };
    Findings {
        images: kinds.iter().map(line).collect(),
        ..Findings::new(at(0), inventory([]).engine, false)
    }
}

fn checked(second: i64, findings: &Findings, before: &str) -> String {
    let ran = ran(
        second,
        findings.result(),
        findings.exit(),
        &findings.refusals,
    );
    cache::text(&ran, Some(findings), &PreviousFile::of(before.as_bytes()))
}

/// One series' value.
#[track_caller]
fn value<'a>(text: &'a str, series: &str) -> &'a str {
    let found = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {series} in:\n{text}"))
}

#[track_caller]
fn golden(name: &str, shown: &str) {
    crate::testing::golden("src/report/metrics/testdata", "UPDATE_METRICS", name, shown);
}

#[test]
fn a_prune_in_numbers() {
    let (plan, _) = planned("");
    let mut outcome = run(&plan, str::to_owned);
    outcome.refusals = refusals();
    let ran = ran(0, outcome.result(), outcome.exit(), &outcome.refusals);
    let before = PreviousFile::of(refused(-60, &refusals()[..1], "").as_bytes());
    let text = prune::text(&ran, Some((&outcome, &policy(""))), Some(&plan), &before);
    golden("prune.prom", &text);
}

#[test]
fn a_verify_cache_in_numbers() {
    let first = findings(&[(Kind::Whole, Status::Ok), (Kind::Present, Status::Ok)]);
    let before = checked(-60, &first, "");
    let mut now = findings(&[
        (Kind::Present, Status::Ok),
        (Kind::Lasting, Status::Broken),
        (Kind::Authenticated, Status::Unknown),
        (Kind::Current, Status::Moved),
        (Kind::Reused, Status::Ok),
    ]);
    let largest = crate::cache::checks::room::Largest {
        image: crate::testing::wanted("app:1"),
        size: crate::model::Bytes(5),
    };
    now.room = Some(crate::testing::room(86, Some(largest)));
    golden("cache.prom", &checked(0, &now, &before));
    now.refusals = vec![crate::testing::deploy("x")];
    golden("cache-refused.prom", &checked(0, &now, &before));
}

#[test]
fn refused_since_goes_back_to_the_first_run_of_an_unbroken_row() {
    let (lock, pull) = (&refusals()[..1], &refusals()[1..2]);
    let since = "secateur_prune_refused_since_timestamp_seconds{kind=\"deploy-lock\"}";
    let first = refused(0, lock, "");
    let second = refused(60, lock, &first);
    assert_eq!(value(&second, since), value(&first, since));
    let broken = refused(120, pull, &second);
    assert!(!broken.contains(since), "{broken}");
    let anew = refused(180, lock, &broken);
    assert_eq!(value(&anew, since), at(180).timestamp().to_string());
}

#[test]
fn a_run_that_did_not_survey_breaks_no_row_of_refusals() {
    let since = "secateur_prune_refused_since_timestamp_seconds{kind=\"deploy-lock\"}";
    let first = refused(0, &refusals()[..1], "");
    // Without a policy, an engine, or the turn.
    let fault = ran(60, ERROR, Exit::Engine, &[]);
    let fault = prune::text(&fault, None, None, &PreviousFile::of(first.as_bytes()));
    assert_eq!(value(&fault, since), value(&first, since));
    assert!(!fault.contains("secateur_prune_refused{"), "{fault}");
    let other = [Cause::OtherRun("x".into()).into()];
    let turn = refused_with(None, 120, &other, &fault);
    assert_eq!(value(&turn, since), value(&first, since));
    let turn_since = since.replace("deploy-lock", "other-run");
    assert_eq!(value(&turn, &turn_since), at(120).timestamp().to_string());
    let interrupted = refused_with(None, 180, &[], &turn);
    assert_eq!(value(&interrupted, since), value(&first, since));
    // A run that surveyed and found nothing does.
    let looked = refused(240, &[], &interrupted);
    assert!(!looked.contains("refused_since"), "{looked}");

    let since = "secateur_cache_refused_since_timestamp_seconds{kind=\"deploy\"}";
    let mut deploy = findings(&[]);
    deploy.refusals = vec![crate::testing::deploy("x")];
    let first = checked(0, &deploy, "");
    let fault = ran(60, ERROR, Exit::Engine, &[]);
    let fault = cache::text(&fault, None, &PreviousFile::of(first.as_bytes()));
    assert_eq!(value(&fault, since), value(&first, since));
    let mut turn = findings(&[]);
    turn.refusals = other.into();
    let turn = checked(120, &turn, &fault);
    assert_eq!(value(&turn, since), value(&first, since));
}

#[test]
fn a_long_run_keeps_the_moments_of_a_run_that_began_later_and_ended_before_it() {
    let made = findings(&[(Kind::Present, Status::Ok)]);
    let newer = checked(1800, &made, "");
    for (result, exit) in [("held", Exit::Done), ("broken", Exit::NotAllWell)] {
        let long = Ran {
            took: Duration::from_hours(1),
            ..ran(0, result, exit, &[])
        };
        let both = cache::text(&long, Some(&made), &PreviousFile::of(newer.as_bytes()));
        for name in [
            "last_success_timestamp_seconds",
            "checked_timestamp_seconds{check=\"present\"}",
        ] {
            let name = format!("secateur_cache_{name}");
            assert_eq!(value(&both, &name), value(&newer, &name), "{result}");
        }
    }
}

#[test]
fn a_moment_in_the_future_or_none_at_all_is_not_carried_on() {
    let since = "secateur_prune_refused_since_timestamp_seconds{kind=\"deploy-lock\"}";
    for odd in ["9e99", "-1", "NaN", "", "x"] {
        let before = format!("{since} {odd}\n");
        let now = refused(0, &refusals()[..1], &before);
        assert_eq!(value(&now, since), at(0).timestamp().to_string(), "{odd}");
    }
}

#[test]
fn the_last_success_outlives_runs_that_were_none_and_nothing_else_does() {
    let name = "secateur_cache_last_success_timestamp_seconds";
    let good = checked(0, &findings(&[(Kind::Present, Status::Ok)]), "");
    assert_eq!(value(&good, name), at(0).timestamp().to_string());
    let fault = ran(60, ERROR, Exit::Engine, &[]);
    let bad = cache::text(&fault, None, &PreviousFile::of(good.as_bytes()));
    assert_eq!(value(&bad, name), at(0).timestamp().to_string());
    assert_eq!(value(&bad, "secateur_cache_last_run_exit_code"), "69");
    assert_eq!(
        value(&bad, "secateur_cache_last_run_result{result=\"error\"}"),
        "1"
    );
    // The counts of images are not copied: nobody surveyed.
    assert!(!bad.contains("secateur_cache_images"), "{bad}");
    assert!(!bad.contains("secateur_cache_checks{"), "{bad}");
    // But the times of the last checks stay true.
    let at0 = at(0).timestamp().to_string();
    assert_eq!(
        value(
            &bad,
            "secateur_cache_checked_timestamp_seconds{check=\"present\"}"
        ),
        at0
    );
}

#[test]
fn a_file_of_somebody_elses_metrics_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.prom");
    let mine = |_: &PreviousFile| "secateur_prune_x 1\n".to_owned();
    write(&path, prune::PREFIX, mine).unwrap();
    write(&path, prune::PREFIX, mine).unwrap();
    for other in [
        "secateur_cache_x 1\n",
        "node_x 1\n",
        "root:x:0:0:root:/root:/bin/bash\n",
    ] {
        std::fs::write(&path, other).unwrap();
        let error = write(&path, prune::PREFIX, mine).unwrap_err();
        assert!(error.contains("not of this command"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), other);
    }
}
