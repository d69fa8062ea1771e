//! Lists and counts of images: what goes, what stayed in a run and why, what is kept and for
//! which reason. A long list is cut, with a note.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anstyle::Style;

use crate::decide::plan::{Entry, HeldBack, KeepKind, Plan, Verdict};
use crate::model::reference::Reference;
use crate::model::time::{ago, minute};
use crate::model::{Bytes, ImageId};
use crate::prune::outcome::{Ending, Outcome, Stayed};
use crate::report::text::layout::{HEAD, fitted, hanging, headed, wrapped};
use crate::report::text::screen::Screen;
use crate::report::wording::images;

/// Images that a list shows without --verbose.
const SHOWN: usize = 20;

/// The fewest columns for a table's last one, the name.
const NAME: usize = 25;

/// One line for each image.
pub(crate) fn table<'a>(
    out: &mut Screen,
    plan: &Plan,
    ids: impl ExactSizeIterator<Item = &'a ImageId>,
    verbose: bool,
) {
    let total = ids.len();
    let shown = if verbose { total } else { SHOWN };
    let start = |id: &str, class: &str, least: &str, age: &str| {
        format!("  {id:<12}  {class:<13}  {least:>9}  {age:>11}  ")
    };
    let head = start("IMAGE", "CLASS", "AT LEAST", "UNNEEDED");
    row(out, &head, |_| "NAME".to_owned());
    for entry in ids.take(shown).filter_map(|id| plan.entry(id)) {
        let age = entry.unneeded.map(|u| ago(u.since, plan.now()));
        let start = start(
            entry.image.id.short(),
            entry.class.name(),
            &entry.reclaimable.to_string(),
            &age.unwrap_or_default(),
        );
        row(out, &start, |room| name(entry, room));
    }
    more(out, total, shown);
}

/// A table's row, given the columns for its name. On a narrow screen the name has a line
/// of its own.
pub(crate) fn row(out: &mut Screen, start: &str, name: impl FnOnce(usize) -> String) {
    const INDENT: usize = 4;
    let room = out.columns().saturating_sub(start.chars().count());
    let line = if room < NAME {
        let name = name(out.columns() - INDENT);
        format!("{}\n{:INDENT$}{name}", start.trim_end(), "")
    } else {
        format!("{start}{}", name(room))
    };
    let _ = writeln!(out, "{}", line.trim_end());
}

fn more(out: &mut Screen, total: usize, shown: usize) {
    if total > shown {
        let _ = writeln!(out, "  ... and {} more (-v shows all)", total - shown);
    }
}

/// One name: a tag, else the last one that it had, else a digest reference without its digits,
/// because the id is beside it.
pub(crate) fn name(entry: &Entry, room: usize) -> String {
    let image = &entry.image;
    if let Some(tag) = image.tags.first() {
        return fitted(&tag.familiar(), room);
    }
    if let Some(tag) = entry.had_tags.first() {
        return format!("was {}", fitted(&tag.familiar(), room - "was ".len()));
    }
    let name = image.digests.first().map(Reference::familiar);
    let repository = name.as_deref().and_then(|name| name.split_once('@'));
    let name = repository.map_or("(no name)".to_owned(), |(name, _)| format!("{name}@…"));
    fitted(&name, room)
}

/// Images that stayed, grouped by why, in the order of the first of each group.
pub(crate) fn stayed(out: &mut Screen, style: Style, word: &str, all: &[Stayed], verbose: bool) {
    if all.is_empty() {
        return;
    }
    let _ = writeln!(out, "{style}{word}:{style:#} {}", images(all.len()));
    let shown = if verbose { all.len() } else { SHOWN };
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for one in all.iter().take(shown) {
        match groups.iter_mut().find(|(why, _)| *why == one.why) {
            Some((_, ids)) => ids.push(one.id.short()),
            None => groups.push((&one.why, vec![one.id.short()])),
        }
    }
    for (why, ids) in groups {
        if let [id] = ids[..] {
            hanging(out, &format!("  {id} "), 6, why);
        } else {
            wrapped(out, "  ", &format!("{}: {why}", images(ids.len())));
            wrapped(out, "    ", &ids.join(" "));
        }
    }
    more(out, all.len(), shown);
}

