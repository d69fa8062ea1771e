//! The end of the reports of plan and outcome: what holds the space, when the next image may
//! go, and with --verbose every image.

use crate::decide::plan::{HeldBack, Plan, Verdict};
use crate::decide::{Alternative, Setting};
use crate::model::Bytes;
use crate::model::time::{ago, next_minute};
use crate::report::text::layout::wrapped;
use crate::report::text::prune::lists::every_image;
use crate::report::text::screen::Screen;
use crate::report::wording::images;

/// `helps`: what else would free space; `None` for an outcome.
pub(crate) fn closing(
    out: &mut Screen,
    plan: &Plan,
    short: Option<String>,
    helps: Option<&[Alternative]>,
    verbose: bool,
) {
    let (next, is_short) = (plan.next_ready(), short.is_some());
    if short.is_some() || next.is_some() {
        out.blank_line();
    }
    if let Some(short) = short {
        wrapped(out, "note    ", &short);
    }
    if let Some(alternatives) = helps {
        for alternative in alternatives {
            wrapped(out, "helps   ", &words(alternative));
        }
        let builds = "docker builder prune: the build cache. The next builds take longer.";
        wrapped(out, "helps   ", builds);
    } else if is_short {
        let more = "secateur plan: the largest images that stay, and what else would help.";
        wrapped(out, "helps   ", more);
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

/// What a setting would free, and its risk.
fn words(alternative: &Alternative) -> String {
    let (setting, risk) = match alternative.setting {
        Setting::EngineDates => (
            "secateur prune --trust-engine-dates",
            "a build that was replaced a minute ago may count as old",
        ),
        Setting::DigestPinned => (
            "age.digest_pinned as short as age.min_age",
            "what is deployed by digest has to be fetched again",
        ),
    };
    let (frees, count) = (alternative.frees, images(alternative.images));
    format!("{setting}: up to {frees} of {count}. Risk: {risk}.")
}

/// What holds the space, if the disk needs more than `frees`.
pub(crate) fn short_of_target(plan: &Plan, frees: Bytes, verb: &str) -> Option<String> {
    let wanted = plan.wants_more_than(frees)?;
    let later = plan.entries().iter().any(|entry| {
        matches!(
            entry.verdict,
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
