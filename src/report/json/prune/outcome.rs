//! `secateur/outcome/2`.

use serde::Serialize;

use crate::model::conditions::Disk;
use crate::model::reference::Reference;
use crate::model::text::EscapedJson;
use crate::model::{EngineFacts, ImageId, Observed};
use crate::policy::Unmatched;
use crate::prune::outcome::{Outcome, Removed};
use crate::report::context::Context;
use crate::report::json::parts::{
    EnginePart, Message, PolicyPart, engine, policy, refusal, rounded, time,
};
use crate::report::wording::ending;

pub(crate) const OUTCOME: &str = "secateur/outcome/2";

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct OutcomeDocument<'a> {
    schema: &'static str,
    run: &'a str,
    #[cfg_attr(test, schemars(with = "chrono::DateTime<chrono::Utc>"))]
    generated_at: String,
    result: &'static str,
    ended_because: Option<String>,
    policy: PolicyPart,
    engine: Option<EnginePart<'a>>,
    refusals: Vec<Message>,
    notes: &'a [String],
    unmatched_rules: &'a [Unmatched],
    removed: Vec<RemovedPart<'a>>,
    skipped: Vec<Skipped<'a>>,
    failed: Vec<Failed<'a>>,
    collateral: Vec<CollateralPart<'a>>,
    reclaimed_bytes: Option<u64>,
    disk_before: DiskMeasure,
    disk_after: DiskMeasure,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct RemovedPart<'a> {
    id: &'a ImageId,
    names: &'a [Reference],
    had_tags: &'a [Reference],
    class: &'static str,
    reclaimable_bytes_at_least: u64,
    #[cfg_attr(test, schemars(with = "Option<chrono::DateTime<chrono::Utc>>"))]
    unneeded_since: Option<String>,
    evidence: Option<&'static str>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Skipped<'a> {
    id: &'a ImageId,
    reason: &'a str,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Failed<'a> {
    id: &'a ImageId,
    error: &'a str,
    unconfirmed: bool,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct CollateralPart<'a> {
    what: String,
    with: &'a ImageId,
    way_back: Option<String>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct DiskMeasure {
    used_percent: Option<f64>,
    free_bytes: Option<u64>,
}

/// `facts` is `None` where the engine was not reached.
pub fn outcome(outcome: &Outcome, facts: Option<&EngineFacts>, context: &Context) -> String {
    let failed = outcome.failed.iter().map(|stayed| (stayed, false));
    let unconfirmed = outcome.unconfirmed.iter().map(|stayed| (stayed, true));
    EscapedJson::pretty(&OutcomeDocument {
        schema: OUTCOME,
        run: &outcome.run,
        generated_at: time(outcome.started),
        result: outcome.result(),
        ended_because: ending(&outcome.ending),
        policy: policy(context),
        engine: facts.map(engine),
        refusals: outcome.refusals.iter().map(refusal).collect(),
        notes: &context.notes,
        unmatched_rules: &context.unmatched,
        removed: outcome.removed.iter().map(removed).collect(),
        skipped: outcome
            .skipped
            .iter()
            .map(|stayed| Skipped {
                id: &stayed.id,
                reason: &stayed.why,
            })
            .collect(),
        failed: failed
            .chain(unconfirmed)
            .map(|(stayed, unconfirmed)| Failed {
                id: &stayed.id,
                error: &stayed.why,
                unconfirmed,
            })
            .collect(),
        collateral: outcome
            .lost
            .iter()
            .map(|lost| CollateralPart {
                what: lost.what.full(),
                with: &lost.with,
                way_back: lost.way_back(),
            })
            .collect(),
        reclaimed_bytes: outcome.reclaimed().map(|bytes| bytes.0),
        disk_before: measure(facts, &outcome.disk_before),
        disk_after: measure(facts, &outcome.disk_after),
    })
}

fn removed(removed: &Removed) -> RemovedPart<'_> {
    RemovedPart {
        id: &removed.id,
        names: &removed.names,
        had_tags: &removed.had_tags,
        class: removed.class.name(),
        reclaimable_bytes_at_least: removed.reclaimable.0,
        unneeded_since: removed.unneeded.map(|unneeded| time(unneeded.since)),
        evidence: removed.unneeded.map(|unneeded| unneeded.evidence.words()),
    }
}

fn measure(facts: Option<&EngineFacts>, disk: &Observed<Disk>) -> DiskMeasure {
    let known = disk.known();
    let percent = known.and_then(|disk| facts?.used_percent(disk));
    DiskMeasure {
        used_percent: percent.map(rounded),
        free_bytes: known.map(|disk| disk.free().0),
    }
}
