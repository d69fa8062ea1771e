//! What `verify-cache` reads of engine and memory before its checks.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join;

use crate::cache::checks::gone::Past;
use crate::cache::checks::present::Lacks;
use crate::cache::run::images;
use crate::cli::Global;
use crate::commands::restore;
use crate::commands::start::state_dir;
use crate::engine::{Info, Reader, StoredContent};
use crate::exit::Fault;
use crate::host::files::StateDir;
use crate::memory::ledger::{Ledger, Uses};
use crate::memory::state::{self, State};
use crate::model::{Image, ImageId, Incomplete, Store};
use crate::policy::Policy;

type Images = BTreeMap<ImageId, Image>;
type StoredContents = BTreeMap<ImageId, StoredContent>;

/// All images, and what the store holds of each.
pub(super) async fn list(reader: &Reader, info: &Info) -> Result<(Images, StoredContents), Fault> {
    let (here, held) = Box::pin(join(images(reader, info), reader.held(info))).await;
    Ok((here?, held?))
}

/// Images whose content is incomplete. On a containerd store that may be all of it: a name of an
/// image that went just before.
pub(super) fn in_part(
    reader: &Reader,
    info: &Info,
    here: &Images,
    held: &StoredContents,
) -> BTreeSet<ImageId> {
    let lacks = |held: &StoredContent| Lacks::of(held, reader.platform()?);
    let some = held.iter();
    let some = some.filter(|(_, held)| matches!(lacks(held), Some(Lacks::Part(_))));
    let is_name_alone = |image: &&Image| {
        info.facts.store == Store::Containerd
            && matches!(image.incomplete, Some(Incomplete::Odd(_)))
    };
    let names = here.values().filter(is_name_alone).map(|image| &image.id);
    some.map(|(id, _)| id).chain(names).cloned().collect()
}

/// For `cache.recent`: the days of use in the ledger, with what runs now and what the engine
/// still knows to have run within this time.
pub(super) async fn ran(
    reader: &Reader,
    info: &Info,
    ledger: &Ledger,
    policy: &Policy,
    (now, here): (DateTime<Utc>, &Images),
) -> Result<Option<Uses>, Fault> {
    let Some(time) = policy.promised.recent else {
        return Ok(None);
    };
    let containers = reader.containers(info).await?;
    let since = TimeDelta::from_std(time).ok();
    let since = since.and_then(|time| now.checked_sub_signed(time));
    let events = reader.events(info, since, now).await?;
    let uses = ledger.uses().clone();
    Ok(Some(uses.and(&containers, &events, here, now)))
}

/// Reads the memory. If it cannot be read and nothing is to be restored, a note says so, and
/// the images are checked all the same.
pub(super) fn past(
    global: &Global,
    state: Option<&State>,
    info: &Info,
    notes: &mut Vec<String>,
) -> Result<Past, Fault> {
    if let Some(state) = state {
        return restore::past(state, info, notes);
    }
    let key = &info.facts.key();
    let read = || -> Result<Past, Fault> {
        let dir = StateDir::find(&state_dir(global)?)?;
        let memory = state::read(dir.as_ref(), key)?;
        let history = |dir| state::history(dir, key);
        let journal = dir.as_ref().map(history).transpose()?;
        Ok(Past::new(memory.ledger, &journal.unwrap_or_default()))
    };
    Ok(read().unwrap_or_else(|fault| {
        notes.push(format!(
            "what was here before is not known: {}",
            fault.message
        ));
        Past::new(Ledger::empty(key), &[])
    }))
}
