//! The reports of --quiet: the same words, fewer lines, and what matters most
//! at the end.

use crate::decide::plan::{Plan, Verdict};
use crate::prune::outcome::{How, Outcome};
use crate::report::context::Context;
use crate::report::text::header::refusals;
use crate::report::text::layout::{HEAD, headed};
use crate::report::text::prune::disk::disk;
use crate::report::text::prune::lists::stayed;
use crate::report::text::prune::summary::{
    disk_of, how_it_ended, lost, removals_head, removed_head,
};
use crate::report::text::screen::Screen;
use crate::report::wording::images;

/// A plan in at most 23 lines.
pub fn plan(plan: &Plan, context: &Context) -> String {
    let mut out = Screen::new(context.columns);
    disk(&mut out, plan);
    removable(&mut out, plan);
    removals_head(&mut out, plan, !context.refusals.is_empty(), "");
    refusals(&mut out, "a prune would be refused now:", &context.refusals);
    out.last_screen()
}

/// An outcome in at most 23 lines.
pub fn outcome(outcome: &Outcome, plan: Option<&Plan>, context: &Context) -> String {
    let mut out = Screen::new(context.columns);
    if let Some(plan) = plan {
        disk_of(&mut out, outcome, plan);
        removable(&mut out, plan);
    }
    if !outcome.skipped.is_empty() {
        let count = images(outcome.skipped.len());
        headed(&mut out, HEAD, "not removed after all:", &count);
    }
    removed_head(&mut out, outcome, plan, "");
    stayed(&mut out, HEAD, "failed", &outcome.failed, false);
    if outcome.how() != How::Nothing {
        how_it_ended(&mut out, outcome);
    }
    refusals(&mut out, "refused:", &outcome.refusals);
    stayed(&mut out, HEAD, "not confirmed", &outcome.unconfirmed, false);
    lost(&mut out, outcome);
    out.last_screen()
}

fn removable(out: &mut Screen, plan: &Plan) {
    let entries = plan.entries().iter();
    let later = entries.filter(|entry| matches!(entry.verdict, Verdict::Candidate(_)));
    match later.count() {
        0 => {}
        count => headed(out, HEAD, "removable, but not now:", &images(count)),
    }
}
