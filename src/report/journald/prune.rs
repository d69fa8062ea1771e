//! What was done, for systemd's journal: one entry for each fact, with fields
//! that a program can ask for. Decides which facts are entries, how loud each
//! is, and its words; it takes the place of the text report, which would say
//! the same in tables of 80 columns.

use crate::decide::plan::{Plan, Pressure, Verdict};
use crate::exit::{Exit, Fault};
use crate::guard::Refusal;
use crate::host::systemd::{Entry, Priority};
use crate::model::Observed;
use crate::model::conditions::Disk;
use crate::model::time::{ago, minute, next_minute};
use crate::prune::outcome::{Ending, How, Outcome, Removed, Stayed};
use crate::report::Context;
use crate::report::text::prune::{TO_BE_BUILT, ending};

/// How a prune ended.
pub const PRUNED: &str = "65707a70ceda4b28a1233fafb47abcc7";
/// An image was removed.
pub const REMOVED: &str = "501e5e13f9014ed6910d2c954d3cffa4";
/// An image of the plan stayed: skipped, failed, or not known.
pub const STAYED: &str = "03d5ae94d66a4ccbb7c42e1e47b2f644";
/// Something went that the plan did not name.
pub const LOST: &str = "5d8a5295b88d4f1dbc9d23424d7ac1d4";
/// Something spoke against removing anything.
pub const REFUSED: &str = "fa31eb2e308b4869951991da572612a4";
/// How a verify-cache ended.
pub const VERIFIED: &str = "5f01f812bd3642d7a7a0d2f0f23fbdf3";
/// A promised image, or the store, is not as it should be.
pub const PROMISE: &str = "ee1a88bed34d44d896811c63c345bd98";
/// A command ended before its work.
pub const FAULT: &str = "dc3fd1e746ee469e90616a0d85398bb0";
/// Worth knowing: a stale sign of a pull, a ledger set aside.
pub const NOTE: &str = "58be57eaecc647509ddfaeadf02626b9";

