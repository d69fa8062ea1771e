//! How the reports of plan and outcome end: what holds the space, when the next
//! image may go, and with --verbose every image.

use crate::decide::plan::{HeldBack, Plan, Pressure, Verdict};
use crate::model::Bytes;
use crate::model::time::{ago, next_minute};
use crate::report::text::layout::wrapped;
use crate::report::text::prune::lists::every_image;

pub(crate) fn closing(out: &mut String, plan: &Plan, short: Option<String>, verbose: bool) {
    let next = plan.next_ready();
    if short.is_some() || next.is_some() {
        out.push('\n');
    }
    if let Some(short) = short {
        wrapped(out, "note    ", &short);
    }
    if let Some(at) = next {
        let text = format!(
            "{} (in {}): the next image becomes old enough",
            next_minute(at),
            ago(plan.now(), at)
        );
        wrapped(out, "next    ", &text);
    }
    if verbose {
        every_image(out, plan);
    }
}

/// What holds the space, where the disk asks for more than `frees`.
pub(crate) fn short_of_target(plan: &Plan, frees: Bytes, verb: &str) -> Option<String> {
    let Pressure::Asked {
        wanted: Some(wanted),
        ..
    } = plan.pressure()
    else {
        return None;
    };
    if frees >= *wanted {
        return None;
    }
    let later = plan.entries().iter().any(|entry| {
        matches!(
            entry.verdict(),
            Verdict::Candidate(
                HeldBack::MaxImages | HeldBack::NotReviewed | HeldBack::BesideADeploy
            )
        )
    });
    let frees = if frees == Bytes(0) {
        "nothing".to_owned()
    } else {
        frees.to_string()
    };
    let holds = if later {
        "A later run can remove more"
    } else {
        "The rest is held by the images that stay, or by containers, volumes and \
         build cache, which secateur does not touch (docker system df)"
    };
    Some(format!(
        "{wanted} more is needed, and {frees} {verb}. {holds}."
    ))
}
