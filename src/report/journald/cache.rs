//! The entries of a verify-cache: one for each promise that is not ok, and one for the result.

use std::fmt::Write as _;

use chrono::SecondsFormat;

use crate::cache::checks::room::{Level, Room};
use crate::cache::findings::{Findings, Line};
use crate::cache::promise::{By, Wanted};
use crate::cache::{Check, Status};
use crate::host::journald::{JournalEntry, Priority};
use crate::report::context::Context;
use crate::report::journald::entry::{engine, entry, notes, priority_of, refusal, with_command};
use crate::report::journald::ids::{PROMISE, RESTORED, VERIFIED};
use crate::report::wording::count;

pub fn findings(findings: &Findings, context: &Context) -> Vec<JournalEntry> {
    let mut entries = notes(context);
    entries.extend(findings.refusals.iter().map(refusal));
    let images = findings.images.iter();
    entries.extend(images.clone().filter_map(restored));
    entries.extend(images.filter(|line| !line.is_fine()).map(promise));
    // The checks of every image include the store's. Without a promised image, the store has an
    // entry of its own.
    let alone = findings
        .store
        .iter()
        .filter(|store| findings.images.is_empty() && store.status != Status::Ok);
    entries.extend(alone.map(|store| broken("the store", None, store.status, &[store])));
    let room = findings.room.iter();
    entries.extend(
        room.filter(|room| room.level != Level::Enough)
            .map(little_room),
    );
    let (exit, all) = (findings.exit(), findings.images.len());
    let word = findings.result();
    let checked = findings.refusals.is_empty() || findings.is_checked();
    let mut message = match (checked, all) {
        (false, _) => "refused, nothing was checked".to_owned(),
        (_, 0) => format!("{word}: no image is promised"),
        _ => format!(
            "{word}: {} of {all} images are as promised",
            count(findings, Status::Ok)
        ),
    };
    let mut fields = vec![
        ("RESULT", word.to_owned()),
        ("EXIT", (exit as u8).to_string()),
        ("POLICY", context.policy.shown()),
    ];
    let facts = findings.engine.as_ref();
    fields.extend(facts.map(|facts| ("ENGINE", engine(facts))));
    let disk = findings.room.as_ref().and_then(|room| room.disk.as_ref());
    let used = disk.and_then(|disk| facts?.used_percent(disk));
    fields.extend(used.map(|used| ("DISK_USED_PERCENT", format!("{used:.1}"))));
    // A refused run checked nothing, so it has no counts, not even 0.
    for (name, status) in [
        ("OK", Status::Ok),
        ("BROKEN", Status::Broken),
        ("UNKNOWN", Status::Unknown),
        ("MOVED", Status::Moved),
    ] {
        let images = count(findings, status);
        if checked {
            fields.push((name, images.to_string()));
        }
        if images > 0 && status != Status::Ok {
            // Writing to a String cannot fail.
            let _ = write!(message, "; {images} {}", status.name());
        }
    }
    let not_asked = findings.not_asked();
    if not_asked > 0 {
        fields.push(("NOT_ASKED", not_asked.to_string()));
        let _ = write!(message, "; {not_asked} asked of no registry");
    }
    if let Some(written) = findings.written() {
        fields.push(("SAVED_BYTES", written.bytes.0.to_string()));
        fields.push(("NOT_SAVED", findings.unsaved().to_string()));
        let _ = write!(message, "; {} saved", written.bytes);
    }
    if findings.unsaved() > 0 {
        let _ = write!(message, "; {} not saved", findings.unsaved());
    }
    entries.push(entry(VERIFIED, priority_of(exit), message, fields));
    with_command(entries, "verify-cache")
}

/// An image that was restored. The promise's own entry tells why one was not.
fn restored(line: &Line) -> Option<JournalEntry> {
    let restored = line.restored.as_ref()?.as_ref().ok()?;
    let (from, image) = (restored.from.name(), &line.image);
    let message = format!("restored: {image}: {} from {from}", restored.bytes);
    let fields = vec![
        ("NAMES", image.full()),
        ("FROM", from.to_owned()),
        ("BYTES", restored.bytes.0.to_string()),
        ("MILLISECONDS", restored.milliseconds().to_string()),
    ];
    Some(entry(RESTORED, Priority::Info, message, fields))
}

fn promise(line: &Line) -> JournalEntry {
    let wrong: Vec<&Check> = line
        .checks
        .iter()
        .filter(|check| check.status != Status::Ok)
        .collect();
    let what = line.image.to_string();
    let mut entry = broken(&what, Some(&line.image), line.status(), &wrong);
    if let Some(saved) = line.saved.as_ref().filter(|saved| saved.is_fault()) {
        entry.priority = Priority::Error;
        let _ = write!(entry.message, "{saved}");
        entry.fields.push(("NOT_SAVED", saved.to_string()));
    }
    let by = line.by.iter().map(By::words).collect::<Vec<_>>();
    entry.fields.push(("STATE", line.state.name().to_owned()));
    let since = line
        .since
        .map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true));
    entry.fields.extend(since.map(|at| ("SINCE", at)));
    entry.fields.push(("PROMISED_BY", by.join(", ")));
    if let Some(Err(why)) = &line.restored {
        entry.fields.push(("NOT_RESTORED", why.message()));
    }
    entry
}

/// Little room, or none.
fn little_room(room: &Room) -> JournalEntry {
    let check = &room.check;
    let mut entry = broken("the store", None, check.status, &[check]);
    if room.level == Level::Warn {
        entry.priority = Priority::Warning;
        entry.message = format!("little room: {}", check.message);
    }
    entry
}

/// `image`: `None` for the store, which has no name.
fn broken(what: &str, image: Option<&Wanted>, status: Status, checks: &[&Check]) -> JournalEntry {
    let priority = match status {
        Status::Broken => Priority::Error,
        Status::Unknown => Priority::Warning,
        Status::Moved | Status::Ok => Priority::Info,
    };
    let of = |check: &&Check| format!("{}: {}", check.kind.name(), check.message);
    let reason = checks.iter().map(of).collect::<Vec<_>>().join("; ");
    let names = image.map(|image| ("NAMES", image.full()));
    let mut fields: Vec<_> = names.into_iter().collect();
    fields.extend([
        ("STATUS", status.name().to_owned()),
        ("REASON", reason.clone()),
    ]);
    let message = format!("{}: {what}: {reason}", status.name());
    entry(PROMISE, priority, message, fields)
}
