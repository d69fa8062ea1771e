//! The decision: which images stay, and why; which may go; which this run
//! removes. Pure and total: policy, inventory, ledger in, plan out. It reads
//! no clock, asks nobody and cannot fail. A keep rule can only keep more; what
//! is not known keeps.

mod choose;
pub mod plan;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::decide::plan::{Class, Entry, Evidence, HeldBack, Plan, Unneeded, Verdict};
use crate::memory::ledger::{Ledger, Printed, Sighting};
use crate::model::reference::Reference;
use crate::model::users::{User, users};
use crate::model::{Image, ImageId, Inventory, Store};
use crate::policy::{DigestPinned, Policy};

pub use choose::pressure;

/// Whose word counts for the age of untagged images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Our own memory; the engine's dates can only make an image younger.
    OwnMemory,
    /// For untagged images, the newest of the engine's own dates: for the day
    /// when the disk is full and there is no memory yet.
    EngineDates,
}

/// Decides for every image of the inventory. `ledger` is the memory *after*
/// this look ([`Ledger::observe`]).
pub fn decide(policy: &Policy, inventory: &Inventory, ledger: &Ledger, trust: Trust) -> Plan {
    let host = Host::new(policy, inventory, ledger, trust);
    let entries = inventory
        .images
        .values()
        .map(|image| entry(&host, image))
        .collect();
    choose::choose(policy, inventory, entries)
}

/// What the rules look at, gathered once.
struct Host<'a> {
    policy: &'a Policy,
    inventory: &'a Inventory,
    ledger: &'a Ledger,
    trust: Trust,
    users: BTreeMap<&'a ImageId, Vec<User<'a>>>,
    children: BTreeMap<&'a ImageId, &'a ImageId>,
    /// For each image, the tags whose rollback it is.
    rollbacks: BTreeMap<&'a ImageId, Vec<Rollback<'a>>>,
    tags_in_use: BTreeSet<&'a Reference>,
}

impl<'a> Host<'a> {
    fn new(policy: &'a Policy, inventory: &'a Inventory, ledger: &'a Ledger, trust: Trust) -> Self {
        let images = inventory.images.values();
        let tags_in_use: BTreeSet<_> = images.clone().flat_map(|image| &image.tags).collect();
        let mut users = users(inventory);
        for (id, container) in ledger.mounted_once(inventory) {
            users.entry(id).or_default().push(User::Mount(container));
        }
        Self {
            policy,
            inventory,
            ledger,
            trust,
            users,
            children: images
                .filter_map(|image| Some((image.parent.as_ref()?, &image.id)))
                .collect(),
            rollbacks: rollbacks(inventory, ledger, &tags_in_use),
            tags_in_use,
        }
    }

    fn sighting(&self, image: &Image) -> Option<&'a Sighting> {
        self.ledger.sighting(&image.id)
    }

    fn class(&self, image: &Image) -> Class {
        let superseded = || {
            self.sighting(image)
                .is_some_and(|seen| seen.tags.keys().any(|tag| self.tags_in_use.contains(tag)))
        };
        let asked = || {
            self.sighting(image)
                .is_some_and(|seen| seen.asked_by_digest.is_some())
        };
        match (image.tags.is_empty(), image.digests.is_empty()) {
            (false, _) => Class::Tagged,
            // Whoever asked for it by digest may do so again, whatever tag it had beside
            // that.
            (true, _) if asked() => Class::DigestPinned,
            (true, true) => Class::Untagged,
            (true, false) if superseded() => Class::Superseded,
            // Also where its tag is nobody's now: whoever untagged it may
            // still know the digest.
            (true, false) => Class::DigestPinned,
        }
    }

    /// Everything that says when this image was last wanted.
    fn evidence(&self, image: &Image, class: Class) -> Vec<Unneeded> {
        let at = |evidence, since: Option<DateTime<Utc>>| {
            since.map(|since| Unneeded { since, evidence })
        };
        let seen = self.sighting(image);
        // The one exception to "our memory counts": asked for, for untagged
        // images alone, when they were first seen does not count.
        let by_engine = self.trust == Trust::EngineDates && class == Class::Untagged;
        let first_seen = seen.map(|s| s.first_seen).filter(|_| !by_engine);
        [
            at(Evidence::FirstSeen, first_seen),
            at(Evidence::LastTagged, seen.and_then(Sighting::last_tagged)),
            at(Evidence::LastUsed, seen.and_then(|s| s.last_used)),
            at(Evidence::BuiltOn, seen.and_then(|s| s.built_on)),
            at(Evidence::Created, image.dates.created),
            at(Evidence::LastTagTime, tag_time(image)),
            at(Evidence::Stored, image.dates.stored),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// How long it must have been unneeded.
    fn wanted_age(&self, class: Class) -> std::time::Duration {
        match (class, self.policy.digest_pinned) {
            (Class::DigestPinned, DigestPinned::After(age)) => age,
            (Class::Tagged | Class::Untagged | Class::Superseded | Class::DigestPinned, _) => {
                self.policy.min_age
            }
        }
    }
}

/// When a tag was last set on it, or, on the containerd store, when it lost its last
/// one.
fn tag_time(image: &Image) -> Option<DateTime<Utc>> {
    let looked = image.last_tag_time.as_ref();
    let at = looked.and_then(|looked| looked.known().copied().flatten());
    // A run that was cut off gave it a name of ours: that tag wants nothing.
    at.filter(|at| image.ours.is_empty() || image.ours_until.is_none_or(|ours| *at > ours))
}

/// That an image carried a tag before the one that has it now.
struct Rollback<'a> {
    tag: &'a Reference,
    /// 1 for the newest.
    rank: usize,
    /// Whether no more is known than that it may have carried the tag then.
    perhaps: bool,
}

