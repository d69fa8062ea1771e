//! One image's whole story: what it is, what wants it, since when nothing
//! does, what becomes of it.

use std::fmt::Write as _;

use super::text::wrapped;
use crate::ledger::Ledger;
use crate::plan::{Entry, Plan, Verdict, ago, minute};

/// Tells it for each image that is meant.
pub fn explain(plan: &Plan, ledger: &Ledger, entries: &[&Entry]) -> String {
    let mut out = String::new();
    for entry in entries {
        one(&mut out, plan, ledger, entry);
    }
    out
}

fn one(out: &mut String, plan: &Plan, ledger: &Ledger, entry: &Entry) {
    let image = entry.image();
    let _ = writeln!(out, "image      {}", image.id);
    for name in image.tags.iter().chain(&image.digests) {
        let _ = writeln!(out, "name       {}", name.familiar());
    }
    for name in &image.ours {
        let _ = writeln!(
            out,
            "name       {name} (given by secateur, left by a run that was cut off)"
        );
    }
    let size = image
        .size
        .known()
        .map_or_else(|| "unknown".to_owned(), ToString::to_string);
    let _ = writeln!(
        out,
        "size       {size}, removing it frees at least {}",
        entry.reclaimable()
    );
    let _ = writeln!(out, "class      {}", entry.class().name());
    if let Some(seen) = ledger.sighting(&image.id) {
        let _ = writeln!(out, "first seen {}", minute(seen.first_seen));
        for (tag, last) in &seen.tags {
            let _ = writeln!(
                out,
                "had tag    {}, last seen {}",
                tag.familiar(),
                minute(*last)
            );
        }
        if let Some(used) = seen.last_used {
            let _ = writeln!(out, "used       last seen {}", minute(used));
        }
    }
    if let Some(created) = image.dates.created {
        let _ = writeln!(out, "built      {}", minute(created));
    }
    if let Some(stored) = image.dates.stored {
        let _ = writeln!(out, "stored     {}", minute(stored));
    }
    if let Some(unneeded) = entry.unneeded() {
        let lead = "unneeded   ";
        let words = unneeded.evidence.words();
        wrapped(
            out,
            lead,
            &format!(
                "since {}, {} ago ({words})",
                minute(unneeded.since),
                ago(unneeded.since, plan.now())
            ),
        );
    }
    let verdict = match entry.verdict() {
        Verdict::Keep => "kept".to_owned(),
        Verdict::Candidate(why) => format!("could go, but need not: {}", why.message()),
        Verdict::Remove => "would be removed by a prune now".to_owned(),
    };
    wrapped(out, "verdict    ", &verdict);
    for reason in entry.reasons() {
        wrapped(
            out,
            "because    ",
            &format!("{}: {}", reason.kind(), reason.message()),
        );
    }
    out.push('\n');
}