type Fields = Vec<(&'static str, String)>;

/// What a prune did.
pub fn outcome(outcome: &Outcome, plan: Option<&Plan>, context: &Context) -> Vec<Entry> {
    let run = &outcome.run;
    let mut entries = notes(context);
    entries.extend(outcome.refusals.iter().map(refusal));
    for lost in &outcome.collateral {
        let way_back = match lost.way_back() {
            Some(command) => format!(" -> {command}"),
            None if lost.is_to_be_built() => format!(": {TO_BE_BUILT}"),
            None => String::new(),
        };
        let message = format!(
            "lost: {} went together with image {}{way_back}",
            lost.what.words(),
            lost.with.short(),
        );
        let fields = vec![
            ("OUTCOME", "collateral".to_owned()),
            ("IMAGE", lost.with.as_str().to_owned()),
            ("NAMES", lost.what.full()),
            ("REASON", "went and should not have".to_owned()),
        ];
        entries.push(entry(LOST, Priority::Critical, message, fields));
    }
    entries.extend(outcome.removed.iter().map(|one| removed(one, outcome)));
    let stayed = [
        (
            "not confirmed",
            "unconfirmed",
            &outcome.unconfirmed,
            Priority::Critical,
        ),
        ("failed", "failed", &outcome.failed, Priority::Warning),
        (
            "not removed after all",
            "skipped",
            &outcome.skipped,
            Priority::Info,
        ),
    ];
    for (word, came, images, priority) in stayed {
        entries.extend(images.iter().map(|one| {
            let fields = image_fields(one, came, plan);
            let message = format!("{word}: image {}: {}", one.id.short(), one.why);
            entry(STAYED, priority, message, fields)
        }));
    }
    for entry in &mut entries {
        entry.fields.insert(0, ("RUN", run.clone()));
    }
    entries.push(result(outcome, plan, context));
    named(entries, "prune")
}

fn removed(one: &Removed, outcome: &Outcome) -> Entry {
    let class = one.class.name();
    let (since, reason) = match one.unneeded {
        Some(unneeded) => (
            format!(", unneeded for {}", ago(unneeded.since, outcome.started)),
            format!(
                "unneeded since {} ({})",
                minute(unneeded.since),
                unneeded.evidence.words()
            ),
        ),
        None => (String::new(), String::new()),
    };
    let names: Vec<String> = one.names.iter().map(ToString::to_string).collect();
    let names = names.join(" ");
    let shown = if names.is_empty() { "no name" } else { &names };
    let message = format!(
        "removed image {}: {class}, at least {}{since}: {shown}",
        one.id.short(),
        one.reclaimable
    );
    let fields = vec![
        ("OUTCOME", "removed".to_owned()),
        ("IMAGE", one.id.as_str().to_owned()),
        ("NAMES", names.clone()),
        ("CLASS", class.to_owned()),
        ("REASON", reason),
        ("RECLAIMABLE_BYTES", one.reclaimable.0.to_string()),
    ];
    entry(REMOVED, Priority::Info, message, fields)
}

fn image_fields(one: &Stayed, came: &str, plan: Option<&Plan>) -> Fields {
    let mut fields = vec![
        ("OUTCOME", came.to_owned()),
        ("IMAGE", one.id.as_str().to_owned()),
        ("REASON", one.why.clone()),
    ];
    if let Some(planned) = plan.and_then(|plan| plan.entry(&one.id)) {
        let names: Vec<String> = planned
            .image()
            .digests
            .iter()
            .map(ToString::to_string)
            .collect();
        fields.push(("NAMES", names.join(" ")));
        fields.push(("CLASS", planned.class().name().to_owned()));
    }
    fields
}

/// The one entry that every run ends with.
fn result(outcome: &Outcome, plan: Option<&Plan>, context: &Context) -> Entry {
    let exit = outcome.exit();
    let how = outcome.how();
    let mut parts = Vec::new();
    if let Some(why) = ending(&outcome.ending).filter(|_| how == How::Stopped) {
        parts.push(format!("stopped: {why}"));
    }
    if let Ending::PlanRefused(why) = &outcome.ending {
        parts.push(why.clone());
    }
    let all = plan.map_or_else(String::new, |plan| {
        format!(" of {} images", plan.entries().len())
    });
    parts.push(match outcome.removed.len() {
        0 if how == How::Refused => format!("refused, removed nothing{all}"),
        0 => format!("removed nothing{all}"),
        count => format!("removed {count}{all}"),
    });
    parts.extend(disk(outcome, plan));
    let mut fields = vec![
        ("RUN", outcome.run.clone()),
        ("RESULT", how.name().to_owned()),
        ("EXIT", (exit as u8).to_string()),
        ("REMOVED", outcome.removed.len().to_string()),
        ("POLICY", context.policy.shown()),
    ];
    if let Some(reclaimed) = outcome.reclaimed() {
        fields.push(("RECLAIMED_BYTES", reclaimed.0.to_string()));
    }
    if let Some(percent) = percent(plan, &outcome.disk_after) {
        fields.push(("DISK_USED_PERCENT", percent));
    }
    if let Some(plan) = plan {
        let kept = plan.kept();
        let count: usize = kept.iter().map(|(_, count, _)| count).sum();
        let held_back =
            |entry: &&crate::decide::plan::Entry| matches!(entry.verdict(), Verdict::Candidate(_));
        let could = plan.entries().iter().filter(held_back).count();
        let by: Vec<String> = kept
            .iter()
            .filter(|(_, count, _)| *count > 0)
            .map(|(kind, count, _)| format!("{count} {}", kind.name()))
            .collect();
        if could > 0 {
            parts.push(format!("{could} removable, but not now"));
        }
        fields.push(("CANDIDATES", could.to_string()));
        parts.push(format!("kept {count} ({})", by.join(", ")));
        if let Some(at) = plan.next_ready() {
            parts.push(format!("the next is old enough at {}", next_minute(at)));
        }
        fields.push(("KEPT", count.to_string()));
        fields.push(("ENGINE", engine(plan.engine())));
    }
    entry(PRUNED, loudness(exit), parts.join("; "), fields)
}

fn disk(outcome: &Outcome, plan: Option<&Plan>) -> Option<String> {
    match (&outcome.disk_before, &outcome.disk_after) {
        (before, Observed::Known(after)) if !outcome.removed.is_empty() => {
            let reclaimed = outcome.reclaimed()?;
            let used = match [before, &outcome.disk_after].map(|disk| percent(plan, disk)) {
                [Some(before), Some(after)] => {
                    format!(", disk {before} % used before and {after} % after")
                }
                _ => String::new(),
            };
            Some(format!(
                "{reclaimed} reclaimed{used}, {} free",
                after.free()
            ))
        }
        _ => plan.map(|plan| match plan.pressure() {
            Pressure::Asked { why, .. } => format!("the disk needs space: {why}"),
            Pressure::Room { why } => format!("the disk has room: {why}"),
            Pressure::Unknown(why) => format!("the disk cannot be measured: {why}"),
        }),
    }
}

fn percent(plan: Option<&Plan>, disk: &Observed<Disk>) -> Option<String> {
    // Without a plan nothing was measured.
    let percent = plan?.engine().used_percent(disk.known()?)?;
    Some(format!("{percent:.1}"))
}

pub(crate) fn engine(facts: &crate::model::EngineFacts) -> String {
    format!("{} {}", facts.version.escaped(), facts.driver.escaped())
}

/// Why a command ended before its work.
pub fn fault(fault: &Fault, command: &str) -> Entry {
    let fields = vec![
        ("COMMAND", command.to_owned()),
        ("RESULT", "error".to_owned()),
        ("EXIT", (fault.exit as u8).to_string()),
    ];
    let message = format!("error: {}", fault.message);
    entry(FAULT, loudness(fault.exit), message, fields)
}

pub(crate) fn refusal(refusal: &Refusal) -> Entry {
    let priority = if refusal.needs_a_person() {
        Priority::Error
    } else {
        Priority::Notice
    };
    let fields = vec![
        ("REFUSAL", refusal.kind().name().to_owned()),
        ("REASON", refusal.message()),
    ];
    let message = format!("refused: {} -> {}", refusal.message(), refusal.way_out());
    entry(REFUSED, priority, message, fields)
}

pub(crate) fn notes(context: &Context) -> Vec<Entry> {
    let note = |text: &String| entry(NOTE, Priority::Notice, format!("note: {text}"), Vec::new());
    let mut notes: Vec<Entry> = context.notes.iter().map(note).collect();
    // Of every run, and right where one policy serves many hosts: nothing to be told of
    // at the loudness of a note.
    let unmatched = context
        .unmatched()
        .map(|text| entry(NOTE, Priority::Info, format!("note: {text}"), Vec::new()));
    notes.extend(unmatched);
    notes
}

/// As loud as the exit code: 75 is no failure.
pub(crate) fn loudness(exit: Exit) -> Priority {
    match exit {
        Exit::Done => Priority::Info,
        Exit::RefusedForNow => Priority::Notice,
        Exit::NotAllWell => Priority::Warning,
        Exit::Usage
        | Exit::NeedsAPerson
        | Exit::Engine
        | Exit::State
        | Exit::Permission
        | Exit::Policy => Priority::Error,
        Exit::Collateral => Priority::Critical,
    }
}

pub(crate) fn entry(
    id: &'static str,
    priority: Priority,
    message: String,
    fields: Fields,
) -> Entry {
    Entry {
        id,
        priority,
        message,
        fields,
    }
}

pub(crate) fn named(mut entries: Vec<Entry>, command: &str) -> Vec<Entry> {
    for entry in &mut entries {
        entry.fields.insert(0, ("COMMAND", command.to_owned()));
    }
    entries
}
