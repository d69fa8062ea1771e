//! Asks at both ends of a prune for losses that no answer of the engine told,
//! and puts them into journal and outcome. What a loss is, is said in
//! `aftermath`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::{EngineError, Info, Reader};
use crate::exit::Fault;
use crate::host::clock;
use crate::memory::journal::{Record, RemovalResult};
use crate::memory::state::{Memory, State};
use crate::model::{ImageId, Inventory};
use crate::prune::aftermath;
use crate::prune::live::{LiveEngine, LiveHost};
use crate::prune::outcome::{Collateral, Ending, Outcome};

/// Containers that were made of an image while the run before this one removed
/// it, and tags that it was given, which were not there yet when it ended.
pub(crate) async fn of_earlier_runs(
    (seen, info): (&Inventory, &Info),
    reader: &Reader,
    state: &mut State,
    memory: &Memory,
    run: &str,
) -> Result<Vec<Collateral>, Fault> {
    let suspects = aftermath::without_image(seen);
    if suspects.is_empty() && !aftermath::may_be_late(&seen.events) {
        return Ok(Vec::new());
    }
    let mut journal = state.history()?;
    journal.extend(aftermath::cut_off(&journal, &memory.pending, seen));
    let since = memory.ledger.asks_since();
    let removed = aftermath::removed(&journal, since);
    let lost = async {
        let mut lost = aftermath::orphans(reader, &suspects, &removed, &journal).await?;
        let names = aftermath::late_names(reader, info, seen, since, &journal);
        lost.extend(names.await?);
        Ok::<_, EngineError>(lost)
    };
    let lost = lost.await?;
    state.record(&aftermath::records(run, seen.taken_at, &lost), true)?;
    Ok(lost)
}

/// What was lost by this run. An error is a note for its report.
pub(crate) async fn look_back(
    engine: &LiveEngine<'_>,
    host: &mut LiveHost<'_>,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let untouched = outcome.removed.is_empty() && outcome.unconfirmed.is_empty();
    if untouched && !outcome.skipped.iter().any(aftermath::was_kept) {
        return Ok(());
    }
    let asked = tokio::time::timeout(patience(&outcome.ending), lost(engine, outcome));
    let unknown = |why: String| format!("what came while images went is not known: {why}");
    let lost = asked
        .await
        .map_err(|_| unknown("the engine takes too long to say".into()))?
        .map_err(|error| unknown(error.to_string()))?;
    let records = aftermath::records(&outcome.run, clock::now(), &lost);
    if let Err(fault) = host.state.record(&records, true) {
        outcome.ending = Ending::StateLost(fault.message);
    }
    outcome.collateral.extend(lost);
    Ok(())
}

/// How long is waited for what the engine says of a run's end. One that was
/// asked to end must be over within ten seconds, whatever its engine does.
fn patience(ending: &Ending) -> Duration {
    match ending {
        Ending::Interrupted | Ending::EngineLost(_) => Duration::from_secs(1),
        Ending::Done
        | Ending::Refused
        | Ending::PlanRefused(_)
        | Ending::OutOfTime
        | Ending::Surprised
        | Ending::StateLost(_) => Duration::from_secs(5),
    }
}

async fn lost(engine: &LiveEngine<'_>, outcome: &Outcome) -> Result<Vec<Collateral>, EngineError> {
    let (reader, info) = (engine.remover.reader(), engine.info);
    let mut lost = engine
        .claims
        .lost(reader, info, outcome, clock::now())
        .await?;
    let containers = reader.containers(info).await?;
    let removed = outcome.removed.iter().map(|removed| &removed.id);
    let removed = removed
        .cloned()
        .collect::<std::collections::BTreeSet<ImageId>>();
    lost.extend(aftermath::orphans(reader, &containers, &removed, &[]).await?);
    Ok(lost)
}

/// What an engine went on with after a run was cut off is told after all. A run
/// that was itself asked to end, or lost its engine, leaves that.
pub(crate) async fn went_on(
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
    let late = went_late(reader, &memory.pending, inventory, outcome).await;
    if let Err(fault) = state.record(&late, true) {
        outcome.ending = Ending::StateLost(fault.message);
    }
}

/// How long a run waits for what [`went_late`] asks.
const LATE: Duration = Duration::from_secs(5);

/// Images that were here when [`resolved`] closed their intents, and went since
/// though this run removed them not: the engine was still at it when the run
/// that had asked for it was cut off. What cannot be told in time is left.
pub async fn went_late(
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
            if !matches!(reader.inspect(&intent.id).await, Ok(None)) {
                continue;
            }
            let why = "the run was cut off; the image went after the next look at it";
            late.push(Record::outcome(
                &intent.run,
                inventory.taken_at,
                intent.id.clone(),
                RemovalResult::Removed,
                Some(why.into()),
            ));
        }
    };
    // Out of time, what was told by then counts.
    let _ = tokio::time::timeout(LATE, ask).await;
    late
}

/// Intents of runs that were cut off, and what became of them.
pub fn resolved(pending: &BTreeMap<ImageId, Record>, inventory: &Inventory) -> Vec<Record> {
    pending
        .values()
        .map(|intent| {
            let (came, why) = if inventory.images.contains_key(&intent.id) {
                (
                    RemovalResult::Skipped,
                    "the run was cut off; the image is still here",
                )
            } else {
                (
                    RemovalResult::Removed,
                    "the run was cut off; the image is gone",
                )
            };
            Record::outcome(
                &intent.run,
                inventory.taken_at,
                intent.id.clone(),
                came,
                Some(why.into()),
            )
        })
        .collect()
}
