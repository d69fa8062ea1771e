//! Closes the intents of runs that were cut off, by whether their images are still here.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::Reader;
use crate::memory::journal::{Record, RemovalResult};
use crate::memory::state::{Memory, State};
use crate::model::{ImageId, Inventory};
use crate::prune::outcome::{Ending, Outcome};

/// How long a run waits at its end for answers about these images.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// Outcomes that close these intents, by this survey. If names of an image are to be put back, its
/// intent stays open, and is written again with the tags that went along, because no later survey
/// can find those.
pub fn outcomes(pending: &BTreeMap<ImageId, Record>, inventory: &Inventory) -> Vec<Record> {
    let outcome = |intent: &Record| {
        let (result, why) = if inventory.images.contains_key(&intent.id) {
            let why = "the run was cut off; the image is still here";
            (RemovalResult::Skipped, why)
        } else {
            let why = "the run was cut off; the image is gone";
            (RemovalResult::Removed, why)
        };
        closed(intent, inventory, result, why)
    };
    let record = |intent: &Record| match inventory.images.get(&intent.id) {
        Some(image) if !image.untied.is_empty() => intent.with_names(&image.untied),
        _ => Some(outcome(intent)),
    };
    pending.values().filter_map(record).collect()
}

/// At the end of a run, asks whether the engine was still removing images for a run that was cut
/// off, and records those that are gone now. A run that was asked to end, or that lost its
/// engine, does not ask.
pub(crate) async fn recheck(
    reader: &Reader,
    state: &mut State,
    memory: &Memory,
    inventory: &Inventory,
    outcome: &mut Outcome,
) {
    if !matches!(
        outcome.ending,
        Ending::Done | Ending::Refused | Ending::PlanRefused(_)
    ) {
        return;
    }
    let late = late_removals(reader, &memory.pending, inventory, outcome).await;
    if let Err(fault) = state.record(&late, true) {
        outcome.ending = Ending::StateLost(fault.message);
    }
}

/// Images that were here when [`outcomes`] closed their intents, and that are gone now, but not
/// by this run. After [`ANSWERED_WITHIN`] it returns what it knows so far.
async fn late_removals(
    reader: &Reader,
    pending: &BTreeMap<ImageId, Record>,
    inventory: &Inventory,
    outcome: &Outcome,
) -> Vec<Record> {
    let by_us = |id: &ImageId| outcome.removed.iter().any(|removed| removed.id == *id);
    let doubtful = pending
        .values()
        .filter(|intent| inventory.images.contains_key(&intent.id) && !by_us(&intent.id));
    let mut late = Vec::new();
    let ask = async {
        for intent in doubtful {
            if matches!(reader.inspect(&intent.id).await, Ok(None)) {
                let why = "the run was cut off; the image went after the next run had inspected it";
                late.push(closed(intent, inventory, RemovalResult::Removed, why));
            }
        }
    };
    let _ = tokio::time::timeout(ANSWERED_WITHIN, ask).await;
    late
}

fn closed(intent: &Record, inventory: &Inventory, result: RemovalResult, why: &str) -> Record {
    let id = intent.id.clone();
    Record::outcome(
        &intent.run,
        inventory.taken_at,
        id,
        result,
        Some(why.into()),
    )
}
