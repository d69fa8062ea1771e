//! Text for people: 80 columns, what needs a person first. What goes and why,
//! what stays counted by reason, when the next image may go, what to do about a
//! refusal. Plan and outcome share their words: "would remove", "removed".

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use crate::decide::plan::{Entry, HeldBack, Plan, Pressure, Verdict};
use crate::guard::Refusal;
use crate::model::conditions::Disk;
use crate::model::time::{ago, next_minute};
use crate::model::{Bytes, EngineFacts, Observed};
use crate::prune::outcome::{Ending, Outcome};
use crate::report::Context;
use crate::report::text::layout::{command, headed, wrapped};
use crate::report::text::lists::{every_image, held_back, images, kept, not_tried, stayed, table};

pub(crate) const LOUD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const HEAD: Style = Style::new().bold();

/// What a plan says.
pub fn plan(plan: &Plan, context: &Context, verbose: bool) -> String {
    let mut out = String::new();
    refusals(&mut out, "a prune would be refused now:", &context.refusals);
    blank_after(&mut out);
    head(&mut out, plan.engine(), context);
    disk(&mut out, plan.disk(), plan.pressure());
    out.push('\n');
    removals(&mut out, plan, !context.refusals.is_empty(), verbose);
    held_back(&mut out, plan);
    kept(&mut out, plan);
    let least = plan.removals().map(Entry::reclaimable).sum();
    let short = short_of_target(plan, least, "may be removed now");
    closing(&mut out, plan, short, verbose);
    out
}

/// Said of a name that went and that can be pulled from nowhere.
pub(crate) const TO_BE_BUILT: &str = "no registry is known to have it: build it again";

/// What a run did.
pub fn outcome(outcome: &Outcome, plan: Option<&Plan>, context: &Context, verbose: bool) -> String {
    let mut out = String::new();
    refusals(&mut out, "refused:", &outcome.refusals);
    how_it_ended(&mut out, outcome);
    lost(&mut out, outcome);
    stayed(&mut out, LOUD, "not confirmed", &outcome.unconfirmed, true);
    stayed(&mut out, LOUD, "failed", &outcome.failed, true);
    blank_after(&mut out);
    match plan {
        Some(plan) => {
            head(&mut out, plan.engine(), context);
            if outcome.removed.is_empty() {
                disk(&mut out, plan.disk(), plan.pressure());
            } else {
                disk_after(&mut out, plan.engine(), outcome);
            }
        }
        None => notes(&mut out, context),
    }
    if plan.is_some() || !context.notes.is_empty() {
        out.push('\n');
    }
    removed(&mut out, outcome, plan, verbose);
    stayed(
        &mut out,
        HEAD,
        "not removed after all",
        &outcome.skipped,
        verbose,
    );
    if let Some(plan) = plan {
        not_tried(&mut out, outcome, plan);
        held_back(&mut out, plan);
        kept(&mut out, plan);
        let reclaimed = outcome
            .reclaimed()
            .filter(|_| outcome.ending == Ending::Done);
        let short = reclaimed.and_then(|got| short_of_target(plan, got, "was reclaimed"));
        closing(&mut out, plan, short, verbose);
    }
    out
}

/// Why a run did not come to its end, but for a refusal, which has its own words.
pub(crate) fn how_it_ended(out: &mut String, outcome: &Outcome) {
    if let Some(why) = ending(&outcome.ending).filter(|_| outcome.ending != Ending::Refused) {
        let refused = matches!(outcome.ending, Ending::PlanRefused(_));
        let head = if refused { "refused:" } else { "stopped:" };
        headed(out, LOUD, head, &why);
    }
}

/// What went that no plan named, and how it comes back.
pub(crate) fn lost(out: &mut String, outcome: &Outcome) {
    for lost in &outcome.collateral {
        let with = lost.with.short();
        let mut text = format!("{} went together with image {with}", lost.what.words());
        if lost.is_to_be_built() {
            let _ = write!(text, ": {TO_BE_BUILT}");
        }
        headed(out, LOUD, "lost:", &text);
        if let Some(way_back) = lost.way_back() {
            command(out, &way_back);
        }
    }
}