/// For each tag that an image carries now: who carried it before, newest first,
/// numbered from 1.
fn rollbacks<'a>(
    inventory: &'a Inventory,
    ledger: &'a Ledger,
    tags_in_use: &BTreeSet<&'a Reference>,
) -> BTreeMap<&'a ImageId, Vec<Rollback<'a>>> {
    let mut before: BTreeMap<&Reference, Vec<(DateTime<Utc>, &ImageId)>> = BTreeMap::new();
    let mut perhaps = faded(inventory, ledger, tags_in_use);
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
        // That store dates the moment at which it lost a tag; not which one.
        let lost = tag_time(image)
            .filter(|_| inventory.engine.store == Store::Containerd && image.tags.is_empty());
        let had = sighting.tags.keys().filter(moved);
        perhaps.extend(
            lost.into_iter()
                .flat_map(|at| had.clone().map(move |tag| (tag, at, id))),
        );
    }
    let mut ranks: BTreeMap<&ImageId, Vec<Rollback<'a>>> = BTreeMap::new();
    // For each tag, when others carried it last.
    let mut moments: BTreeMap<&Reference, Vec<DateTime<Utc>>> = BTreeMap::new();
    for (tag, images) in &mut before {
        images.sort_unstable_by(|a, b| b.cmp(a));
        let of_tag = moments.entry(tag).or_default();
        of_tag.extend(images.iter().map(|(last, _)| *last));
        of_tag.dedup();
        // Images last seen with the tag at the same look cannot be told apart
        // by age: they share a rank, and all of them stay.
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
    // What may have carried it keeps its own place, and takes nobody else's.
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

/// What may have carried a tag once, as far as the fingerprints of its names
/// tell. When, nobody knows any more, but no later than it had any name: it may be
/// the newest that did until then.
fn faded<'a>(
    inventory: &'a Inventory,
    ledger: &'a Ledger,
    tags_in_use: &BTreeSet<&'a Reference>,
) -> Vec<(&'a Reference, DateTime<Utc>, &'a ImageId)> {
    let known = |seen: &Sighting| !seen.faded.is_empty() && !seen.faded.is_any();
    let faded: Vec<_> = ledger.sightings().filter(|(_, seen)| known(seen)).collect();
    if faded.is_empty() {
        return Vec::new();
    }
    let in_use = Printed::of(tags_in_use.iter().copied());
    let mut found = Vec::new();
    for (id, sighting) in faded {
        let Some(image) = inventory.images.get(id) else {
            continue;
        };
        let had = sighting.faded.among(&in_use).into_iter();
        let had = had.filter(|tag| !image.tags.contains(*tag));
        // Of two at one moment nobody knows which came first.
        let until = sighting.last_tagged();
        let until = until.and_then(|at| at.checked_add_signed(TimeDelta::nanoseconds(1)));
        let until = until.unwrap_or(DateTime::<Utc>::MAX_UTC);
        found.extend(had.map(|tag| (tag, until, id)));
    }
    found
}

fn entry(host: &Host<'_>, image: &Image) -> Entry {
    let class = host.class(image);
    let unneeded = host
        .evidence(image, class)
        .into_iter()
        .max_by_key(|unneeded| unneeded.since);
    let reasons: Vec<_> = rules::RULES
        .iter()
        .flat_map(|rule| rule(host, image, class, unneeded))
        .collect();
    let verdict = if reasons.is_empty() {
        Verdict::Candidate(HeldBack::DiskHasRoom)
    } else {
        Verdict::Keep
    };
    Entry {
        reclaimable: image.reclaimable_at_least(host.inventory.engine.store),
        image: Arc::new(image.clone()),
        class,
        unneeded: unneeded
            .filter(|_| class != Class::Tagged && !host.users.contains_key(&image.id)),
        reasons,
        verdict,
    }
}
