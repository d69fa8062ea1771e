//! The JSON documents of the contract: one struct for each, fields in the
//! order in which they are written. A field never changes its meaning; a new
//! one may come.

use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::decide::plan::{Entry, KeepReason, Plan, Pressure, Unneeded, Verdict};
use crate::guard::{Cause, Refusal};
use crate::model::conditions::Disk;
use crate::model::reference::Reference;
use crate::model::text::{escape, escape_json};
use crate::model::{EngineFacts, ImageId, Observed};
use crate::policy::Unmatched;
use crate::prune::outcome::{Outcome, Stayed};
use crate::report::Context;

#[derive(Serialize)]
struct PlanDocument<'a> {
    schema: &'static str,
    generated_at: String,
    policy: PolicyPart,
    engine: EnginePart<'a>,
    disk: DiskPart,
    refusals: Vec<Message>,
    notes: &'a [String],
    unmatched_rules: &'a [Unmatched],
    images: Vec<ImagePart<'a>>,
    summary: Summary,
}

#[derive(Serialize)]
pub(crate) struct PolicyPart {
    source: Option<String>,
    fingerprint: String,
}

#[derive(Serialize)]
pub(crate) struct EnginePart<'a> {
    /// Raw, for it is compared; what a terminal would act on is escaped as JSON.
    id: &'a str,
    version: String,
    store: String,
    root_dir: &'a PathBuf,
}

#[derive(Serialize)]
struct DiskPart {
    used_percent: Option<f64>,
    path: Option<PathBuf>,
    free_bytes: Option<u64>,
    bytes_used_percent: Option<f64>,
    inodes_used_percent: Option<f64>,
    asks_for_space: Option<bool>,
    why: String,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the contract calls it so")]
pub(crate) struct Message {
    kind: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    way_out: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_seconds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ready_at: Option<String>,
}

#[derive(Serialize)]
struct ImagePart<'a> {
    id: &'a ImageId,
    names: Vec<String>,
    class: &'static str,
    size_bytes: Option<u64>,
    reclaimable_bytes_at_least: u64,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_back: Option<&'static str>,
    reasons: Vec<Message>,
    unneeded_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<&'static str>,
}

#[derive(Serialize)]
struct Summary {
    keep: usize,
    candidate: usize,
    remove: usize,
    reclaimable_bytes_at_least: u64,
    next_candidate_at: Option<String>,
}

#[derive(Serialize)]
struct OutcomeDocument<'a> {
    schema: &'static str,
    run: &'a str,
    generated_at: String,
    result: &'static str,
    ended_because: Option<&'a str>,
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
struct RemovedPart<'a> {
    id: &'a ImageId,
    names: &'a [Reference],
    class: &'static str,
    reclaimable_bytes: u64,
    evidence: Option<EvidencePart>,
}

#[derive(Serialize)]
struct EvidencePart {
    unneeded_since: String,
    by: &'static str,
}

#[derive(Serialize)]
struct Skipped<'a> {
    id: &'a ImageId,
    reason: &'a str,
}

#[derive(Serialize)]
struct Failed<'a> {
    id: &'a ImageId,
    error: &'a str,
    unconfirmed: bool,
}

#[derive(Serialize)]
struct CollateralPart<'a> {
    what: String,
    with: &'a ImageId,
    way_back: Option<String>,
}

#[derive(Serialize)]
struct DiskMeasure {
    used_percent: Option<f64>,
    free_bytes: Option<u64>,
}

/// `secateur/plan/1`.
pub fn plan(plan: &Plan, context: &Context) -> String {
    let of = |wanted: fn(&Verdict) -> bool| {
        plan.entries()
            .iter()
            .filter(|e| wanted(&e.verdict()))
            .count()
    };
    let document = PlanDocument {
        schema: "secateur/plan/1",
        generated_at: time(plan.now()),
        policy: policy(context),
        engine: engine(plan.engine()),
        disk: disk(plan),
        refusals: context.refusals.iter().map(refusal).collect(),
        notes: &context.notes,
        unmatched_rules: &context.unmatched,
        images: plan.entries().iter().map(image).collect(),
        summary: Summary {
            keep: of(|verdict| matches!(verdict, Verdict::Keep)),
            candidate: of(|verdict| matches!(verdict, Verdict::Candidate(_))),
            remove: of(|verdict| matches!(verdict, Verdict::Remove)),
            reclaimable_bytes_at_least: plan
                .removals()
                .map(Entry::reclaimable)
                .sum::<crate::model::Bytes>()
                .0,
            next_candidate_at: plan.next_ready().map(time),
        },
    };
    written(&document)
}

