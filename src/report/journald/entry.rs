//! Entries that both commands write.

use crate::exit::{Exit, Fault};
use crate::guard::Refusal;
use crate::host::journald::{JournalEntry, Priority};
use crate::model::EngineFacts;
use crate::report::context::Context;
use crate::report::journald::ids::{FAULT, NOTE, REFUSED};

pub(crate) type Fields = Vec<(&'static str, String)>;

/// Why a command ended without a report.
pub fn fault(fault: &Fault, command: &str) -> JournalEntry {
    let fields = vec![
        ("COMMAND", command.to_owned()),
        ("RESULT", "error".to_owned()),
        ("EXIT", (fault.exit as u8).to_string()),
    ];
    let message = format!("error: {}", fault.message);
    entry(FAULT, priority_of(fault.exit), message, fields)
}

pub(crate) fn refusal(refusal: &Refusal) -> JournalEntry {
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

pub(crate) fn notes(context: &Context) -> Vec<JournalEntry> {
    let note = |priority, text: &String| entry(NOTE, priority, format!("note: {text}"), Vec::new());
    let notes = context.notes.iter();
    let notes = notes.map(|text| note(Priority::Notice, text));
    // Every run has this note, and if one policy serves many hosts it is no mistake.
    let unmatched = context.unmatched_note();
    let unmatched = unmatched.map(|text| note(Priority::Info, &text));
    notes.chain(unmatched).collect()
}

/// Exit code 75 is no failure.
pub(crate) fn priority_of(exit: Exit) -> Priority {
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
) -> JournalEntry {
    JournalEntry {
        id,
        priority,
        message,
        fields,
    }
}

pub(crate) fn with_command(mut entries: Vec<JournalEntry>, command: &str) -> Vec<JournalEntry> {
    for entry in &mut entries {
        entry.fields.insert(0, ("COMMAND", command.to_owned()));
    }
    entries
}

pub(crate) fn engine(facts: &EngineFacts) -> String {
    format!("{} {}", facts.version.escaped(), facts.driver.escaped())
}
