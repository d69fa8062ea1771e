//! The numbers of a verify-cache: how many promises are held, and when each
//! kind of check was last made.

use crate::cache::outcome::Findings;
use crate::cache::{Check, Kind, Status};
use crate::report::metrics::page::{Before, Page};
use crate::report::metrics::{ERROR, Ran, refused, refused_since, run};

/// What every name of these begins with.
pub const PREFIX: &str = "secateur_cache_";

/// As JSON has them.
const RESULTS: [&str; 4] = ["held", "broken", "refused", ERROR];

/// The whole file. Where the run ended before its work there are no findings.
pub fn text(ran: &Ran<'_>, findings: Option<&Findings>, before: &Before) -> String {
    let mut page = Page::new(PREFIX);
    run(&mut page, ran, &RESULTS, before);
    if findings.is_some() {
        refused(&mut page, ran);
    }
    refused_since(&mut page, ran, findings.is_some(), before);
    let looked = findings.filter(|findings| findings.refusals.is_empty());
    if let Some(findings) = looked {
        found(&mut page, findings);
    }
    checked(&mut page, ran, looked, before);
    page.done()
}

fn found(page: &mut Page, findings: &Findings) {
    let images = |status| {
        let these = findings
            .images
            .iter()
            .filter(|line| line.status() == status);
        these.count() as f64
    };
    page.gauges(
        "images",
        "Promised images by the worst answer of the last run.",
        "status",
        Status::ALL.map(|status| (status.word(), images(status))),
    );
    let mut counts = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| has(findings, *kind)) {
        for status in Status::ALL {
            let is = |check: &&Check| check.kind == kind && check.status == status;
            let count = answers(findings).filter(is).count();
            counts.push(([kind.word(), status.word()], count as f64));
        }
    }
    page.table(
        "checks",
        "Single answers of the last run, of the kinds of check that it made.",
        ["check", "status"],
        counts,
    );
}

/// A check that runs once a week keeps its date in the runs between.
fn checked(page: &mut Page, ran: &Ran<'_>, findings: Option<&Findings>, before: &Before) {
    let now = ran.began.timestamp() as f64;
    let name = "checked_timestamp_seconds";
    let times = Kind::ALL.into_iter().filter_map(|kind| {
        let at = if findings.is_some_and(|findings| has(findings, kind)) {
            Some(now)
        } else {
            before.moment(PREFIX, name, Some(("check", kind.word())), now)
        };
        Some((kind.word(), at?))
    });
    page.gauges(
        name,
        "When the last run began that made this kind of check.",
        "check",
        times,
    );
}

fn has(findings: &Findings, kind: Kind) -> bool {
    answers(findings).any(|check| check.kind == kind)
}

/// Every image's answers; the store's own is among them but where no image is
/// promised.
fn answers(findings: &Findings) -> impl Iterator<Item = &Check> {
    let alone = findings.store.iter().filter(|_| findings.images.is_empty());
    findings
        .images
        .iter()
        .flat_map(|line| &line.checks)
        .chain(alone)
}
