//! The report of a prune.

use crate::decide::plan::Plan;
use crate::prune::outcome::{Ending, Outcome};
use crate::report::context::Context;
use crate::report::text::header::{engine_and_policy, notes, refusals};
use crate::report::text::layout::{HEAD, LOUD, blank_after};
use crate::report::text::prune::brief::outcome as outcome_in_brief;
use crate::report::text::prune::closing::{closing, short_of_target};
use crate::report::text::prune::lists::{held_back, kept, not_tried, stayed, table};
use crate::report::text::prune::summary::{disk_of, how_it_ended, lost, removed_head};
use crate::report::text::screen::Screen;

/// `plan` is `None` if the run ended before its survey.
pub fn outcome(outcome: &Outcome, plan: Option<&Plan>, context: &Context, verbose: bool) -> String {
    let mut out = Screen::new(context.columns);
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
        out.blank_line();
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
    out.ending_with(|| outcome_in_brief(outcome, plan, context))
}

fn removed(out: &mut Screen, outcome: &Outcome, plan: Option<&Plan>, verbose: bool) {
    removed_head(out, outcome, plan, ":");
    if let Some(plan) = plan.filter(|_| !outcome.removed.is_empty()) {
        let ids = outcome.removed.iter().map(|removed| &removed.id);
        table(out, plan, ids, verbose);
    }
}
