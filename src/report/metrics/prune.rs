//! The numbers of a prune: what went, what stays and why, the disk.

use crate::decide::plan::{Entry, Plan, Pressure, Verdict};
use crate::model::conditions::Disk;
use crate::policy::Policy;
use crate::prune::outcome::Outcome;
use crate::report::metrics::page::{Before, Page};
use crate::report::metrics::{ERROR, Ran, refused, refused_since, run};

/// What every name of these begins with.
pub const PREFIX: &str = "secateur_prune_";

/// As JSON has them.
const RESULTS: [&str; 5] = ["pruned", "nothing", "refused", "stopped", ERROR];

/// The whole file. Where the run ended before its work there is no outcome, and
/// where no look at the images was taken, no plan.
pub fn text(
    ran: &Ran<'_>,
    done: Option<(&Outcome, &Policy)>,
    plan: Option<&Plan>,
    before: &Before,
) -> String {
    let mut page = Page::new(PREFIX);
    run(&mut page, ran, &RESULTS, before);
    if done.is_some() {
        refused(&mut page, ran);
    }
    refused_since(&mut page, ran, plan.is_some(), before);
    if let Some((outcome, policy)) = done {
        came(&mut page, outcome);
        if let Some(plan) = plan {
            planned(&mut page, plan);
        }
        // A driver that keeps images elsewhere has no figures of this file system.
        let counts =
            |disk: &&Disk| plan.is_none_or(|plan| plan.engine().used_percent(disk).is_some());
        let disk = outcome.disk_after.known();
        let disk = disk.or(plan.and_then(|plan| plan.disk().known()));
        disk_used(&mut page, disk.filter(counts));
        for (name, help, percent) in [
            (
                "disk_start_above_ratio",
                "The policy's disk.start_above_percent: removing starts above it.",
                policy.disk.start_above_percent,
            ),
            (
                "disk_stop_below_ratio",
                "The policy's disk.stop_below_percent: removing stops below it.",
                policy.disk.stop_below_percent,
            ),
        ] {
            page.gauge(name, help, percent / 100.0);
        }
    }
    page.done()
}

fn came(page: &mut Page, outcome: &Outcome) {
    let counts = [
        ("removed", outcome.removed.len()),
        ("skipped", outcome.skipped.len()),
        ("failed", outcome.failed.len()),
        ("unconfirmed", outcome.unconfirmed.len()),
        ("collateral", outcome.collateral.len()),
    ];
    page.gauges(
        "outcome_images",
        "Images by what became of them in the last run; collateral went and should not have.",
        "outcome",
        counts.map(|(word, count)| (word, count as f64)),
    );
    page.gauges(
        "reclaimed_bytes",
        "What the last run made free, measured on the disk.",
        "",
        outcome.reclaimed().map(|bytes| ("", bytes.0 as f64)),
    );
}

fn planned(page: &mut Page, plan: &Plan) {
    let of = |word: &'static str| {
        let is = move |entry: &&Entry| entry.verdict().name() == word;
        let these = plan.entries().iter().filter(is);
        let bytes: crate::model::Bytes = these.clone().map(Entry::reclaimable).sum();
        (word, these.count() as f64, bytes.0 as f64)
    };
    let words = ["keep", "candidate", "remove"].map(of);
    page.gauges(
        "images",
        "Images by what the last run planned: candidates may go and need not.",
        "verdict",
        words.map(|(word, count, _)| (word, count)),
    );
    page.gauges(
        "reclaimable_bytes",
        "What removing them would free at least.",
        "verdict",
        words
            .into_iter()
            .filter(|(word, ..)| *word != Verdict::Keep.name())
            .map(|(word, _, bytes)| (word, bytes)),
    );
    let kept = plan.kept();
    page.gauges(
        "kept_images",
        "Images that stay, each counted under the first of its reasons.",
        "reason",
        kept.map(|(reason, count, _)| (reason.name(), count as f64)),
    );
    page.gauges(
        "kept_bytes",
        "Their sizes; layers that they share are counted for each.",
        "reason",
        kept.map(|(reason, _, bytes)| (reason.name(), bytes.0 as f64)),
    );
    page.gauges(
        "next_candidate_timestamp_seconds",
        "When the next image becomes a candidate by its age.",
        "",
        plan.next_ready().map(|at| ("", at.timestamp() as f64)),
    );
    let wanted = match plan.pressure() {
        Pressure::Asked { .. } => Some(1.0),
        Pressure::Room { .. } => Some(0.0),
        Pressure::Unknown(_) => None,
    };
    page.gauges(
        "disk_wants_space",
        "Whether the disk asked for space when the last run looked.",
        "",
        wanted.map(|wanted| ("", wanted)),
    );
}

fn disk_used(page: &mut Page, disk: Option<&Disk>) {
    let Some(disk) = disk else { return };
    page.gauge(
        "disk_used_bytes",
        "What is taken of the file system that holds the images, at the end of the last run.",
        disk.bytes.used as f64,
    );
    page.gauge(
        "disk_size_bytes",
        "Its size, as df counts: without what is set aside for root.",
        disk.bytes.used as f64 + disk.bytes.available as f64,
    );
    page.gauge(
        "disk_used_ratio",
        "How full it is, bytes or inodes, whichever is fuller: 0 to 1.",
        (disk.used_percent() * 100.0).round() / 10_000.0,
    );
}
