//! The entries of a prune.

use crate::decide::plan::{Plan, Pressure, Verdict};
use crate::host::journald::{JournalEntry, Priority};
use crate::model::Observed;
use crate::model::conditions::Disk;
use crate::model::reference::Reference;
use crate::model::time::{ago, minute, next_minute};
use crate::prune::outcome::{Ending, How, Loss, Outcome, Removed, Stayed};
use crate::report::context::Context;
use crate::report::journald::entry::{
    Fields, engine, entry, notes, priority_of, refusal, with_command,
};
use crate::report::journald::ids::{LOST, PRUNED, REMOVED, STAYED};
use crate::report::wording::{TO_BE_BUILT, ending};

pub fn outcome(outcome: &Outcome, plan: Option<&Plan>, context: &Context) -> Vec<JournalEntry> {
    let mut entries = notes(context);
    entries.extend(outcome.refusals.iter().map(refusal));
    entries.extend(outcome.lost.iter().map(lost));
    entries.extend(outcome.removed.iter().map(|one| removed(one, outcome)));
    for (images, word, short, priority) in [
        (
            &outcome.unconfirmed,
            "not confirmed",
            "unconfirmed",
            Priority::Critical,
        ),
        (&outcome.failed, "failed", "failed", Priority::Warning),
        (
            &outcome.skipped,
            "not removed after all",
            "skipped",
            Priority::Info,
        ),
    ] {
        entries.extend(images.iter().map(|one| {
            let fields = stayed_fields(one, short, plan);
            let message = format!("{word}: image {}: {}", one.id.short(), one.why);
            entry(STAYED, priority, message, fields)
        }));
    }
    for entry in &mut entries {
        entry.fields.insert(0, ("RUN", outcome.run.clone()));
    }
    entries.push(result(outcome, plan, context));
    with_command(entries, "prune")
}

fn lost(lost: &Loss) -> JournalEntry {
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
    entry(LOST, Priority::Critical, message, fields)
}

fn removed(one: &Removed, outcome: &Outcome) -> JournalEntry {
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
    let names = joined(&one.names);
    let had = one.had_tags.first().map(|tag| format!("was {tag}"));
    let shown = match (had, names.as_str()) {
        (None, "") => "no name".to_owned(),
        (None, names) => names.to_owned(),
        (Some(had), "") => had,
        (Some(had), names) => format!("{had}, {names}"),
    };
    let message = format!(
        "removed image {}: {class}, at least {}{since}: {shown}",
        one.id.short(),
        one.reclaimable
    );
    let fields = vec![
        ("OUTCOME", "removed".to_owned()),
        ("IMAGE", one.id.as_str().to_owned()),
        ("NAMES", names.clone()),
        ("HAD_TAGS", joined(&one.had_tags)),
        ("CLASS", class.to_owned()),
        ("REASON", reason),
        ("RECLAIMABLE_BYTES", one.reclaimable.0.to_string()),
    ];
    entry(REMOVED, Priority::Info, message, fields)
}

fn stayed_fields(one: &Stayed, outcome: &str, plan: Option<&Plan>) -> Fields {
    let mut fields = vec![
        ("OUTCOME", outcome.to_owned()),
        ("IMAGE", one.id.as_str().to_owned()),
        ("REASON", one.why.clone()),
    ];
    if let Some(planned) = plan.and_then(|plan| plan.entry(&one.id)) {
        fields.push(("NAMES", joined(&planned.image.digests)));
        fields.push(("CLASS", planned.class.name().to_owned()));
    }
    fields
}

fn joined<'a>(names: impl IntoIterator<Item = &'a Reference>) -> String {
    let names = names.into_iter().map(Reference::to_string);
    names.collect::<Vec<_>>().join(" ")
}

/// The last entry of every run.
fn result(outcome: &Outcome, plan: Option<&Plan>, context: &Context) -> JournalEntry {
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
        let verdicts = plan.entries().iter().map(|entry| entry.verdict);
        let could = verdicts.filter(|it| matches!(it, Verdict::Candidate(_)));
        let could = could.count();
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
    entry(PRUNED, priority_of(exit), parts.join("; "), fields)
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
