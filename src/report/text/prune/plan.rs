//! What a prune would do.

use std::fmt::Write as _;

use crate::decide::Alternative;
use crate::decide::plan::Plan;
use crate::report::context::Context;
use crate::report::text::header::{engine_and_policy, refusals};
use crate::report::text::layout::{HEAD, blank_after, headed};
use crate::report::text::prune::closing::{closing, short_of_target};
use crate::report::text::prune::disk::disk;
use crate::report::text::prune::largest::largest;
use crate::report::text::prune::lists::{held_back, kept, table};
use crate::report::wording::images;

/// How many of the largest images a plan shows without --top.
const TOP: usize = 10;

/// What a plan's report shows beside the plan.
#[derive(Debug, Default)]
pub struct Shown {
    pub verbose: bool,
    /// How many of the largest images that stay are shown; without it, [`TOP`] of them
    /// where what may go is not enough.
    pub top: Option<usize>,
    /// Told where what may go is not enough.
    pub alternatives: Vec<Alternative>,
}

/// The whole report of a plan.
pub fn plan(plan: &Plan, context: &Context, shown: &Shown) -> String {
    let verbose = shown.verbose;
    let mut out = String::new();
    refusals(&mut out, "a prune would be refused now:", &context.refusals);
    blank_after(&mut out);
    engine_and_policy(&mut out, plan.engine(), context);
    disk(&mut out, plan.disk(), plan.pressure());
    out.push('\n');
    removals_head(&mut out, plan, !context.refusals.is_empty(), ":");
    if plan.removals().len() > 0 {
        let ids = plan.removals().map(|entry| &entry.image().id);
        table(&mut out, plan, ids, verbose);
    }
    held_back(&mut out, plan);
    kept(&mut out, plan);
    let short = short_of_target(plan, plan.frees(), "may be removed now");
    let usual = if short.is_some() { TOP } else { 0 };
    largest(&mut out, plan, shown.top.unwrap_or(usual));
    let helps = short.as_ref().map(|_| &*shown.alternatives);
    closing(&mut out, plan, short, helps, verbose);
    out
}

/// How many images a prune would remove. `end` is ":" where a list follows.
pub(crate) fn removals_head(out: &mut String, plan: &Plan, refused: bool, end: &str) {
    let (count, all) = (plan.removals().len(), plan.entries().len());
    if count == 0 {
        let here = format!("({} here)", images(all));
        headed(out, HEAD, "would remove nothing", &here);
        return;
    }
    let least = plan.frees();
    let head = format!("would remove {count} of {}", images(all));
    let but = if refused { ", were it not refused" } else { "" };
    let _ = writeln!(out, "{HEAD}{head}{HEAD:#}, at least {least}{but}{end}");
}
