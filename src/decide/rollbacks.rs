//! Which images are rollbacks: those that had a tag before the image that has it now, and in
//! which order.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::memory::ledger::{FingerprintIndex, Ledger, Sighting};
use crate::model::reference::Reference;
use crate::model::{Image, ImageId, Inventory, Store};

pub(super) struct Rollback<'a> {
    pub(super) tag: &'a Reference,
    /// 1 for the newest.
    pub(super) rank: usize,
    /// It may have had the tag; more is not known.
    pub(super) perhaps: bool,
}

/// For each tag that an image has now: which images had it before, newest first.
pub(super) fn rollbacks<'a>(
    inventory: &'a Inventory,
    ledger: &'a Ledger,
    tags_in_use: &BTreeSet<&'a Reference>,
) -> BTreeMap<&'a ImageId, Vec<Rollback<'a>>> {
    let mut before: BTreeMap<&Reference, Vec<(DateTime<Utc>, &ImageId)>> = BTreeMap::new();
    let mut perhaps = by_fingerprint(inventory, ledger, tags_in_use);
    for (id, sighting) in ledger.sightings() {
        let Some(image) = inventory.images.get(id) else {
            continue;
        };
        let moved = |tag: &&Reference| tags_in_use.contains(tag) && !image.tags.contains(tag);
        for (tag, last) in sighting.tags.iter().filter(|(tag, _)| moved(tag)) {
            before.entry(tag).or_default().push((*last, id));
        }
        for (tag, last) in sighting.perhaps.iter().filter(|(tag, _)| moved(tag)) {
            perhaps.push((tag, *last, id));
        }
        // That store dates the moment at which the image lost a tag, but not which one.
        let lost = tag_time(image)
            .filter(|_| inventory.engine.store == Store::Containerd && image.tags.is_empty())
            .map(|at| ledger.by_this_clock(at));
        let had = sighting.tags.keys().filter(moved);
        perhaps.extend(
            lost.into_iter()
                .flat_map(|at| had.clone().map(move |tag| (tag, at, id))),
        );
    }
    let mut ranks: BTreeMap<&ImageId, Vec<Rollback<'a>>> = BTreeMap::new();
    // For each tag, the moments at which other images last had it.
    let mut moments: BTreeMap<&Reference, Vec<DateTime<Utc>>> = BTreeMap::new();
    for (tag, images) in &mut before {
        images.sort_unstable_by(|a, b| b.cmp(a));
        let of_tag = moments.entry(tag).or_default();
        of_tag.extend(images.iter().map(|(last, _)| *last));
        of_tag.dedup();
        // Images last seen with the tag at the same survey cannot be told apart by age: they
        // share a rank, and all of them stay.
        let mut rank = 0;
        let mut newer = None;
        for (last, id) in images {
            if newer != Some(*last) {
                rank += 1;
                newer = Some(*last);
            }
            let perhaps = false;
            ranks
                .entry(id)
                .or_default()
                .push(Rollback { tag, rank, perhaps });
        }
    }
    // An image that may have had the tag gets a rank of its own and moves no other.
    for (tag, last, id) in perhaps {
        let known = moments.get(tag).map_or(&[][..], Vec::as_slice);
        let rank = 1 + known.partition_point(|at| *at >= last);
        let mine = ranks.entry(id).or_default();
        if mine
            .iter()
            .all(|other| other.tag != tag || other.rank > rank)
        {
            mine.retain(|other| other.tag != tag);
            let perhaps = true;
            mine.push(Rollback { tag, rank, perhaps });
        }
    }
    ranks
}

/// Images that may have had a tag, by the fingerprints of their names. When is not known, only
/// that it was before `last_tagged`: so each of them may be the newest until then.
fn by_fingerprint<'a>(
    inventory: &'a Inventory,
    ledger: &'a Ledger,
    tags_in_use: &BTreeSet<&'a Reference>,
) -> Vec<(&'a Reference, DateTime<Utc>, &'a ImageId)> {
    let known = |seen: &Sighting| !seen.fingerprints.is_empty() && !seen.fingerprints.is_any();
    let forgotten: Vec<_> = ledger.sightings().filter(|(_, seen)| known(seen)).collect();
    if forgotten.is_empty() {
        return Vec::new();
    }
    let in_use = FingerprintIndex::of(tags_in_use.iter().copied());
    let mut found = Vec::new();
    for (id, sighting) in forgotten {
        let Some(image) = inventory.images.get(id) else {
            continue;
        };
        let had = sighting.fingerprints.among(&in_use).into_iter();
        let had = had.filter(|tag| !image.tags.contains(*tag));
        // Later than an image that had the tag at the same moment: which came first is not
        // known.
        let until = sighting.last_tagged();
        let until = until.and_then(|at| at.checked_add_signed(TimeDelta::nanoseconds(1)));
        let until = until.unwrap_or(DateTime::<Utc>::MAX_UTC);
        found.extend(had.map(|tag| (tag, until, id)));
    }
    found
}

/// When a tag was last set, or, on the containerd store, when the last one was lost.
pub(super) fn tag_time(image: &Image) -> Option<DateTime<Utc>> {
    let inspected = image.last_tag_time.as_ref();
    let at = inspected.and_then(|inspected| inspected.known().copied().flatten());
    // A run that was cut off gave it a name of ours: that tag shows no need.
    at.filter(|at| image.ours.is_empty() || image.ours_until.is_none_or(|ours| *at > ours))
}
