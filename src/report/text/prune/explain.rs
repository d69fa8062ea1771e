//! --explain: what an image is, what becomes of it and why, and every date that
//! says so.

use crate::decide::plan::{Entry, Plan, Verdict};
use crate::memory::ledger::Ledger;
use crate::model::time::{ago, minute};
use crate::report::text::layout::wrapped;
use crate::report::text::prune::lists::stays;

/// One paragraph for each of these images of the plan.
pub fn explain(plan: &Plan, ledger: &Ledger, entries: &[&Entry]) -> String {
    let explained = entries.iter().map(|entry| {
        let mut out = String::new();
        image(&mut out, entry);
        verdict(&mut out, plan, entry);
        dates(&mut out, ledger, entry);
        out
    });
    explained.collect::<Vec<_>>().join("\n")
}

fn image(out: &mut String, entry: &Entry) {
    let image = entry.image();
    wrapped(out, "image   ", image.id.as_str());
    for name in image.tags.iter().chain(&image.digests) {
        wrapped(out, "name    ", &name.familiar());
    }
    for name in &image.ours {
        wrapped(
            out,
            "name    ",
            &format!("{name} (by secateur, left by a run that was cut off)"),
        );
    }
    wrapped(out, "class   ", entry.class().name());
    let size = match image.size.known() {
        Some(size) => format!("{size}; removing it frees at least {}", entry.reclaimable()),
        None => "unknown".to_owned(),
    };
    wrapped(out, "size    ", &size);
}

fn verdict(out: &mut String, plan: &Plan, entry: &Entry) {
    let verdict = match entry.verdict() {
        Verdict::Keep => "kept".to_owned(),
        Verdict::Candidate(why) => format!("removable, but {}: {}", stays(why), why.message()),
        Verdict::Remove => "the next prune removes it, unless it is refused".to_owned(),
    };
    wrapped(out, "verdict ", &verdict);
    for reason in entry.reasons() {
        wrapped(
            out,
            "because ",
            &format!("{}: {}", reason.kind().name(), reason.message()),
        );
    }
    if let Some(unneeded) = entry.unneeded() {
        wrapped(
            out,
            "age     ",
            &format!(
                "unneeded for {}, since {} ({})",
                ago(unneeded.since, plan.now()),
                minute(unneeded.since),
                unneeded.evidence.words()
            ),
        );
    }
}

fn dates(out: &mut String, ledger: &Ledger, entry: &Entry) {
    let seen = ledger.sighting(&entry.image().id);
    let dates = &entry.image().dates;
    let mut line = |lead: &str, at: Option<_>| {
        if let Some(at) = at {
            wrapped(out, lead, &minute(at));
        }
    };
    line("built   ", dates.created);
    line("stored  ", dates.stored);
    line("seen    first ", seen.map(|seen| seen.first_seen));
    line("in use  last ", seen.and_then(|seen| seen.last_used));
    line(
        "digest  asked for, last ",
        seen.and_then(|seen| seen.asked_by_digest),
    );
    line(
        "base    of another, last ",
        seen.and_then(|seen| seen.built_on),
    );
    for (tag, last) in seen.into_iter().flat_map(|seen| &seen.tags) {
        wrapped(
            out,
            "had tag ",
            &format!("{}, last {}", tag.familiar(), minute(*last)),
        );
    }
    for (tag, last) in seen.into_iter().flat_map(|seen| &seen.perhaps) {
        let text = format!("had tag {}, until {}", tag.familiar(), minute(*last));
        wrapped(out, "perhaps ", &text);
    }
}
