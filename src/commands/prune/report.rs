//! The output of a prune: report, journal entries, metrics.

use crate::cli::{Format, Global};
use crate::commands::output::{Began, log, publish};
use crate::decide::plan::Plan;
use crate::exit::{Exit, Fault};
use crate::host::journald::Priority;
use crate::policy::Policy;
use crate::prune::outcome::Outcome;
use crate::report::metrics::PreviousFile;
use crate::report::{Context, journald, json, metrics, text};

/// A run that has a report.
pub(crate) struct Done<'a> {
    pub(crate) outcome: Outcome,
    /// `None` if the run ended before its survey.
    pub(crate) plan: Option<Plan>,
    pub(crate) policy: &'a Policy,
    pub(crate) context: Context,
}

pub(crate) fn report(global: &Global, done: &Done<'_>) -> Result<Exit, Fault> {
    let (outcome, plan, context) = (&done.outcome, done.plan.as_ref(), &done.context);
    let text = || match global.format {
        Format::Text if global.quiet => text::prune::outcome_in_brief(outcome, plan, context),
        Format::Text => text::prune::outcome(outcome, plan, context, global.verbose),
        Format::Json => json::prune::outcome(outcome, plan.map(Plan::engine), context),
    };
    let told = publish(global, text, || {
        journald::prune::outcome(outcome, plan, context)
    });
    // The result for the images matters more than a report that cannot be written.
    match (told, outcome.exit()) {
        (Err(fault), Exit::Done) => Err(fault),
        (Err(fault), exit) => {
            log(Priority::Error, &format!("error: {}", fault.message));
            Ok(exit)
        }
        (Ok(_), exit) => Ok(exit),
    }
}

pub(crate) fn metrics_text(
    done: &Result<Done<'_>, Fault>,
    exit: &Result<Exit, Fault>,
    ran: Began,
    previous: &PreviousFile,
) -> String {
    let done = done.as_ref().ok();
    let ran = ran.ended(
        exit,
        done.map_or(metrics::ERROR, |done| done.outcome.result()),
        done.map_or(&[], |done| &done.outcome.refusals),
    );
    metrics::prune::text(
        &ran,
        done.map(|done| (&done.outcome, done.policy)),
        done.and_then(|done| done.plan.as_ref()),
        previous,
    )
}
