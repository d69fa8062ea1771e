//! What a prune did.

use std::fmt::Write as _;

use crate::decide::plan::Plan;
use crate::model::Bytes;
use crate::prune::outcome::{Ending, Outcome};
use crate::report::context::Context;
use crate::report::text::header::{engine_and_policy, notes, refusals};
use crate::report::text::layout::{HEAD, LOUD, blank_after, command, headed};
use crate::report::text::prune::closing::{closing, short_of_target};
use crate::report::text::prune::disk::{disk, disk_after};
use crate::report::text::prune::lists::{held_back, kept, not_tried, stayed, table};
use crate::report::wording::{TO_BE_BUILT, ending, images};

/// The whole report of a run; `plan` is `None` where nothing was decided.
pub fn outcome(outcome: &Outcome, plan: Option<&Plan>, context: &Context, verbose: bool) -> String {
    let mut out = String::new();
    refusals(&mut out, "refused:", &outcome.refusals);
    how_it_ended(&mut out, outcome);
    lost(&mut out, outcome);
    stayed(&mut out, LOUD, "not confirmed", &outcome.unconfirmed, true);
    stayed(&mut out, LOUD, "failed", &outcome.failed, true);
    blank_after(&mut out);
    match plan {
        Some(plan) => {
            engine_and_policy(&mut out, plan.engine(), context);
            disk_of(&mut out, outcome, plan);
        }
        None => notes(&mut out, context),
    }
    if plan.is_some() || !context.notes.is_empty() {
        out.push('\n');
    }
    removed(&mut out, outcome, plan, verbose);
    let word = "not removed after all";
    stayed(&mut out, HEAD, word, &outcome.skipped, verbose);
    if let Some(plan) = plan {
        not_tried(&mut out, outcome, plan);
        held_back(&mut out, plan);
        kept(&mut out, plan);
        let reclaimed = outcome
            .reclaimed()
            .filter(|_| outcome.ending == Ending::Done);
        let short = reclaimed.and_then(|got| short_of_target(plan, got, "was reclaimed"));
        closing(&mut out, plan, short, None, verbose);
    }
    out
}

/// Why a run ended early. A refusal has its own words.
pub(crate) fn how_it_ended(out: &mut String, outcome: &Outcome) {
    if let Some(why) = ending(&outcome.ending).filter(|_| outcome.ending != Ending::Refused) {
        let refused = matches!(outcome.ending, Ending::PlanRefused(_));
        let head = if refused { "refused:" } else { "stopped:" };
        headed(out, LOUD, head, &why);
    }
}

/// What went that no plan named, and how it comes back.
pub(crate) fn lost(out: &mut String, outcome: &Outcome) {
    for lost in &outcome.lost {
        let with = lost.with.short();
        let mut text = format!("{} went together with image {with}", lost.what.words());
        if lost.is_to_be_built() {
            let _ = write!(text, ": {TO_BE_BUILT}");
        }
        headed(out, LOUD, "lost:", &text);
        if let Some(way_back) = lost.way_back() {
            command(out, &way_back);
        }
    }
}

/// The disk as it is now, or what became of it where images went.
pub(crate) fn disk_of(out: &mut String, outcome: &Outcome, plan: &Plan) {
    if outcome.removed.is_empty() {
        disk(out, plan.disk(), plan.pressure());
    } else {
        disk_after(out, plan.engine(), outcome);
    }
}

fn removed(out: &mut String, outcome: &Outcome, plan: Option<&Plan>, verbose: bool) {
    removed_head(out, outcome, plan, ":");
    if let Some(plan) = plan.filter(|_| !outcome.removed.is_empty()) {
        let ids = outcome.removed.iter().map(|removed| &removed.id);
        table(out, plan, ids, verbose);
    }
}

/// How many images were removed. `end` is ":" where a list follows.
pub(crate) fn removed_head(out: &mut String, outcome: &Outcome, plan: Option<&Plan>, end: &str) {
    let planned: Option<Bytes> = plan
        .filter(|plan| plan.removals().len() > 0)
        .map(Plan::frees);
    if outcome.removed.is_empty() {
        let text = match (plan, planned) {
            (Some(plan), Some(least)) => {
                let count = images(plan.removals().len());
                format!("of the {count} in the plan, at least {least}")
            }
            (Some(plan), None) => format!("({} here)", images(plan.entries().len())),
            (None, _) => "(nothing was decided)".to_owned(),
        };
        headed(out, HEAD, "removed nothing", &text);
        return;
    }
    let least: Bytes = outcome.removed.iter().map(|one| one.reclaimable).sum();
    let count = images(outcome.removed.len());
    let _ = writeln!(out, "{HEAD}removed {count}{HEAD:#}, at least {least}{end}");
}