/// `secateur/outcome/1`. `engine` is `None` where it was not reached.
pub fn outcome(outcome: &Outcome, facts: Option<&EngineFacts>, context: &Context) -> String {
    let failed = |stayed: &[Stayed], unconfirmed| -> Vec<(ImageId, String, bool)> {
        stayed
            .iter()
            .map(|s| (s.id.clone(), s.why.clone(), unconfirmed))
            .collect()
    };
    let failures = [
        failed(&outcome.failed, false),
        failed(&outcome.unconfirmed, true),
    ]
    .concat();
    let why = crate::report::text::prune::ending(&outcome.ending);
    let document = OutcomeDocument {
        schema: "secateur/outcome/1",
        run: &outcome.run,
        generated_at: time(outcome.started),
        result: outcome.result(),
        ended_because: why.as_deref(),
        policy: policy(context),
        engine: facts.map(engine),
        refusals: outcome.refusals.iter().map(refusal).collect(),
        notes: &context.notes,
        unmatched_rules: &context.unmatched,
        removed: outcome
            .removed
            .iter()
            .map(|removed| RemovedPart {
                id: &removed.id,
                names: &removed.names,
                class: removed.class.name(),
                reclaimable_bytes: removed.reclaimable.0,
                evidence: removed
                    .unneeded
                    .map(|Unneeded { since, evidence }| EvidencePart {
                        unneeded_since: time(since),
                        by: evidence.words(),
                    }),
            })
            .collect(),
        skipped: outcome
            .skipped
            .iter()
            .map(|s| Skipped {
                id: &s.id,
                reason: &s.why,
            })
            .collect(),
        failed: failures
            .iter()
            .map(|(id, error, unconfirmed)| Failed {
                id,
                error,
                unconfirmed: *unconfirmed,
            })
            .collect(),
        collateral: outcome
            .collateral
            .iter()
            .map(|c| CollateralPart {
                what: c.what.full(),
                with: &c.with,
                way_back: c.way_back(),
            })
            .collect(),
        reclaimed_bytes: outcome.reclaimed().map(|bytes| bytes.0),
        disk_before: measure(facts, &outcome.disk_before),
        disk_after: measure(facts, &outcome.disk_after),
    };
    written(&document)
}

/// What a terminal would act on is written as JSON's own escapes: the same
/// text to a program, and nothing to a terminal. Such characters stand nowhere
/// but within strings.
pub(crate) fn written(document: &impl Serialize) -> String {
    let json = serde_json::to_string_pretty(document).unwrap_or_default();
    let mut text = escape_json(&json);
    text.push('\n');
    text
}

pub(crate) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub(crate) fn policy(context: &Context) -> PolicyPart {
    PolicyPart {
        // Not as a path: one that is no UTF-8 would spoil the whole document.
        source: context
            .policy
            .file
            .as_ref()
            .map(|file| file.to_string_lossy().into_owned()),
        fingerprint: context.policy.fingerprint.clone(),
    }
}

pub(crate) fn engine(facts: &EngineFacts) -> EnginePart<'_> {
    EnginePart {
        id: facts.id.raw(),
        version: facts.version.escaped(),
        store: facts.store.to_string(),
        root_dir: &facts.root_dir,
    }
}

