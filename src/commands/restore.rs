//! What `verify-cache --restore` rests on: the memory under the run lock, the places that
//! images come from, the journal.

use std::path::Path;

use crate::cache::archive::Archive;
use crate::cache::checks::gone::Past;
use crate::cache::promise::Promise;
use crate::cache::questions::Registries;
use crate::cache::restore::from_archive::FromArchive;
use crate::cache::restore::from_registry::FromRegistry;
use crate::cache::restore::{Came, Known, Restore, Source};
use crate::commands::own_run::name_of_run;
use crate::commands::progress::Progress;
use crate::engine::{Info, Reader};
use crate::exit::{Exit, Fault};
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

/// The archive that images are brought from, where there is one. One that cannot be used is
/// noted, for the registries may have what is promised.
///
/// # Errors
///
/// Where others may write to it: then nothing that it says is believed.
fn archive(dir: Option<&Path>, notes: &mut Vec<String>) -> Result<Option<Archive>, Fault> {
    match dir.map(Archive::open).transpose() {
        Ok(opened) => Ok(opened),
        Err(error) if error.exit() == Exit::Permission => {
            Err(Fault::new(error.exit(), error.to_string()))
        }
        Err(error) => {
            notes.push(format!("archive: {error}"));
            Ok(None)
        }
    }
}

/// Brings back what is promised and not here, and writes it to the journal. `dir`:
/// the folder of an archive; `notes`: what of it cannot be used.
pub(super) async fn bring_back(
    (reader, info, asked): (&Reader, &Info, &AskedToEnd),
    (dir, registries, notes): (Option<&Path>, &mut Registries, &mut Vec<String>),
    known: Known<'_>,
    promises: &[Promise],
    state: &mut State,
    progress: &mut Progress,
) -> Result<Came, Fault> {
    let run = name_of_run(clock::now());
    let min_left = known.policy.restore.min_pulls_left;
    let registries = FromRegistry::new(reader, registries, min_left);
    let archive = archive(dir, notes)?;
    let mut sources = Vec::new();
    if let (Some(archive), Some(platform)) = (archive, reader.platform().cloned()) {
        let follow = known.follow;
        let archive = FromArchive::new(reader, info, archive, platform, follow);
        sources.push(Source::Archive(archive));
    }
    sources.push(Source::Registry(registries));
    let work = Restore {
        reader,
        info,
        known,
        asked,
        sources,
        record: &mut |id, what| state.record(&[Record::new(&run, clock::now(), id, what)], true),
        on_step: &mut |step| progress.step(step),
    };
    let mut came = work.restore(promises).await?;
    notes.append(&mut came.notes);
    Ok(came)
}
