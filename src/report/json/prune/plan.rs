//! `secateur/plan/1`.

use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::decide::plan::{Entry, Plan, Pressure, Verdict};
use crate::model::ImageId;
use crate::model::conditions::LeftBehind;
use crate::model::reference::Reference;
use crate::model::text::{EscapedJson, escape_path};
use crate::policy::Unmatched;
use crate::report::context::Context;
use crate::report::json::parts::{
    EnginePart, Message, PolicyPart, engine, policy, reason, refusal, rounded, time,
};
use crate::report::wording;

pub(crate) const PLAN: &str = "secateur/plan/1";

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PlanDocument<'a> {
    schema: &'static str,
    #[cfg_attr(test, schemars(with = "chrono::DateTime<chrono::Utc>"))]
    generated_at: String,
    policy: PolicyPart,
    engine: EnginePart<'a>,
    disk: DiskPart,
    refusals: Vec<Message>,
    notes: &'a [String],
    unmatched_rules: &'a [Unmatched],
    left_behind: Vec<LeftBehindPart>,
    #[cfg_attr(test, schemars(with = "Vec<ImagePart>"))]
    #[serde(serialize_with = "images")]
    images: &'a [Entry],
    summary: Summary,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct DiskPart {
    used_percent: Option<f64>,
    path: Option<PathBuf>,
    free_bytes: Option<u64>,
    bytes_used_percent: Option<f64>,
    inodes_used_percent: Option<f64>,
    asks_for_space: Option<bool>,
    why: String,
}

/// A store that the engine used before.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct LeftBehindPart {
    path: String,
    records: String,
    images: usize,
    size_bytes_at_least: u64,
    complete: bool,
    message: String,
    way_out: &'static str,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ImagePart<'a> {
    id: &'a ImageId,
    names: Vec<String>,
    had_tags: &'a [Reference],
    class: &'static str,
    size_bytes: Option<u64>,
    reclaimable_bytes_at_least: u64,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_back: Option<&'static str>,
    reasons: Vec<Message>,
    #[cfg_attr(test, schemars(with = "Option<chrono::DateTime<chrono::Utc>>"))]
    unneeded_since: Option<String>,
    #[cfg_attr(test, schemars(with = "Option<chrono::DateTime<chrono::Utc>>"))]
    first_seen_at: Option<String>,
    #[cfg_attr(test, schemars(with = "Option<chrono::DateTime<chrono::Utc>>"))]
    last_used_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<&'static str>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Summary {
    keep: usize,
    candidate: usize,
    remove: usize,
    reclaimable_bytes_at_least: u64,
    #[cfg_attr(test, schemars(with = "Option<chrono::DateTime<chrono::Utc>>"))]
    next_candidate_at: Option<String>,
}

pub fn plan(plan: &Plan, context: &Context) -> String {
    let of =
        |wanted: fn(&Verdict) -> bool| plan.entries().iter().filter(|e| wanted(&e.verdict)).count();
    EscapedJson::pretty(&PlanDocument {
        schema: PLAN,
        generated_at: time(plan.now()),
        policy: policy(context),
        engine: engine(plan.engine()),
        disk: disk(plan),
        refusals: context.refusals.iter().map(refusal).collect(),
        notes: &context.notes,
        unmatched_rules: &context.unmatched,
        left_behind: context.left_behind.iter().map(left_behind).collect(),
        images: plan.entries(),
        summary: Summary {
            keep: of(|verdict| matches!(verdict, Verdict::Keep)),
            candidate: of(|verdict| matches!(verdict, Verdict::Candidate(_))),
            remove: of(|verdict| matches!(verdict, Verdict::Remove)),
            reclaimable_bytes_at_least: plan.frees().0,
            next_candidate_at: plan.next_ready().map(time),
        },
    })
}

fn left_behind(store: &LeftBehind) -> LeftBehindPart {
    let (message, way_out) = wording::left_behind(store);
    LeftBehindPart {
        path: escape_path(&store.layers),
        records: escape_path(&store.records),
        images: store.images,
        size_bytes_at_least: store.bytes.0,
        complete: store.all,
        message,
        way_out,
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

/// One at a time: all of them are many megabytes.
fn images<S: Serializer>(entries: &[Entry], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(entries.iter().map(image))
}

fn image(entry: &Entry) -> ImagePart<'_> {
    let image = &entry.image;
    ImagePart {
        id: &image.id,
        names: image
            .names()
            .chain(&image.ours)
            .map(Reference::to_string)
            .collect(),
        had_tags: &entry.had_tags,
        class: entry.class.name(),
        size_bytes: image.size.known().map(|bytes| bytes.0),
        reclaimable_bytes_at_least: entry.reclaimable.0,
        verdict: entry.verdict.name(),
        held_back: match entry.verdict {
            Verdict::Candidate(why) => Some(why.name()),
            Verdict::Keep | Verdict::Remove => None,
        },
        reasons: entry.reasons.iter().map(reason).collect(),
        unneeded_since: entry.unneeded.map(|unneeded| time(unneeded.since)),
        first_seen_at: entry.first_seen.map(time),
        last_used_at: entry.last_used.map(time),
        evidence: entry.unneeded.map(|unneeded| unneeded.evidence.words()),
    }
}
