//! What `verify-cache --restore` rests on: the memory under the run lock, the places that
//! images come from, the journal.

use crate::cache::checks::gone::Past;
use crate::cache::promise::Promise;
use crate::cache::questions::Registries;
use crate::cache::restore::from_registry::FromRegistry;
use crate::cache::restore::{Came, Known, Restore, Source};
use crate::commands::own_run::name_of_run;
use crate::commands::progress::Progress;
use crate::engine::{Info, Reader};
use crate::exit::Fault;
use crate::host::clock;
use crate::host::signals::AskedToEnd;
use crate::memory::journal::Record;
use crate::memory::state::State;

/// What we remember. A memory that cannot be read ends the run: it may know which image was
/// promised.
pub(super) fn past(state: &State, info: &Info, notes: &mut Vec<String>) -> Result<Past, Fault> {
    let memory = state.memory(&info.facts.key())?;
    notes.extend(memory.notes);
    Ok(Past::new(memory.ledger, &state.history()?))
}

/// Brings back what is promised and not here, and writes it to the journal.
pub(super) async fn bring_back(
    (reader, info, asked): (&Reader, &Info, &AskedToEnd),
    known: Known<'_>,
    promises: &[Promise],
    registries: &mut Registries,
    state: &mut State,
    progress: &mut Progress,
) -> Result<Came, Fault> {
    let run = name_of_run(clock::now());
    let min_left = known.policy.restore.min_pulls_left;
    let registries = FromRegistry::new(reader, registries, min_left);
    let work = Restore {
        reader,
        info,
        known,
        asked,
        sources: vec![Source::Registry(registries)],
        record: &mut |id, what| state.record(&[Record::new(&run, clock::now(), id, what)], true),
        on_step: &mut |step| progress.show(|| step.to_string()),
    };
    work.restore(promises).await
}
