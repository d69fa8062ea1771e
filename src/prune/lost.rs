//! Finds losses that no answer of the engine reported, at the beginning and at the end of a run,
//! and writes them to journal and outcome.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::engine::{EngineError, Info, Reader};
use crate::exit::Fault;
use crate::host::clock;
use crate::memory::state::{Memory, State};
use crate::model::{ImageId, Inventory};
use crate::prune::aftermath;
use crate::prune::live::{LiveEngine, LiveHost};
use crate::prune::outcome::{Ending, Loss, Outcome};

/// Losses of earlier runs that could not be found yet when those runs ended: containers and tags
/// of an image that was being removed. They are found again until a run has told them, see
/// [`tell`].
pub(crate) async fn by_earlier_runs(
    (inventory, info): (&Inventory, &Info),
    reader: &Reader,
    state: &State,
    memory: &Memory,
) -> Result<Vec<Loss>, Fault> {
    let suspects = aftermath::without_image(inventory);
    if suspects.is_empty() && !aftermath::may_be_late(&inventory.events) {
        return Ok(Vec::new());
    }
    let mut journal = state.history()?;
    journal.extend(aftermath::cut_off(&journal, &memory.pending, inventory));
    let since = memory.ledger.events_since();
    let removed = aftermath::removed(&journal, since);
    let mut lost = aftermath::orphans(reader, &suspects, &removed, &journal).await?;
    let names = aftermath::late_names(reader, info, inventory, since, &journal);
    lost.extend(names.await?);
    Ok(lost)
}

/// Adds losses to the outcome. By the journal later runs know that they were told.
/// `at`: when they were found.
pub(crate) fn tell(
    state: &mut State,
    outcome: &mut Outcome,
    (at, lost): (DateTime<Utc>, Vec<Loss>),
) {
    let records = aftermath::records(&outcome.run, at, &lost);
    if let Err(fault) = state.record(&records, true)
        && outcome.ending == Ending::Done
    {
        outcome.ending = Ending::StateLost(fault.message);
    }
    outcome.lost.extend(lost);
}

/// Losses of this run. An error is a note for its report.
pub(crate) async fn by_this_run(
    engine: &LiveEngine<'_>,
    host: &mut LiveHost<'_>,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let untouched = outcome.removed.is_empty() && outcome.unconfirmed.is_empty();
    if untouched && !outcome.skipped.iter().any(aftermath::was_kept) {
        return Ok(());
    }
    let asked = tokio::time::timeout(longest_wait(&outcome.ending), lost(engine, outcome));
    let unknown = |why: String| {
        format!("what was tagged, pulled or started while images were removed is not known: {why}")
    };
    let lost = asked
        .await
        .map_err(|_| unknown("the engine takes too long to say".into()))?
        .map_err(|error| unknown(error.to_string()))?;
    tell(&mut host.state, outcome, (clock::now(), lost));
    Ok(())
}

/// How long a run waits for these answers at its end. A run that was asked to end must be over
/// within ten seconds, even if its engine hangs.
fn longest_wait(ending: &Ending) -> Duration {
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

async fn lost(engine: &LiveEngine<'_>, outcome: &Outcome) -> Result<Vec<Loss>, EngineError> {
    let (reader, info) = (engine.remover.reader(), engine.info);
    let mut lost = engine
        .claims
        .lost(reader, info, outcome, clock::now())
        .await?;
    let containers = reader.containers(info).await?;
    let removed = outcome.removed.iter().map(|removed| removed.id.clone());
    let removed: BTreeSet<ImageId> = removed.collect();
    lost.extend(aftermath::orphans(reader, &containers, &removed, &[]).await?);
    Ok(lost)
}
