//! What a journal tells of intents: which are open, and which removals an engine refused.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::memory::journal::{Record, RecordKind, RemovalResult, SkipCause, of_engine, records};
use crate::model::ImageId;
use crate::model::reference::Reference;

/// Images whose last removal this engine refused. They are tried again, but nothing else waits
/// for them.
pub fn resisting(journal: &[u8], engine: &str) -> BTreeSet<ImageId> {
    let mut resisting = BTreeSet::new();
    for record in of_engine(records(journal), engine) {
        let RecordKind::Outcome {
            result, because, ..
        } = record.what
        else {
            continue;
        };
        match (result, because) {
            (RemovalResult::Failed, _)
            | (RemovalResult::Skipped, Some(SkipCause::EngineWouldNot)) => {
                resisting.insert(record.id);
            }
            // Its turn did not come, so nothing new is known.
            (RemovalResult::Skipped, _) => {}
            (RemovalResult::Removed | RemovalResult::Collateral | RemovalResult::Unknown, _) => {
                resisting.remove(&record.id);
            }
        }
    }
    resisting
}

/// Intents without an outcome: a run was cut off there. A line that does not parse (its write
/// was cut off) is skipped: an intent is written in full before the removal begins.
pub fn open_intents(journal: &[u8]) -> Vec<Record> {
    open(records(journal))
}

fn open(records: impl Iterator<Item = Record>) -> Vec<Record> {
    let mut open: Vec<Record> = Vec::new();
    for record in records {
        match record.what {
            // It includes the names of the open intents before it, which another run may have
            // dropped.
            RecordKind::Intent { .. } => {
                open.retain(|intent| (&intent.id, &intent.engine) != (&record.id, &record.engine));
                open.push(record);
            }
            RecordKind::Outcome {
                because: Some(SkipCause::NamesPutBack | SkipCause::LeadsToNothing),
                ..
            } => open.retain(|intent| {
                let by_another = record.engine.is_some() && intent.engine != record.engine;
                intent.id != record.id || by_another
            }),
            RecordKind::Outcome {
                result: RemovalResult::Unknown,
                ..
            } => {}
            RecordKind::Restored { .. } => {}
            // Another run's engine may have an image of the same id.
            RecordKind::Outcome { .. } => {
                open.retain(|intent| (&intent.id, &intent.run) != (&record.id, &record.run));
            }
        }
    }
    open
}

/// Images that stayed, of which a new journal begins with the last intent: the newest.
const CARRIED: usize = 500;

/// What a new journal begins with: the [`open_intents`]; and of images that stayed, the last
/// intent and its outcome. An image may still have our name alone, and the engine may refuse to
/// remove it.
pub fn carried(journal: &[u8]) -> Vec<Record> {
    // By their place in the journal: dates may go back.
    let mut of_runs: Vec<Vec<Record>> = Vec::new();
    let mut places: BTreeMap<(ImageId, String), usize> = BTreeMap::new();
    for record in records(journal) {
        let key = (record.id.clone(), record.run.clone());
        match record.what {
            RecordKind::Intent { .. } => {
                places.insert(key, of_runs.len());
                of_runs.push(vec![record]);
            }
            RecordKind::Outcome { .. } => {
                if let Some(place) = places.get(&key) {
                    of_runs[*place].push(record);
                }
            }
            RecordKind::Restored { .. } => {}
        }
    }
    let mut seen = BTreeSet::new();
    let last = of_runs.iter().rev();
    let last = last.filter(|run| seen.insert((run[0].id.clone(), run[0].engine.clone())));
    let mut stayed: Vec<&Vec<Record>> = last.filter(|run| stayed(run)).take(CARRIED).collect();
    stayed.reverse();
    let stayed = stayed.into_iter().flatten().cloned();
    stayed.chain(open_intents(journal)).collect()
}

/// Whether an image stayed, by its last outcome, and its names were not put back.
fn stayed(run: &[Record]) -> bool {
    let Some(RecordKind::Outcome {
        result, because, ..
    }) = run.last().map(|record| &record.what)
    else {
        return false;
    };
    matches!(result, RemovalResult::Failed | RemovalResult::Skipped)
        && *because != Some(SkipCause::NamesPutBack)
}

/// Of the [`open_intents`], the last for each image of this engine: only an image's
/// own engine can tell whether it is still there.
pub fn pending(journal: &[u8], engine: &str) -> BTreeMap<ImageId, Record> {
    open(of_engine(records(journal), engine))
        .into_iter()
        .map(|record| (record.id.clone(), record))
        .collect()
}

/// The last intent to remove an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intended {
    pub at: DateTime<Utc>,
    /// The names that it had then, and tags that went with them since.
    pub names: Vec<Reference>,
    /// It has no outcome.
    pub open: bool,
}

/// The last intent for each image, also one whose outcome is known: if the removal failed, the
/// image may still have the name that secateur gave it.
pub fn intended(journal: &[u8], engine: &str) -> BTreeMap<ImageId, Intended> {
    let open: BTreeSet<ImageId> = pending(journal, engine).into_keys().collect();
    let intended = |record: Record| match record.what {
        RecordKind::Intent { names, .. } => {
            let names = names.iter().filter_map(|name| name.parse().ok()).collect();
            let (at, open) = (record.at, open.contains(&record.id));
            Some((record.id, Intended { at, names, open }))
        }
        RecordKind::Outcome { .. } | RecordKind::Restored { .. } => None,
    };
    of_engine(records(journal), engine)
        .filter_map(intended)
        .collect()
}
