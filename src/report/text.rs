//! Text for people: 80 columns, the important first. What goes and why, what
//! stays counted by reason, when the next image may go, what to do about a
//! refusal. Plan and outcome share their words: "would remove", "removed".

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::Context;
use crate::activity::Disk;
use crate::guards::Refusal;
use crate::model::{Bytes, EngineFacts, ImageId, Observed};
use crate::outcome::{Ending, Outcome, Stayed};
use crate::plan::{Entry, HeldBack, KeepReason, Plan, Pressure, Verdict, ago, minute};

/// How many images a list shows before it only counts; --verbose shows all.
const SHOWN: usize = 20;

/// How many columns a line may take.
const COLUMNS: usize = 80;

const LOUD: Style = AnsiColor::Red.on_default().bold();
const HEAD: Style = Style::new().bold();

/// What a plan says.
pub fn plan(plan: &Plan, context: &Context, verbose: bool) -> String {
    let mut out = head(plan.engine(), context);
    let _ = writeln!(out, "disk    {}", disk(plan.disk(), plan.pressure()));
    refusals(&mut out, "would be refused now", &context.refusals);
    out.push('\n');
    removals(&mut out, plan, verbose);
    held_back(&mut out, plan);
    kept(&mut out, plan);
    if let Some(at) = plan.next_ready() {
        let _ = writeln!(
            out,
            "\nnext    {}: another image will have been unneeded long enough",
            minute(at)
        );
    }
    if verbose {
        every_image(&mut out, plan);
    }
    out
}

/// What a run did.
pub fn outcome(outcome: &Outcome, plan: Option<&Plan>, context: &Context, verbose: bool) -> String {
    let mut out = String::new();
    if let Some(plan) = plan {
        out = head(plan.engine(), context);
    } else {
        notes(&mut out, context);
    }
    refusals(&mut out, "refused", &outcome.refusals);
    if let Some(why) = ending(&outcome.ending).filter(|_| outcome.ending != Ending::Refused) {
        let _ = writeln!(out, "{LOUD}stopped{LOUD:#} {why}");
    }
    for collateral in &outcome.collateral {
        let _ = writeln!(
            out,
            "{LOUD}lost{LOUD:#}    {} went together with image {}; bring it back: {}",
            collateral.what,
            collateral.with.short(),
            collateral.way_back()
        );
    }
    if let (Observed::Known(before), Observed::Known(after)) =
        (&outcome.disk_before, &outcome.disk_after)
    {
        let reclaimed = outcome.reclaimed().unwrap_or_default();
        let _ = writeln!(
            out,
            "disk    {:.1} % used before, {:.1} % after; {reclaimed} reclaimed",
            before.used_percent(),
            after.used_percent()
        );
    }
    out.push('\n');
    let (s, ids) = (
        plural(outcome.removed.len()),
        outcome.removed.iter().map(|removed| &removed.id),
    );
    let least: Bytes = outcome
        .removed
        .iter()
        .map(|removed| removed.reclaimable)
        .sum();
    if outcome.removed.is_empty() {
        let _ = writeln!(out, "{HEAD}removed nothing{HEAD:#}");
    } else {
        let _ = writeln!(
            out,
            "{HEAD}removed {} image{s}{HEAD:#}, at least {least}:",
            outcome.removed.len()
        );
        table(&mut out, plan, ids, verbose);
    }
    stayed(&mut out, "not removed after all", &outcome.skipped, verbose);
    stayed(&mut out, "failed", &outcome.failed, true);
    stayed(&mut out, "not confirmed", &outcome.unconfirmed, true);
    if let Some(plan) = plan {
        held_back(&mut out, plan);
        kept(&mut out, plan);
        short_of_target(&mut out, outcome, plan);
        if let Some(at) = plan.next_ready() {
            let _ = writeln!(
                out,
                "\nnext    {}: another image will have been unneeded long enough",
                minute(at)
            );
        }
        if verbose {
            every_image(&mut out, plan);
        }
    }
    out
}

/// How a run ended, where that needs words.
pub fn ending(ending: &Ending) -> Option<String> {
    match ending {
        Ending::Done => None,
        Ending::Refused => Some("something speaks against removing anything now".to_owned()),
        Ending::OutOfTime => Some("limits.max_run is over; the next run goes on".to_owned()),
        Ending::Interrupted => Some("asked to end; the next run goes on".to_owned()),
        Ending::EngineLost(why) => Some(format!("the engine went away: {why}")),
        Ending::Surprised => {
            Some("something happened that must not; see below, and the journal".to_owned())
        }
        Ending::StateLost(why) => Some(format!("nothing more is removed without a journal: {why}")),
    }
}

