//! The reports of --quiet: the same words, fewer lines, and what matters most
//! at the end.

use crate::decide::plan::{Plan, Verdict};
use crate::prune::outcome::{How, Outcome};
use crate::report::context::Context;
use crate::report::text::header::refusals;
use crate::report::text::layout::{HEAD, fitted_to_terminal, headed};
use crate::report::text::prune::disk::disk;
use crate::report::text::prune::lists::stayed;
use crate::report::text::prune::outcome::{disk_of, how_it_ended, lost, removed_head};
use crate::report::text::prune::plan::removals_head;
use crate::report::wording::images;

/// A plan in at most 23 lines.
pub fn plan(plan: &Plan, context: &Context) -> String {
    let mut out = String::new();
    disk(&mut out, plan.disk(), plan.pressure());
    removable(&mut out, plan);
    removals_head(&mut out, plan, !context.refusals.is_empty(), "");
    refusals(&mut out, "a prune would be refused now:", &context.refusals);
    fitted_to_terminal(&out)
}

/// An outcome in at most 23 lines.
pub fn outcome(outcome: &Outcome, plan: Option<&Plan>) -> String {
    let mut out = String::new();
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
    fitted_to_terminal(&out)
}

fn removable(out: &mut String, plan: &Plan) {
    let entries = plan.entries().iter();
    let later = entries.filter(|entry| matches!(entry.verdict(), Verdict::Candidate(_)));
    match later.count() {
        0 => {}
        count => headed(out, HEAD, "removable, but not now:", &images(count)),
    }
}