fn disk(plan: &Plan) -> DiskPart {
    let (asks_for_space, why) = match plan.pressure() {
        Pressure::Asked { why, .. } => (Some(true), why.clone()),
        Pressure::Room { why } => (Some(false), why.clone()),
        Pressure::Unknown(why) => (None, why.clone()),
    };
    let known = plan.disk().known();
    let percent = known.and_then(|disk| plan.engine().used_percent(disk));
    let of_it = known.filter(|_| percent.is_some());
    DiskPart {
        used_percent: percent.map(rounded),
        path: known.map(|disk| disk.path.clone()),
        free_bytes: known.map(|disk| disk.free().0),
        bytes_used_percent: of_it.map(|disk| rounded(disk.bytes.used_percent())),
        inodes_used_percent: of_it
            .and_then(|disk| disk.inodes)
            .map(|room| rounded(room.used_percent())),
        asks_for_space,
        why,
    }
}

fn rounded(percent: f64) -> f64 {
    (percent * 100.0).round() / 100.0
}

fn measure(facts: Option<&EngineFacts>, disk: &Observed<Disk>) -> DiskMeasure {
    let known = disk.known();
    let percent = known.and_then(|disk| facts?.used_percent(disk));
    DiskMeasure {
        used_percent: percent.map(rounded),
        free_bytes: known.map(|disk| disk.free().0),
    }
}

pub(crate) fn refusal(refusal: &Refusal) -> Message {
    let path = match &refusal.cause {
        Cause::DeployLock { path, .. }
        | Cause::Pull { path, .. }
        | Cause::SignsUnreadable { path, .. } => Some(path),
        Cause::Build(_)
        | Cause::BuildUnclear(_)
        | Cause::Deploy { .. }
        | Cause::DeployUnclear(_)
        | Cause::OtherRun(_)
        | Cause::Clock(_)
        | Cause::MaxFraction { .. }
        | Cause::EngineInconsistent(_) => None,
    };
    Message {
        kind: refusal.kind().name(),
        message: refusal.message(),
        way_out: Some(refusal.way_out()),
        path: path.map(|path| escape(&path.to_string_lossy())),
        held_seconds: refusal.lasted.map(|time| time.num_seconds()),
        ready_at: None,
    }
}

fn reason(reason: &KeepReason) -> Message {
    Message {
        kind: reason.kind().name(),
        message: reason.message(),
        way_out: None,
        path: None,
        held_seconds: None,
        ready_at: reason.ready_at().map(time),
    }
}

fn image(entry: &Entry) -> ImagePart<'_> {
    let image = entry.image();
    ImagePart {
        id: &image.id,
        names: image
            .tags
            .iter()
            .chain(&image.digests)
            .chain(&image.ours)
            .map(Reference::to_string)
            .collect(),
        class: entry.class().name(),
        size_bytes: image.size.known().map(|bytes| bytes.0),
        reclaimable_bytes_at_least: entry.reclaimable().0,
        verdict: entry.verdict().name(),
        held_back: match entry.verdict() {
            Verdict::Candidate(why) => Some(why.name()),
            Verdict::Keep | Verdict::Remove => None,
        },
        reasons: entry.reasons().iter().map(reason).collect(),
        unneeded_since: entry.unneeded().map(|unneeded| time(unneeded.since)),
        evidence: entry.unneeded().map(|unneeded| unneeded.evidence.words()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::text::is_invisible;

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]
        #[test]
        fn no_text_of_a_document_reaches_a_terminal_raw_or_is_lost(
            text in proptest::collection::vec(proptest::char::any(), 0..100),
        ) {
            let text: String = text.into_iter().collect();
            let document = std::collections::BTreeMap::from([(text.clone(), text)]);
            let shown = written(&document);
            let raw = |ch: char| ch != '\n' && (ch.is_control() || is_invisible(ch));
            proptest::prop_assert!(!shown.chars().any(raw), "{shown:?}");
            let read: std::collections::BTreeMap<String, String> =
                serde_json::from_str(&shown).unwrap();
            proptest::prop_assert_eq!(read, document);
        }
    }

    #[test]
    fn nothing_that_a_terminal_acts_on_is_written_raw_and_nothing_is_lost() {
        let nasty = "a\u{9b}31m\u{202e}\u{7f}\u{e0001}\u{1b}]0;x\u{7}";
        let text = written(&nasty);
        let shown = text.trim_end_matches('\n');
        assert!(
            shown
                .chars()
                .all(|ch| !ch.is_control() && !is_invisible(ch)),
            "{shown:?}"
        );
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), nasty);
    }
}