pub(super) fn head(engine: &EngineFacts, context: &Context) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "engine  {} {} ({}), {}",
        engine.version.escaped(),
        engine.store,
        engine.driver.escaped(),
        crate::text::escape(&engine.root_dir.to_string_lossy())
    );
    let _ = writeln!(out, "policy  {}", context.policy.shown());
    notes(&mut out, context);
    out
}

fn notes(out: &mut String, context: &Context) {
    for note in &context.notes {
        wrapped(out, "note    ", note);
    }
}

fn disk(disk: &Observed<Disk>, pressure: &Pressure) -> String {
    let free = disk
        .known()
        .map(|disk| format!(", {} free", disk.free()))
        .unwrap_or_default();
    match pressure {
        Pressure::Asked { why, .. } => format!("{why}{free}: space is wanted"),
        Pressure::Room { why } => format!("{why}{free}: nothing need go"),
        Pressure::Unknown(why) => format!("cannot be measured, so nothing goes: {why}"),
    }
}

pub(super) fn refusals(out: &mut String, word: &str, refusals: &[Refusal]) {
    for refusal in refusals {
        let _ = write!(out, "{LOUD}{word}{LOUD:#}: ");
        wrapped_after(
            out,
            word.chars().count() + 2,
            "        ",
            &refusal.message(),
        );
        wrapped(out, "        -> ", refusal.way_out());
    }
}

fn removals(out: &mut String, plan: &Plan, verbose: bool) {
    let (count, all) = (plan.removals().len(), plan.entries().len());
    if count == 0 {
        let _ = writeln!(
            out,
            "{HEAD}would remove nothing{HEAD:#} ({all} image{} here)",
            plural(all)
        );
        return;
    }
    let least: Bytes = plan.removals().map(Entry::reclaimable).sum();
    let _ = writeln!(
        out,
        "{HEAD}would remove {count} of {all} images{HEAD:#}, at least {least}:"
    );
    table(
        out,
        Some(plan),
        plan.removals().map(|entry| &entry.image().id),
        verbose,
    );
}

/// Oldest unneeded first, one line for each.
fn table<'a>(
    out: &mut String,
    plan: Option<&Plan>,
    ids: impl ExactSizeIterator<Item = &'a ImageId>,
    verbose: bool,
) {
    let total = ids.len();
    let shown = if verbose { total } else { SHOWN };
    let _ = writeln!(
        out,
        "  {:<12}  {:<13}  {:>9}  {:>12}  NAME",
        "IMAGE", "CLASS", "AT LEAST", "UNNEEDED"
    );
    for entry in ids.take(shown).filter_map(|id| plan?.entry(id)) {
        let now = plan.map_or(
            entry.unneeded().map(|u| u.since).unwrap_or_default(),
            Plan::now,
        );
        let age = entry
            .unneeded()
            .map(|unneeded| ago(unneeded.since, now))
            .unwrap_or_default();
        let line = format!(
            "  {:<12}  {:<13}  {:>9}  {age:>12}  {}",
            entry.image().id.short(),
            entry.class().name(),
            entry.reclaimable().to_string(),
            name(entry)
        );
        let _ = writeln!(out, "{}", cut(line.trim_end()));
    }
    if total > shown {
        let _ = writeln!(
            out,
            "  ... and {} more (--verbose shows all)",
            total - shown
        );
    }
}

fn name(entry: &Entry) -> String {
    let image = entry.image();
    let name = image.tags.first().or_else(|| image.digests.first());
    name.map_or_else(String::new, crate::reference::Reference::familiar)
}

/// Names end a line, so what is cut is a digest's tail.
fn cut(line: &str) -> String {
    if line.chars().count() <= COLUMNS {
        return line.to_owned();
    }
    line.chars().take(COLUMNS - 1).chain(['…']).collect()
}