/// How a run ended, where that needs words.
pub fn ending(ending: &Ending) -> Option<String> {
    match ending {
        Ending::Done => None,
        Ending::Refused => Some("something speaks against removing anything now".to_owned()),
        Ending::PlanRefused(why) => Some(why.clone()),
        Ending::OutOfTime => Some("limits.max_run is used up; the next run continues".to_owned()),
        Ending::Interrupted => Some("by a signal; the next run continues".to_owned()),
        Ending::EngineLost(why) => Some(format!("the engine went away: {why}")),
        Ending::Surprised => {
            Some("something happened that must not happen; see below, and the journal".to_owned())
        }
        Ending::StateLost(why) => Some(format!("nothing more is removed without a journal: {why}")),
    }
}

pub(crate) fn head(out: &mut String, engine: &EngineFacts, context: &Context) {
    let text = format!(
        "{}, {} ({} store), {}",
        engine.version.escaped(),
        engine.driver.escaped(),
        engine.store,
        crate::model::text::escape(&engine.root_dir.to_string_lossy())
    );
    wrapped(out, "engine  ", &text);
    wrapped(out, "policy  ", &context.policy.shown());
    notes(out, context);
}

fn notes(out: &mut String, context: &Context) {
    for note in context.notes.iter().chain(&context.unmatched()) {
        wrapped(out, "note    ", note);
    }
}

/// Whether the disk needs space, why, and how much.
pub(crate) fn disk(out: &mut String, disk: &Observed<Disk>, pressure: &Pressure) {
    let mut text = match pressure {
        Pressure::Asked { why, .. } => format!("needs space: {why}"),
        Pressure::Room { why } => format!("has room: {why}"),
        Pressure::Unknown(why) => format!("cannot be measured, so nothing goes: {why}"),
    };
    if let Some(disk) = disk.known() {
        let _ = write!(text, "; {}", room(disk));
    }
    if let Pressure::Asked {
        wanted: Some(wanted),
        ..
    } = pressure
    {
        let _ = match wanted {
            Bytes(0) => write!(text, ", no more needed (disk.stop_below_percent)"),
            more => write!(text, ", {more} more needed"),
        };
    }
    wrapped(out, "disk    ", &text);
}

/// Names the inodes where they are what makes the disk full.
fn room(disk: &Disk) -> String {
    let inodes = disk
        .inodes
        .map(crate::model::conditions::Room::used_percent);
    match inodes.filter(|percent| *percent > disk.bytes.used_percent()) {
        Some(percent) => format!("{percent:.1} % of the inodes used, {} free", disk.free()),
        None => format!("{} free", disk.free()),
    }
}

pub(crate) fn disk_after(out: &mut String, engine: &EngineFacts, outcome: &Outcome) {
    let text = match (&outcome.disk_before, &outcome.disk_after) {
        (Observed::Known(before), Observed::Known(after)) => {
            let percents = [before, after].map(|disk| engine.used_percent(disk));
            let reclaimed = outcome.reclaimed().unwrap_or_default();
            let used = match percents {
                [Some(before), Some(after)] => {
                    format!("{before:.1} % used before, {after:.1} % after: ")
                }
                _ => String::new(),
            };
            format!("{used}{reclaimed} reclaimed, {}", room(after))
        }
        (Observed::Unknown(why), _) | (_, Observed::Unknown(why)) => {
            format!("what was reclaimed cannot be measured: {why}")
        }
    };
    wrapped(out, "disk    ", &text);
}

/// What is the same way out of two is said once.
pub(crate) fn refusals(out: &mut String, word: &str, refusals: &[Refusal]) {
    for same in refusals.chunk_by(|one, next| one.way_out() == next.way_out()) {
        for refusal in same {
            headed(out, LOUD, word, &refusal.message());
        }
        wrapped(out, "  -> ", same[0].way_out());
    }
}

