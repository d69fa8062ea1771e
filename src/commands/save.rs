//! `verify-cache --save`: where it saves to, and its faults.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cache::archive::{Fetch, Save, Saved, Unsaved};
use crate::cache::findings::Findings;
use crate::cache::promise::lists::{self, Listed};
use crate::cache::promise::{Promise, Sources, Wanted, promises};
use crate::cache::questions::Registries;
use crate::cache::run::images;
use crate::cli::{Global, VerifyCacheArgs};
use crate::commands::baseline;
use crate::commands::progress::Progress;
use crate::engine::{Info, Platform, Reader};
use crate::exit::{Exit, Fault};
use crate::host::clock;
use crate::memory::clock::Clock;
use crate::policy::Policy;
use crate::report::Context;

/// The names in the lists of the policy.
pub(super) fn listed(policy: &Policy, context: &mut Context) -> Result<Vec<Listed>, Fault> {
    let (lists, notes) = lists::read(&policy.promised)?;
    context.notes.extend(notes);
    Ok(lists)
}

pub(super) fn archive<'a>(args: &'a VerifyCacheArgs, policy: &'a Policy) -> Option<&'a Path> {
    args.archive.as_deref().or(policy.archive.dir.as_deref())
}

pub(super) fn folder(archive: Option<&Path>) -> Result<&Path, Fault> {
    archive.ok_or_else(|| {
        let message = "--save: where to? Name the archive's folder with --archive, or in the policy ([archive] dir)";
        Fault::new(Exit::Usage, message)
    })
}

/// Saves promised images that are here now, also those that were just restored or pulled.
pub(super) async fn promised(
    folder: &Path,
    (reader, info, policy): (&Reader, &Info, &Policy),
    promises: &[Promise],
    (deep, clock_is_sound): (bool, bool),
    (progress, notes): (&mut Progress, &mut Vec<String>),
) -> Result<BTreeMap<Wanted, Saved>, Fault> {
    let save = Save {
        reader,
        info,
        policy,
        here: &images(reader, info).await?,
        at: clock::now(),
        deep,
        clock_is_sound,
        on_step: &mut |step| progress.step(step),
    };
    let all = Box::pin(save.all(folder, promises)).await;
    let all = all.map_err(unsaved)?;
    notes.extend(all.damage);
    Ok(all.each)
}

/// Saves promised images from their registries. Without an engine, promises of `cache.recent`
/// are unknown; then nothing is dropped from the archive.
pub(super) async fn from_registry(
    global: &Global,
    args: &VerifyCacheArgs,
    policy: &Policy,
    context: &mut Context,
) -> Result<Findings, Fault> {
    let folder = folder(archive(args, policy))?;
    let lists = listed(policy, context)?;
    let against = args
        .against
        .as_deref()
        .map(baseline::read_any)
        .transpose()?;
    let sources = Sources {
        arguments: &args.images,
        lists: &lists,
        baseline: against.as_ref(),
        ..Sources::of(policy)
    };
    let promises = promises(&sources, &BTreeMap::new());
    let promises = promises.map_err(|why| Fault::new(Exit::Usage, why))?;
    let all_known = policy.promised.recent.is_none();
    if !all_known {
        let note = "what ran here of late (cache.recent) is not known without an engine: it is not saved, and nothing is dropped from the archive";
        context.notes.push(note.to_owned());
    }
    let now = clock::read()?;
    let mut progress = Progress::new(global);
    let mut registries = Registries::without_engine(args.user_config.as_deref());
    let fetch = Fetch {
        registries: &mut registries,
        policy,
        platform: Platform::of_this_machine(),
        follow: args.follow,
        deep: args.deep,
        at: now.wall,
        may_trim: all_known && Clock::between(None, &now) == Clock::Sound,
        on_step: &mut |step| progress.step(step),
    };
    let fetched = Box::pin(fetch.all(folder, &promises)).await;
    progress.clear();
    let fetched = fetched.map_err(unsaved)?;
    context.notes.extend(fetched.damage);
    let came = (fetched.each, registries.asked());
    Ok(Findings::without_engine(
        now.wall,
        &promises,
        came,
        args.strict,
    ))
}

fn unsaved(why: Unsaved) -> Fault {
    match why {
        Unsaved::Engine(error) => error.into(),
        Unsaved::Archive(error) => Fault::new(error.exit(), format!("--save: {error}")),
        Unsaved::Held(held) => {
            let message = format!("--save: {held}; what it saves is kept, run this again later");
            Fault::new(Exit::RefusedForNow, message)
        }
    }
}
