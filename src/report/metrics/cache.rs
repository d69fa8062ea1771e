//! The metrics of a verify-cache: promises by status, and when each kind of check was last
//! made.

use crate::cache::findings::Findings;
use crate::cache::promise::ByKind;
use crate::cache::restore::restored::Origin;
use crate::cache::{Check, Kind, State, Status};
use crate::guard::RefusalKind;
use crate::model::Bytes;
use crate::report::metrics::page::{Page, PreviousFile};
use crate::report::metrics::run::{ERROR, Ran, refused, refused_since, run};
use crate::report::wording::count;

pub const PREFIX: &str = "secateur_cache_";

/// As in JSON.
const RESULTS: [&str; 4] = ["held", "broken", "refused", ERROR];

/// The whole file. `findings` is `None` if the run ended without a report.
pub fn text(ran: &Ran<'_>, findings: Option<&Findings>, previous: &PreviousFile) -> String {
    let mut page = Page::new(PREFIX);
    run(&mut page, ran, &RESULTS, previous);
    if findings.is_some() {
        refused(&mut page, ran, RefusalKind::ALL);
    }
    let is_alone = |it: &Findings| {
        let mut refusals = it.refusals.iter();
        !refusals.any(|refusal| refusal.kind() == RefusalKind::OtherRun)
    };
    refused_since(&mut page, ran, findings.is_some_and(is_alone), previous);
    let checked_now = findings.filter(|it| it.refusals.is_empty() || it.is_checked());
    if let Some(findings) = checked_now {
        found(&mut page, findings);
    }
    checked(&mut page, ran, checked_now, previous);
    page.done()
}

fn found(page: &mut Page, findings: &Findings) {
    page.gauges(
        "images",
        "Promised images by the worst answer of the last run.",
        "status",
        Status::ALL.map(|status| (status.name(), count(findings, status) as f64)),
    );
    page.gauges(
        "image_states",
        "Promised images by their state in the last run.",
        "state",
        State::ALL.map(|state| (state.name(), findings.in_state(state) as f64)),
    );
    page.gauges(
        "promised_images",
        "Images by who promises them; one that several promise counts for each.",
        "by",
        ByKind::ALL.map(|by| (by.name(), findings.promised_by(by) as f64)),
    );
    if let Some(written) = findings.written() {
        page.gauge(
            "saved_bytes",
            "What the last run wrote into the archive.",
            written.bytes.0 as f64,
        );
        page.gauge(
            "unsaved_images",
            "Promised images that are here and are not in the archive.",
            findings.unsaved() as f64,
        );
    }
    room(page, findings);
    restored(page, findings);
    let mut counts = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| has(findings, *kind)) {
        for status in Status::ALL {
            let is = |check: &&Check| check.kind == kind && check.status == status;
            let count = answers(findings).filter(is).count();
            counts.push(([kind.name(), status.name()], count as f64));
        }
    }
    page.table(
        "checks",
        "Single answers of the last run, of the kinds of check that it made.",
        ["check", "status"],
        counts,
    );
}

fn room(page: &mut Page, findings: &Findings) {
    let Some(room) = &findings.room else { return };
    if let Some(disk) = &room.disk {
        let engine = findings.engine.as_ref();
        let used = engine.and_then(|engine| engine.used_percent(disk));
        page.gauges(
            "disk_used_ratio",
            "How full the file system of the images is, bytes or inodes, whichever is fuller: 0 to 1.",
            "",
            used.map(|used| ("", ratio(used))),
        );
        page.gauge(
            "disk_free_bytes",
            "What is free there for the next deploy.",
            disk.free().0 as f64,
        );
    }
    page.gauge(
        "room_warn_ratio",
        "From how full on there is little room (room.warn_percent).",
        ratio(room.limits.warn_percent),
    );
    page.gauge(
        "room_crit_ratio",
        "From how full on there is none, and the cache is broken (room.crit_percent).",
        ratio(room.limits.crit_percent),
    );
    page.gauges(
        "largest_image_bytes",
        "The largest promised image that is here.",
        "",
        room.largest.iter().map(|it| ("", it.size.0 as f64)),
    );
}

fn restored(page: &mut Page, findings: &Findings) {
    let of = |from: Origin| findings.restored().filter(move |it| it.from == from);
    page.gauges(
        "restored_images",
        "Images that the last run brought back, by where from; here: only the tag was set.",
        "from",
        Origin::ALL.map(|from| (from.name(), of(from).count() as f64)),
    );
    page.gauges(
        "restored_bytes",
        "What the last run brought, as it came.",
        "from",
        Origin::ALL.map(|from| {
            let bytes: Bytes = of(from).map(|it| it.bytes).sum();
            (from.name(), bytes.0 as f64)
        }),
    );
    page.gauge(
        "not_restored_images",
        "Images that --restore left out in the last run.",
        findings.left_out() as f64,
    );
}

fn ratio(percent: f64) -> f64 {
    (percent * 100.0).round() / 10_000.0
}

/// A check that runs once a week keeps its date in the runs between.
fn checked(page: &mut Page, ran: &Ran<'_>, findings: Option<&Findings>, previous: &PreviousFile) {
    let name = "checked_timestamp_seconds";
    let times = Kind::ALL.into_iter().filter_map(|kind| {
        let before = previous.moment(PREFIX, name, Some(("check", kind.name())), ran.ended());
        let at = if findings.is_some_and(|findings| has(findings, kind)) {
            Some(ran.latest(before))
        } else {
            before
        };
        Some((kind.name(), at?))
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

/// All checks. Those of each image include the store's, which is added only if no image is
/// promised.
fn answers(findings: &Findings) -> impl Iterator<Item = &Check> {
    let alone = findings.store.iter().filter(|_| findings.images.is_empty());
    findings
        .images
        .iter()
        .flat_map(|line| &line.checks)
        .chain(alone)
        .chain(findings.room.iter().map(|room| &room.check))
}