/// Sets what needs a person apart from the rest.
pub(crate) fn blank_after(out: &mut String) {
    if !out.is_empty() {
        out.push('\n');
    }
}

fn removals(out: &mut String, plan: &Plan, refused: bool, verbose: bool) {
    removals_head(out, plan, refused, ":");
    if plan.removals().len() > 0 {
        let ids = plan.removals().map(|entry| &entry.image().id);
        table(out, plan, ids, verbose);
    }
}

pub(crate) fn removals_head(out: &mut String, plan: &Plan, refused: bool, end: &str) {
    let (count, all) = (plan.removals().len(), plan.entries().len());
    if count == 0 {
        let here = format!("({} here)", images(all));
        headed(out, HEAD, "would remove nothing", &here);
        return;
    }
    let least: Bytes = plan.removals().map(Entry::reclaimable).sum();
    let head = format!("would remove {count} of {}", images(all));
    let but = if refused { ", were it not refused" } else { "" };
    let _ = writeln!(out, "{HEAD}{head}{HEAD:#}, at least {least}{but}{end}");
}

fn removed(out: &mut String, outcome: &Outcome, plan: Option<&Plan>, verbose: bool) {
    removed_head(out, outcome, plan, ":");
    if let Some(plan) = plan.filter(|_| !outcome.removed.is_empty()) {
        let ids = outcome.removed.iter().map(|removed| &removed.id);
        table(out, plan, ids, verbose);
    }
}

pub(crate) fn removed_head(out: &mut String, outcome: &Outcome, plan: Option<&Plan>, end: &str) {
    let planned: Option<Bytes> = plan
        .filter(|plan| plan.removals().len() > 0)
        .map(|plan| plan.removals().map(Entry::reclaimable).sum());
    if outcome.removed.is_empty() {
        let text = match (plan, planned) {
            (Some(plan), Some(least)) => {
                let count = images(plan.removals().len());
                format!("of the {count} in the plan, at least {least}")
            }
            (Some(plan), None) => format!("({} here)", images(plan.entries().len())),
            (None, _) => "(nothing was decided)".to_owned(),
        };
        headed(out, HEAD, "removed nothing", &text);
        return;
    }
    let least: Bytes = outcome.removed.iter().map(|one| one.reclaimable).sum();
    let count = images(outcome.removed.len());
    let _ = writeln!(out, "{HEAD}removed {count}{HEAD:#}, at least {least}{end}");
}

/// What holds the space, when the next image may go, and with --verbose all.
fn closing(out: &mut String, plan: &Plan, short: Option<String>, verbose: bool) {
    let next = plan.next_ready();
    if short.is_some() || next.is_some() {
        out.push('\n');
    }
    if let Some(short) = short {
        wrapped(out, "note    ", &short);
    }
    if let Some(at) = next {
        let text = format!(
            "{} (in {}): the next image becomes old enough",
            next_minute(at),
            ago(plan.now(), at)
        );
        wrapped(out, "next    ", &text);
    }
    if verbose {
        every_image(out, plan);
    }
}

/// Where the disk asks for more than that: what holds the space. The figures
/// stand in the table above.
fn short_of_target(plan: &Plan, frees: Bytes, verb: &str) -> Option<String> {
    let Pressure::Asked {
        wanted: Some(wanted),
        ..
    } = plan.pressure()
    else {
        return None;
    };
    if frees >= *wanted {
        return None;
    }
    let later = plan.entries().iter().any(|entry| {
        matches!(
            entry.verdict(),
            Verdict::Candidate(
                HeldBack::MaxImages | HeldBack::NotReviewed | HeldBack::BesideADeploy
            )
        )
    });
    let frees = if frees == Bytes(0) {
        "nothing".to_owned()
    } else {
        frees.to_string()
    };
    let holds = if later {
        "A later run can remove more"
    } else {
        "The rest is held by the images that stay, or by containers, volumes and \
         build cache, which secateur does not touch (docker system df)"
    };
    Some(format!(
        "{wanted} more is needed, and {frees} {verb}. {holds}."
    ))
}
