//! Asks at both ends of a prune for losses that no answer of the engine told,
//! and puts them into journal and outcome. What a loss is, is said in
//! `aftermath`.

use std::time::Duration;

use crate::aftermath::{self, Claims};
use crate::engine::{EngineError, Info, Reader};
use crate::exit::Fault;
use crate::host::clock;
use crate::model::{ImageId, Inventory};
use crate::outcome::{Collateral, Ending, Outcome};
use crate::state::{Memory, State};
use crate::survey::{engine_fault, went_late};
use crate::watch::Armed;

/// Containers that were made of an image while the run before this one removed
/// it, and tags that it was given, which were not there yet when it ended.
pub(super) async fn of_earlier_runs(
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
        Ok(lost)
    };
    let lost = lost
        .await
        .map_err(|error: EngineError| engine_fault(&error))?;
    state.record(&aftermath::records(run, seen.taken_at, &lost), true)?;
    Ok(lost)
}

/// What was lost by this run. An error is a note for its report.
pub(super) async fn look_back(
    claims: &Claims,
    reader: &Reader,
    info: &Info,
    host: &mut Armed<'_>,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let untouched = outcome.removed.is_empty() && outcome.unconfirmed.is_empty();
    if untouched && !outcome.skipped.iter().any(aftermath::was_kept) {
        return Ok(());
    }
    let asked = tokio::time::timeout(
        patience(&outcome.ending),
        lost(claims, reader, info, outcome),
    );
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

async fn lost(
    claims: &Claims,
    reader: &Reader,
    info: &Info,
    outcome: &Outcome,
) -> Result<Vec<Collateral>, EngineError> {
    let mut lost = claims.lost(reader, info, outcome, clock::now()).await?;
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
pub(super) async fn went_on(
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