fn stayed(out: &mut String, word: &str, images: &[Stayed], verbose: bool) {
    if images.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{HEAD}{word}: {}{HEAD:#}", images.len());
    let shown = if verbose { images.len() } else { SHOWN };
    for image in images.iter().take(shown) {
        wrapped(out, &format!("  {}  ", image.id.short()), &image.why);
    }
    if images.len() > shown {
        let _ = writeln!(
            out,
            "  ... and {} more (--verbose shows all)",
            images.len() - shown
        );
    }
}

fn held_back(out: &mut String, plan: &Plan) {
    let mut counts: BTreeMap<HeldBack, (usize, Bytes)> = BTreeMap::new();
    for entry in plan.entries() {
        if let Verdict::Candidate(why) = entry.verdict() {
            let (count, bytes) = counts.entry(why).or_default();
            *count += 1;
            *bytes = [*bytes, entry.reclaimable()].into_iter().sum();
        }
    }
    for (why, (count, bytes)) in counts {
        let s = plural(count);
        let _ = writeln!(
            out,
            "could go, but need not: {count} image{s}, at least {bytes} ({})",
            why.message()
        );
    }
}

/// Every image that stays, counted once, under the first of its reasons.
fn kept(out: &mut String, plan: &Plan) {
    let mut counts: BTreeMap<usize, (&'static str, usize, Bytes)> = BTreeMap::new();
    let mut total = 0;
    for entry in plan
        .entries()
        .iter()
        .filter(|entry| entry.verdict() == Verdict::Keep)
    {
        let Some(first) = entry.reasons().first().map(KeepReason::kind) else {
            continue;
        };
        let rank = KeepReason::KINDS
            .iter()
            .position(|kind| *kind == first)
            .unwrap_or_default();
        let (_, count, bytes) = counts.entry(rank).or_insert((first, 0, Bytes(0)));
        *count += 1;
        *bytes = [
            *bytes,
            entry.image().size.known().copied().unwrap_or_default(),
        ]
        .into_iter()
        .sum();
        total += 1;
    }
    if total == 0 {
        return;
    }
    let _ = writeln!(
        out,
        "\n{HEAD}kept {total} image{}{HEAD:#}, layers that they share counted each time:",
        plural(total)
    );
    for (kind, count, bytes) in counts.values() {
        let _ = writeln!(
            out,
            "  {count:>5}  {kind:<13}  up to {:>9}  {}",
            bytes.to_string(),
            words(kind)
        );
    }
}

fn words(kind: &str) -> &'static str {
    match kind {
        "tagged" => "",
        "in-use" => "a container uses it",
        "image-mount" => "mounted into a container",
        "service" => "a Swarm service wants it",
        "parent" => "another image is built on it",
        "keep-image" => "keep.images",
        "keep-label" => "keep.labels",
        "previous" => "a rollback (keep.previous)",
        "too-young" => "not unneeded for long enough",
        "first-seen" => "seen for the first time",
        "age-unknown" => "no date to go by",
        "digest-pinned" => "pulled by digest: the next deploy's cache",
        _ => "not enough is known of it",
    }
}

/// What holds the space where the target was not reached: the table above has
/// the figures.
fn short_of_target(out: &mut String, outcome: &Outcome, plan: &Plan) {
    let asked =
        matches!(plan.pressure(), Pressure::Asked { wanted: Some(wanted), .. } if wanted.0 > 0);
    let reached = matches!((plan.pressure(), outcome.reclaimed()),
        (Pressure::Asked { wanted: Some(wanted), .. }, Some(reclaimed)) if reclaimed >= *wanted);
    if asked && !reached && outcome.ending == Ending::Done {
        out.push('\n');
        wrapped(
            out,
            "note    ",
            "the disk is still fuller than wanted, and no image may go: what is kept above holds the space, \
             or containers, volumes and build cache do, which secateur does not touch (docker system df)",
        );
    }
}

fn every_image(out: &mut String, plan: &Plan) {
    let _ = writeln!(out, "\n{HEAD}every image{HEAD:#}");
    for entry in plan.entries() {
        let verdict = entry.verdict().name();
        let _ = writeln!(
            out,
            "{}",
            cut(&format!(
                "  {}  {verdict:<9}  {}",
                entry.image().id.short(),
                name(entry)
            ))
        );
        for reason in entry.reasons() {
            wrapped(out, "                ", &reason.message());
        }
        if let Verdict::Candidate(why) = entry.verdict() {
            wrapped(out, "                ", why.message());
        }
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// A line that begins with `lead` and goes on below it, in 80 columns.
pub(super) fn wrapped(out: &mut String, lead: &str, text: &str) {
    out.push_str(lead);
    wrapped_after(
        out,
        lead.chars().count(),
        &" ".repeat(lead.chars().count()),
        text,
    );
}

fn wrapped_after(out: &mut String, mut column: usize, indent: &str, text: &str) {
    for (index, word) in text.split(' ').enumerate() {
        let width = word.chars().count();
        if index > 0 && column + 1 + width > COLUMNS {
            out.push('\n');
            out.push_str(indent);
            column = indent.chars().count();
        } else if index > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out.push('\n');
}
