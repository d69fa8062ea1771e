//! The largest images that stay, for a person whose disk is full and whose removable images are
//! not enough.

use std::cmp::Reverse;
use std::fmt::Write as _;

use crate::decide::plan::{Entry, KeepKind, KeepReason, Plan, Verdict};
use crate::model::reference::Reference;
use crate::model::time::ago;
use crate::model::{Bytes, Store};
use crate::policy::Promised;
use crate::report::text::layout::{HEAD, command, wrapped};
use crate::report::text::prune::lists::{name, row};
use crate::report::text::screen::Screen;
use crate::report::wording::images;

pub(crate) fn largest(out: &mut Screen, plan: &Plan, count: usize, promised: &Promised) {
    let size = |entry: &Entry| entry.image.size.known().copied().unwrap_or_default();
    let stay = plan.entries().iter();
    let mut stay: Vec<&Entry> = stay.filter(|it| it.verdict == Verdict::Keep).collect();
    let why = |entry: &Entry| entry.reasons.first().map(KeepReason::kind);
    // Not by id alone, which is random: images of one size and reason stand together.
    stay.sort_by_key(|entry| {
        let tag = entry.image.tags.first();
        (Reverse(size(entry)), why(entry), tag, &entry.image.id)
    });
    stay.truncate(count);
    if stay.is_empty() {
        return;
    }
    let of_them = images(stay.len());
    let _ = writeln!(out, "\n{HEAD}the largest {of_them} that stay{HEAD:#}:");
    let head = start("UP TO", "LAST USED", "FIRST REASON");
    row(out, &head, |_| "NAME".to_owned());
    for entry in &stay {
        let why = why(entry).map_or("", |kind| kind.name());
        let (size, used) = (size(entry).to_string(), last_used(plan, entry));
        row(out, &start(&size, &used, why), |room| name(entry, room));
    }
    if stay.iter().any(|entry| is_unused(entry)) {
        let text = "\"not in\": not used since secateur saw it first, so long ago";
        wrapped(out, "  ", text);
    }
    what_is_no_image(out, plan);
    stay.retain(|entry| is_kept_by_its_tags_alone(entry) && !is_promised(entry, promised, plan));
    if let Some(old) = longest_unused_tag(&stay) {
        let text = "Only you know what nothing is deployed from any more. Unused for longest:";
        wrapped(out, "  ", text);
        command(out, &format!("docker rmi {}", old.familiar()));
    }
}

fn start(size: &str, used: &str, why: &str) -> String {
    format!("  {size:>9}  {used:<16}  {why:<13}  ")
}

fn last_used(plan: &Plan, entry: &Entry) -> String {
    match (entry.is_used, entry.last_used, entry.first_seen) {
        (true, _, _) => "now".to_owned(),
        (false, Some(at), _) => format!("{} ago", ago(at, plan.now())),
        (false, None, Some(first)) => format!("not in {}", ago(first, plan.now())),
        (false, None, None) => "unknown".to_owned(),
    }
}

fn is_unused(entry: &Entry) -> bool {
    !entry.is_used && entry.last_used.is_none()
}

fn is_kept_by_its_tags_alone(entry: &Entry) -> bool {
    entry.reasons.iter().all(|reason| match reason.kind() {
        KeepKind::Tagged | KeepKind::TooYoung | KeepKind::FirstSeen => true,
        KeepKind::InUse
        | KeepKind::ImageMount
        | KeepKind::Service
        | KeepKind::Parent
        | KeepKind::KeepImage
        | KeepKind::KeepLabel
        | KeepKind::Previous
        | KeepKind::AgeUnknown
        | KeepKind::DigestPinned
        | KeepKind::Incomplete => false,
    })
}

/// Whether the policy promises it to the next deploy; it may, if there are lists, which `plan`
/// does not read.
fn is_promised(entry: &Entry, promised: &Promised, plan: &Plan) -> bool {
    let mut tags = entry.image.tags.iter();
    let ran = entry.last_used.map(|at| plan.now() - at);
    let is_recent = |within| ran.is_some_and(|ran| ran.to_std().is_ok_and(|ran| ran <= within));
    tags.any(|tag| promised.images.contains(tag))
        || promised.recent.is_some_and(is_recent)
        || !promised.lists.is_empty()
}

/// A tag of the image that has been unused for longest.
fn longest_unused_tag<'a>(images: &[&'a Entry]) -> Option<&'a Reference> {
    let tagged = images
        .iter()
        .filter_map(|entry| Some((entry, entry.image.tags.first()?)));
    let oldest = tagged.min_by_key(|(entry, _)| entry.last_used.or(entry.first_seen));
    oldest.map(|(_, tag)| tag)
}

/// All images together have at most the sum of their sizes, so the rest is something else. Not
/// on the containerd store, which counts shared layers differently.
fn what_is_no_image(out: &mut Screen, plan: &Plan) {
    let (Some(disk), Store::Graphdriver) = (plan.disk().known(), plan.engine().store) else {
        return;
    };
    let sizes = plan.entries().iter().map(|entry| entry.image.size.known());
    let Some(sizes) = sizes.collect::<Option<Vec<_>>>() else {
        return;
    };
    let all: Bytes = sizes.into_iter().copied().sum();
    let used = Bytes(disk.bytes.used);
    if let Some(rest) = used.0.checked_sub(all.0) {
        let text = format!(
            "All images together have at most {all} of the {used} used. At least {} is \
             something else: containers, volumes, build cache, logs.",
            Bytes(rest)
        );
        wrapped(out, "  ", &text);
    }
}
