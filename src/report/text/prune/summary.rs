//! The parts of a plan or an outcome that the full report and --quiet share.

use std::fmt::Write as _;

use crate::decide::plan::Plan;
use crate::model::Bytes;
use crate::prune::outcome::{Ending, Outcome};
use crate::report::text::layout::{HEAD, LOUD, command, headed};
use crate::report::text::prune::disk::{disk, disk_after};
use crate::report::text::screen::Screen;
use crate::report::wording::{TO_BE_BUILT, ending, images};

/// How many images a prune would remove. `end` is ":" where a list follows.
pub(crate) fn removals_head(out: &mut Screen, plan: &Plan, refused: bool, end: &str) {
    let (count, all) = (plan.removals().len(), plan.entries().len());
    if count == 0 {
        let here = format!("({} here)", images(all));
        headed(out, HEAD, "would remove nothing", &here);
        return;
    }
    let least = plan.frees();
    let head = format!("would remove {count} of {},", images(all));
    let but = if refused { ", were it not refused" } else { "" };
    headed(out, HEAD, &head, &format!("at least {least}{but}{end}"));
}

/// Why a run ended early, except by a refusal.
pub(crate) fn how_it_ended(out: &mut Screen, outcome: &Outcome) {
    if let Some(why) = ending(&outcome.ending).filter(|_| outcome.ending != Ending::Refused) {
        let refused = matches!(outcome.ending, Ending::PlanRefused(_));
        let head = if refused { "refused:" } else { "stopped:" };
        headed(out, LOUD, head, &why);
    }
}

/// What went that no plan named, and how to get it back.
pub(crate) fn lost(out: &mut Screen, outcome: &Outcome) {
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

/// The disk now, compared with before if images were removed.
pub(crate) fn disk_of(out: &mut Screen, outcome: &Outcome, plan: &Plan) {
    if outcome.removed.is_empty() {
        disk(out, plan);
    } else {
        disk_after(out, plan, outcome);
    }
}

/// How many images were removed. `end` is ":" where a list follows.
pub(crate) fn removed_head(out: &mut Screen, outcome: &Outcome, plan: Option<&Plan>, end: &str) {
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
    let head = format!("removed {count},");
    headed(out, HEAD, &head, &format!("at least {least}{end}"));
}
