//! The report of a plan.

use crate::decide::Alternative;
use crate::decide::plan::Plan;
use crate::policy::Promised;
use crate::report::context::Context;
use crate::report::text::header::{engine_and_policy, refusals};
use crate::report::text::layout::blank_after;
use crate::report::text::prune::brief::plan as plan_in_brief;
use crate::report::text::prune::closing::{closing, short_of_target};
use crate::report::text::prune::disk::disk;
use crate::report::text::prune::largest::largest;
use crate::report::text::prune::lists::{held_back, kept, table};
use crate::report::text::prune::summary::removals_head;
use crate::report::text::screen::Screen;

/// Largest images that a plan shows without --top.
const TOP: usize = 10;

/// Options and additions of a plan's report.
#[derive(Debug, Default)]
pub struct Shown {
    pub verbose: bool,
    /// How many of the largest images that stay are shown. `None`: [`TOP`] of them, and only if
    /// the removable ones are not enough.
    pub top: Option<usize>,
    /// Shown if the removable images are not enough.
    pub alternatives: Vec<Alternative>,
    /// No promised image is named as one that a person may remove.
    pub promised: Promised,
}

pub fn plan(plan: &Plan, context: &Context, shown: &Shown) -> String {
    let verbose = shown.verbose;
    let mut out = Screen::new(context.columns);
    refusals(&mut out, "a prune would be refused now:", &context.refusals);
    blank_after(&mut out);
    engine_and_policy(&mut out, plan.engine(), context);
    disk(&mut out, plan);
    out.blank_line();
    removals_head(&mut out, plan, !context.refusals.is_empty(), ":");
    if plan.removals().len() > 0 {
        let ids = plan.removals().map(|entry| &entry.image.id);
        table(&mut out, plan, ids, verbose);
    }
    held_back(&mut out, plan);
    kept(&mut out, plan);
    let short = short_of_target(plan, plan.frees(), "may be removed now");
    let usual = if short.is_some() { TOP } else { 0 };
    let count = shown.top.unwrap_or(usual);
    largest(&mut out, plan, count, &shown.promised);
    let helps = short.as_ref().map(|_| &*shown.alternatives);
    closing(&mut out, plan, short, helps, verbose);
    out.ending_with(|| plan_in_brief(plan, context))
}
