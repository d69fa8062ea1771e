//! The metrics of a prune: what was removed, what is kept and why, the disk.

use crate::decide::plan::{Entry, Plan, Pressure, Verdict};
use crate::guard::RefusalKind;
use crate::model::Bytes;
use crate::model::conditions::Disk;
use crate::policy::Policy;
use crate::prune::outcome::{How, Outcome};
use crate::report::metrics::page::{Page, PreviousFile};
use crate::report::metrics::run::{ERROR, Ran, refused, refused_since, run};

pub const PREFIX: &str = "secateur_prune_";

/// The whole file. `done` is `None` if the run ended without a report, `plan` if it ended
/// before its survey.
pub fn text(
    ran: &Ran<'_>,
    done: Option<(&Outcome, &Policy)>,
    plan: Option<&Plan>,
    previous: &PreviousFile,
) -> String {
    let mut page = Page::new(PREFIX);
    let hows = [How::Pruned, How::Nothing, How::Refused, How::Stopped];
    let results: Vec<&str> = hows.map(How::name).into_iter().chain([ERROR]).collect();
    run(&mut page, ran, &results, previous);
    if done.is_some() {
        refused(&mut page, ran, RefusalKind::of_prune());
    }
    refused_since(&mut page, ran, plan.is_some(), previous);
    if let Some((outcome, policy)) = done {
        outcome_images(&mut page, outcome);
        if let Some(plan) = plan {
            planned(&mut page, plan);
        }
        // If the driver keeps images elsewhere, this file system tells nothing about them.
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

fn outcome_images(page: &mut Page, outcome: &Outcome) {
    let counts = [
        ("removed", outcome.removed.len()),
        ("skipped", outcome.skipped.len()),
        ("failed", outcome.failed.len()),
        ("unconfirmed", outcome.unconfirmed.len()),
        ("collateral", outcome.lost.len()),
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
        let is = move |entry: &&Entry| entry.verdict.name() == word;
        let these = plan.entries().iter().filter(is);
        let bytes: Bytes = these.clone().map(|entry| entry.reclaimable).sum();
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
