//! Removes entries that nobody promises any more, and their blobs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::cache::archive::digest::Digest;
use crate::cache::archive::entry::{Entry, Ours};
use crate::cache::archive::error::ArchiveError;
use crate::cache::archive::writer::Writer;
use crate::cache::promise::baseline::Recorded;
use crate::cache::promise::{Promise, Wanted};
use crate::engine::Platform;

/// Marks our entries with the time since which nobody promises them, and removes them after
/// `min_age`. Their blobs are deleted after the index is written, if no entry leads to them; if
/// that is unknown, all blobs stay.
pub fn trim(
    writer: &mut Writer,
    promises: &[Promise],
    min_age: Duration,
    now: DateTime<Utc>,
    platform: &Platform,
) -> Result<(), ArchiveError> {
    let min_age = TimeDelta::from_std(min_age).unwrap_or(TimeDelta::MAX);
    let is_wanted = |entry: &Entry, ours: &Ours| {
        promises.iter().any(|promise| {
            let by_name = match &promise.wanted {
                Wanted::Name(name) => entry.name.as_ref() == Some(name),
                Wanted::Id(id) => entry.name.is_none() && ours.image_id.as_ref() == Some(id),
            };
            by_name
                || promise
                    .recorded
                    .as_ref()
                    .is_some_and(|it| is_recorded(it, entry, ours))
        })
    };
    let (mut noted, mut gone) = (Vec::new(), Vec::new());
    for entry in writer.archive.entries() {
        let Some(ours) = &entry.ours else { continue };
        let since = match ours.unpromised_since {
            _ if is_wanted(entry, ours) => None,
            // A time in the future does not count.
            Some(since) if since <= now => Some(since),
            _ => Some(now),
        };
        if since.is_some_and(|since| now - since >= min_age) {
            gone.push(entry.clone());
        } else if since != ours.unpromised_since {
            let unpromised_since = since;
            let ours = Ours {
                unpromised_since,
                ..ours.clone()
            };
            let (descriptor, name) = (entry.descriptor.clone(), entry.name.clone());
            noted.push(Entry::new(descriptor, name, ours));
        }
    }
    for entry in noted {
        writer.put(entry);
    }
    if gone.is_empty() {
        return Ok(());
    }
    let blobs = blobs_only_of(writer, &gone);
    writer.drop(|entry| {
        let mut same = gone.iter().filter(|gone| gone.name == entry.name);
        same.any(|gone| gone.descriptor == entry.descriptor)
    });
    writer.commit(platform)?;
    for (digest, size) in blobs {
        writer.remove(&digest, size)?;
    }
    Ok(())
}

/// Whether it is the image that a baseline recorded, whatever its name leads to now.
fn is_recorded(recorded: &Recorded, entry: &Entry, ours: &Ours) -> bool {
    let mut digests = recorded.digests.iter().filter_map(|it| it.parse().ok());
    let by_id = recorded.id.is_some() && recorded.id == ours.image_id;
    by_id || digests.any(|digest| entry.has_digest(&digest))
}

/// The blobs to which only these entries lead; empty if some entry cannot be followed.
fn blobs_only_of(writer: &Writer, gone: &[Entry]) -> BTreeMap<Digest, u64> {
    let archive = &writer.archive;
    let is_gone = |entry: &Entry| gone.iter().any(|gone| gone.raw.get() == entry.raw.get());
    if archive.index.has_odd() {
        return BTreeMap::new();
    }
    let mut kept = BTreeSet::new();
    for entry in archive.entries().filter(|entry| !is_gone(entry)) {
        match archive.blobs_of(entry) {
            Ok(blobs) => kept.extend(blobs.into_iter().map(|blob| blob.digest)),
            Err(_) => return BTreeMap::new(),
        }
    }
    let blobs = gone.iter().filter_map(|entry| archive.blobs_of(entry).ok());
    let blobs = blobs.flatten().map(|blob| (blob.digest, blob.size));
    blobs.filter(|(digest, _)| !kept.contains(digest)).collect()
}
