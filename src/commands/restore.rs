//! `verify-cache --restore`: the memory under the run lock, the sources of images, the journal.

use std::path::Path;

use crate::cache::archive::Archive;
use crate::cache::checks::gone::Past;
use crate::cache::findings::Findings;
use crate::cache::promise::Promise;
use crate::cache::questions::Registries;
use crate::cache::restore::from_archive::FromArchive;
use crate::cache::restore::from_registry::FromRegistry;
use crate::cache::restore::repair::Call;
use crate::cache::restore::{Known, Repairs, Restore, RestoreOutcome, Source};
use crate::cli::{Global, VerifyCacheArgs};
use crate::commands::own_run::name_of_run;
use crate::commands::progress::Progress;
use crate::commands::start::state_dir;
use crate::engine::{Info, Reader};
use crate::exit::{Exit, Fault};
use crate::host::clock;
use crate::host::signals::EndRequest;
use crate::memory::journal::Record;
use crate::memory::state::State;
use crate::policy::Policy;

/// Reads the memory. If it cannot be read, the run ends: it may know which image was promised.
pub(super) fn past(state: &State, info: &Info, notes: &mut Vec<String>) -> Result<Past, Fault> {
    let memory = state.memory(&info.facts.key())?;
    notes.extend(memory.notes);
    Ok(Past::new(memory.ledger, &state.history()?))
}

/// The archive to restore from, if there is one. One that cannot be used is noted, because the
/// registries may have the images.
///
/// # Errors
///
/// If others may write to it: then its content is not trusted.
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

/// The sources of images, in the order in which they are asked.
///
/// # Errors
///
/// As [`archive`].
fn sources<'a>(
    (reader, info): (&'a Reader, &'a Info),
    (dir, registries, notes): (Option<&Path>, &'a mut Registries, &mut Vec<String>),
    policy: &Policy,
    follow: bool,
) -> Result<Vec<Source<'a>>, Fault> {
    let archive = archive(dir, notes)?;
    let mut sources = Vec::new();
    if let (Some(archive), Some(platform)) = (archive, reader.platform().cloned()) {
        let archive = FromArchive::new(reader, info, archive, platform, follow);
        sources.push(Source::Archive(archive));
    }
    let min_left = policy.restore.min_pulls_left;
    let registries = FromRegistry::new(reader, registries, min_left);
    sources.push(Source::Registry(registries));
    Ok(sources)
}

/// Adds to each damaged image what a person can do about it, with `--deep --restore`.
pub(super) async fn repairs(
    asked: &EndRequest,
    (reader, info, policy): (&Reader, &Info, &Policy),
    (dir, registries): (Option<&Path>, &mut Registries),
    (global, args): (&Global, &VerifyCacheArgs),
    findings: &mut Findings,
) -> Result<(), Fault> {
    if !(args.deep && args.restore) || asked.is() {
        return Ok(());
    }
    let call = call(global, args)?;
    // Faults of the archive were noted during the restore.
    let from = (dir, &mut *registries, &mut Vec::new());
    let repairs = Repairs {
        reader,
        info,
        policy,
        sources: sources((reader, info), from, policy, false)?,
        call: &call,
    };
    let noted = Box::pin(asked.unless(repairs.note(&mut findings.images))).await;
    noted.transpose()?;
    findings.asked = registries.asked();
    Ok(())
}

/// The beginning of commands for this host.
fn call(global: &Global, args: &VerifyCacheArgs) -> Result<Call, Fault> {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let option = |name: &str, value: Option<String>| -> Vec<String> {
        let value = value.map(|value| [name.to_owned(), value]);
        value.into_iter().flatten().collect()
    };
    let host = || option("--host", global.host.clone());
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Ok(Call {
        docker: [words(&["docker"]), host()].concat(),
        secateur: [
            words(&["secateur"]),
            option("--policy", global.policy.as_deref().map(path)),
            host(),
            option("--state-dir", global.state_dir.as_deref().map(path)),
            words(&["verify-cache"]),
            option("--user-config", args.user_config.as_deref().map(path)),
        ]
        .concat(),
        restore: option("--archive", args.archive.as_deref().map(path)),
        state_dir: path(&state_dir(global)?),
    })
}

/// Restores promised images that are not here, and writes that to the journal. `dir`: the
/// folder of an archive; `notes`: gets its faults.
pub(super) async fn bring_back(
    (reader, info, asked): (&Reader, &Info, &EndRequest),
    (dir, registries, notes): (Option<&Path>, &mut Registries, &mut Vec<String>),
    known: Known<'_>,
    promises: &[Promise],
    state: &mut State,
    progress: &mut Progress,
) -> Result<RestoreOutcome, Fault> {
    let run = name_of_run(clock::now());
    let from = (dir, registries, &mut *notes);
    let sources = sources((reader, info), from, known.policy, known.follow)?;
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
