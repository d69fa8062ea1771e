//! The reports of --quiet: they fit a terminal of 24 lines of 80 columns, and end with
//! what matters most. Decides what is left out; the words are those of the whole report.

use crate::decide::plan::{Plan, Verdict};
use crate::prune::outcome::{How, Outcome};
use crate::report::Context;
use crate::report::text::layout::headed;
use crate::report::text::lists::{images, stayed};
use crate::report::text::prune::{
    HEAD, disk, disk_after, how_it_ended, lost, refusals, removals_head, removed_head,
};

/// A terminal has 24 lines, and one of them is the prompt's.
const LINES: usize = 23;

/// What a plan says.
pub fn plan(plan: &Plan, context: &Context) -> String {
    let mut out = String::new();
    disk(&mut out, plan.disk(), plan.pressure());
    removable(&mut out, plan);
    removals_head(&mut out, plan, !context.refusals.is_empty(), "");
    refusals(&mut out, "a prune would be refused now:", &context.refusals);
    fit(&out)
}

/// What a run did.
pub fn outcome(outcome: &Outcome, plan: Option<&Plan>) -> String {
    let mut out = String::new();
    if let Some(plan) = plan {
        if outcome.removed.is_empty() {
            disk(&mut out, plan.disk(), plan.pressure());
        } else {
            disk_after(&mut out, plan.engine(), outcome);
        }
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
    fit(&out)
}

fn removable(out: &mut String, plan: &Plan) {
    let entries = plan.entries().iter();
    let later = entries.filter(|entry| matches!(entry.verdict(), Verdict::Candidate(_)));
    match later.count() {
        0 => {}
        count => headed(out, HEAD, "removable, but not now:", &images(count)),
    }
}

/// The end of a report, for that is what is seen of a long one.
pub(crate) fn fit(report: &str) -> String {
    let lines: Vec<&str> = report.lines().collect();
    let Some(left_out) = lines.len().checked_sub(LINES).filter(|more| *more > 0) else {
        return report.to_owned();
    };
    let mut out = format!("({} more lines without --quiet)\n", left_out + 1);
    for line in &lines[left_out + 1..] {
        out.push_str(line);
        out.push('\n');
    }
    out
}
