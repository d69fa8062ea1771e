//! --explain: an image, the decision about it with its reasons, and every date that counts.

use crate::decide::plan::{Entry, KeepKind, KeepReason, Plan, Verdict};
use crate::memory::ledger::Ledger;
use crate::model::time::{ago, minute, next_minute, span};
use crate::report::text::layout::wrapped;
use crate::report::text::prune::lists::stays;
use crate::report::text::screen::Screen;

/// One paragraph for each image.
pub fn explain(plan: &Plan, ledger: &Ledger, entries: &[&Entry], columns: usize) -> String {
    let explained = entries.iter().map(|entry| {
        let mut out = Screen::new(columns);
        image(&mut out, entry);
        verdict(&mut out, plan, entry);
        way_to_go(&mut out, plan, entry);
        dates(&mut out, ledger, entry);
        out.whole()
    });
    explained.collect::<Vec<_>>().join("\n")
}

fn image(out: &mut Screen, entry: &Entry) {
    let image = &entry.image;
    wrapped(out, "image   ", image.id.as_str());
    for name in image.names() {
        wrapped(out, "name    ", &name.familiar());
    }
    for name in &image.ours {
        wrapped(
            out,
            "name    ",
            &format!("{name} (by secateur, left by a run that was cut off)"),
        );
    }
    wrapped(out, "class   ", entry.class.name());
    let size = match image.size.known() {
        Some(size) => format!("{size}; removing it frees at least {}", entry.reclaimable),
        None => "unknown".to_owned(),
    };
    wrapped(out, "size    ", &size);
}

fn verdict(out: &mut Screen, plan: &Plan, entry: &Entry) {
    let verdict = match entry.verdict {
        Verdict::Keep => "kept".to_owned(),
        Verdict::Candidate(why) => format!("removable, but {}: {}", stays(why), why.message()),
        Verdict::Remove => "the next prune removes it, unless it is refused".to_owned(),
    };
    wrapped(out, "verdict ", &verdict);
    for reason in &entry.reasons {
        wrapped(
            out,
            "because ",
            &format!("{}: {}", reason.kind().name(), reason.message()),
        );
    }
    if let Some(unneeded) = entry.unneeded {
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

/// What would have to change for a kept image to go, and when it could.
fn way_to_go(out: &mut Screen, plan: &Plan, entry: &Entry) {
    if entry.verdict != Verdict::Keep {
        return;
    }
    let mut conditions: Vec<&str> = Vec::new();
    for reason in &entry.reasons {
        if let Some(condition) = condition(reason.kind()).filter(|it| !conditions.contains(it)) {
            conditions.push(condition);
        }
    }
    let conditions = conditions.join(", and ");
    let passed = entry.reasons.iter().filter_map(KeepReason::ready_at);
    let wanted = entry.reasons.iter().any(|it| is_wanted(it.kind()));
    let text = match (conditions.as_str(), passed.max()) {
        ("", None) => return,
        ("", Some(at)) => {
            let (when, left) = (next_minute(at), span(at - plan.now()));
            format!("from {when} on (in {left}), unless something wants it until then")
        }
        (conditions, _) if wanted => {
            format!("once {conditions}; then it must be unneeded for its minimum age")
        }
        (conditions, Some(at)) => format!("once {conditions}; not before {}", next_minute(at)),
        (conditions, None) => format!("once {conditions}"),
    };
    wrapped(out, "goes    ", &text);
}

/// Whether the image counts as needed for as long as this reason holds.
fn is_wanted(kind: KeepKind) -> bool {
    match kind {
        KeepKind::Tagged | KeepKind::InUse | KeepKind::ImageMount | KeepKind::Service => true,
        KeepKind::Parent
        | KeepKind::KeepImage
        | KeepKind::KeepLabel
        | KeepKind::Previous
        | KeepKind::TooYoung
        | KeepKind::FirstSeen
        | KeepKind::AgeUnknown
        | KeepKind::DigestPinned
        | KeepKind::Incomplete => false,
    }
}

/// What ends a reason that does not end by itself.
fn condition(kind: KeepKind) -> Option<&'static str> {
    match kind {
        KeepKind::Tagged => Some("it has no tag (docker rmi NAME drops one)"),
        KeepKind::InUse => Some("no container is of it"),
        KeepKind::ImageMount => Some("no container mounts it"),
        KeepKind::Service => Some("no service or task names it"),
        KeepKind::Parent => Some("no image is built on it"),
        KeepKind::KeepImage => Some("keep.images covers none of its names"),
        KeepKind::KeepLabel => Some("keep.labels covers none of its labels"),
        KeepKind::Previous => Some("keep.previous newer ones had its tag"),
        KeepKind::TooYoung | KeepKind::FirstSeen => None,
        KeepKind::AgeUnknown => Some("its age is known"),
        KeepKind::DigestPinned => Some("age.digest_pinned lets it go"),
        KeepKind::Incomplete => Some("the engine tells more of it"),
    }
}

fn dates(out: &mut Screen, ledger: &Ledger, entry: &Entry) {
    let seen = ledger.sighting(&entry.image.id);
    let dates = &entry.image.dates;
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