/// How many images of the plan were not tried.
pub(crate) fn not_tried(out: &mut Screen, outcome: &Outcome, plan: &Plan) {
    let stayed = [&outcome.skipped, &outcome.failed, &outcome.unconfirmed];
    let tried: BTreeSet<&ImageId> = stayed
        .into_iter()
        .flatten()
        .map(|stayed| &stayed.id)
        .chain(outcome.removed.iter().map(|removed| &removed.id))
        .collect();
    let (tried, left): (Vec<_>, Vec<_>) = plan
        .removals()
        .partition(|entry| tried.contains(&entry.image.id));
    let left = left.len();
    // If none was tried, the line "removed nothing of the … in the plan" says so.
    if left == 0 || tried.is_empty() {
        return;
    }
    let why = if outcome.ending == Ending::Done {
        "the disk has enough"
    } else {
        "the run ended before its turn came"
    };
    headed(
        out,
        HEAD,
        "not tried:",
        &format!("{} of the plan; {why}", images(left)),
    );
}

pub(crate) fn held_back(out: &mut Screen, plan: &Plan) {
    let mut counts: BTreeMap<HeldBack, (usize, Bytes)> = BTreeMap::new();
    for entry in plan.entries() {
        if let Verdict::Candidate(why) = entry.verdict {
            let (count, bytes) = counts.entry(why).or_default();
            *count += 1;
            *bytes = [*bytes, entry.reclaimable].into_iter().sum();
        }
    }
    for (why, (count, bytes)) in counts {
        let text = format!("{}, at least {bytes}; {}", images(count), why.message());
        headed(out, HEAD, &format!("removable, but {}:", stays(why)), &text);
    }
}

/// "not needed now" only where that is known.
pub(crate) fn stays(why: HeldBack) -> &'static str {
    match why {
        HeldBack::DiskHasRoom | HeldBack::TargetReached => "not needed now",
        HeldBack::DiskUnknown
        | HeldBack::MaxImages
        | HeldBack::NotReviewed
        | HeldBack::BesideADeploy => "not in this run",
    }
}

/// Counts every kept image once, under its first reason.
pub(crate) fn kept(out: &mut Screen, plan: &Plan) {
    let counts = plan.kept();
    let total: usize = counts.iter().map(|(_, count, _)| count).sum();
    if total == 0 {
        return;
    }
    let _ = writeln!(
        out,
        "\n{HEAD}kept {}{HEAD:#} (layers they share are counted for each):",
        images(total)
    );
    let _ = writeln!(out, "  {:>6}  {:>9}  FIRST REASON", "IMAGES", "UP TO");
    for (kind, count, bytes) in counts.iter().filter(|(_, count, _)| *count > 0) {
        let bytes = bytes.to_string();
        let start = format!("  {count:>6}  {bytes:>9}  {:<13}  ", kind.name());
        wrapped(out, &start, words(*kind));
    }
}

fn words(kind: KeepKind) -> &'static str {
    match kind {
        KeepKind::Tagged => "has a tag",
        KeepKind::InUse => "a container uses it",
        KeepKind::ImageMount => "mounted into a container",
        KeepKind::Service => "a Swarm service wants it",
        KeepKind::Parent => "another image is built on it",
        KeepKind::KeepImage => "keep.images has its name",
        KeepKind::KeepLabel => "keep.labels has a label of it",
        KeepKind::Previous => "a rollback (keep.previous)",
        KeepKind::TooYoung => "not unneeded for long enough",
        KeepKind::FirstSeen => "seen for the first time: ages begin now",
        KeepKind::AgeUnknown => "no date to go by (-v says why)",
        KeepKind::DigestPinned => "pulled by digest: the next deploy's cache",
        KeepKind::Incomplete => "not enough is known of it (-v says why)",
    }
}

/// Removals first, then candidates, then what is kept.
pub(crate) fn every_image(out: &mut Screen, plan: &Plan) {
    let _ = writeln!(out, "\n{HEAD}every image{HEAD:#}");
    let of = |wanted: fn(&Verdict) -> bool| {
        let all = plan.entries().iter();
        all.filter(move |entry| wanted(&entry.verdict))
    };
    let stay = of(|verdict| matches!(verdict, Verdict::Candidate(_)))
        .chain(of(|verdict| matches!(verdict, Verdict::Keep)));
    for entry in plan.removals().chain(stay) {
        let (id, verdict) = (entry.image.id.short(), entry.verdict.name());
        let class = entry.class.name();
        let start = format!("  {id}  {verdict:<9}  {class:<13}  ");
        row(out, &start, |room| name(entry, room));
        if let Some(unneeded) = entry.unneeded.filter(|_| entry.reasons.is_empty()) {
            let (since, words) = (unneeded.since, unneeded.evidence.words());
            let text = format!("unneeded since {} ({words})", minute(since));
            wrapped(out, "      ", &text);
        }
        if let Verdict::Candidate(why) = entry.verdict {
            wrapped(out, "      ", &format!("stays for now: {}", why.message()));
        }
        for reason in &entry.reasons {
            wrapped(out, "      ", &reason.message());
        }
    }
}
