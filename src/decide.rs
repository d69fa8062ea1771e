//! The decision: which images stay, and why; which may go; which this run
//! removes. Pure and total: policy, inventory, ledger in, plan out. It reads
//! no clock, asks nobody and cannot fail. A keep rule can only keep more; what
//! is not known keeps.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::activity::{Disk, Room};
use crate::ledger::{Ledger, Sighting};
use crate::model::{Bytes, Image, ImageId, Inventory, Observed, Store, Swarm};
use crate::plan::{
    Class, Entry, Evidence, HeldBack, KeepReason, Plan, Pressure, Unneeded, Verdict,
};
use crate::policy::{DigestPinned, DiskLimits, Policy};
use crate::reference::Reference;
use crate::users::{User, users};

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
    choose(policy, inventory, entries)
}

/// What the rules look at, gathered once.
struct Host<'a> {
    policy: &'a Policy,
    inventory: &'a Inventory,
    ledger: &'a Ledger,
    trust: Trust,
    users: BTreeMap<&'a ImageId, Vec<User<'a>>>,
    children: BTreeMap<&'a ImageId, &'a ImageId>,
    /// For each image, the tags whose rollback it is, and its rank there.
    rollbacks: BTreeMap<&'a ImageId, Vec<(&'a Reference, usize)>>,
    tags_in_use: BTreeSet<&'a Reference>,
}

impl<'a> Host<'a> {
    fn new(policy: &'a Policy, inventory: &'a Inventory, ledger: &'a Ledger, trust: Trust) -> Self {
        let images = inventory.images.values();
        let tags_in_use: BTreeSet<_> = images.clone().flat_map(|image| &image.tags).collect();
        Self {
            policy,
            inventory,
            ledger,
            trust,
            users: users(inventory),
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
        match (image.tags.is_empty(), image.digests.is_empty()) {
            (false, _) => Class::Tagged,
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
        let tag_time = image
            .last_tag_time
            .as_ref()
            .and_then(|looked| looked.known().copied().flatten());
        // A run that was cut off gave it a name of ours: that tag wants nothing.
        let tag_time = tag_time
            .filter(|at| image.ours.is_empty() || image.ours_until.is_none_or(|ours| *at > ours));
        // The one exception to "our memory counts": asked for, for untagged
        // images alone, when they were first seen does not count.
        let by_engine = self.trust == Trust::EngineDates && class == Class::Untagged;
        let first_seen = seen.map(|s| s.first_seen).filter(|_| !by_engine);
        [
            at(Evidence::FirstSeen, first_seen),
            at(Evidence::LastTagged, seen.and_then(Sighting::last_tagged)),
            at(Evidence::LastUsed, seen.and_then(|s| s.last_used)),
            at(Evidence::Created, image.dates.created),
            at(Evidence::LastTagTime, tag_time),
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

/// For each tag that an image carries now: who carried it before, newest
/// first, numbered from 1.
fn rollbacks<'a>(
    inventory: &'a Inventory,
    ledger: &'a Ledger,
    tags_in_use: &BTreeSet<&'a Reference>,
) -> BTreeMap<&'a ImageId, Vec<(&'a Reference, usize)>> {
    let mut before: BTreeMap<&Reference, Vec<(DateTime<Utc>, &ImageId)>> = BTreeMap::new();
    for (id, sighting) in ledger.sightings() {
        let Some(image) = inventory.images.get(id) else {
            continue;
        };
        for (tag, last) in &sighting.tags {
            if tags_in_use.contains(tag) && !image.tags.contains(tag) {
                before.entry(tag).or_default().push((*last, id));
            }
        }
    }
    let mut ranks: BTreeMap<&ImageId, Vec<(&Reference, usize)>> = BTreeMap::new();
    for (tag, mut images) in before {
        images.sort_unstable_by(|a, b| b.cmp(a));
        // Images last seen with the tag at the same look cannot be told apart
        // by age: they share a rank, and all of them stay.
        let mut rank = 0;
        let mut newer = None;
        for (last, id) in images {
            if newer != Some(last) {
                rank += 1;
                newer = Some(last);
            }
            ranks.entry(id).or_default().push((tag, rank));
        }
    }
    ranks
}

type Rule = fn(&Host<'_>, &Image, Class, Option<Unneeded>) -> Vec<KeepReason>;

/// Every keep rule, in the order in which reasons are reported. An image may
/// go only when none of them speaks.
const RULES: [Rule; 9] = [
    incomplete,
    tagged,
    in_use,
    parent,
    keep_image,
    keep_label,
    previous,
    digest_pinned,
    age,
];

fn entry(host: &Host<'_>, image: &Image) -> Entry {
    let class = host.class(image);
    let unneeded = host
        .evidence(image, class)
        .into_iter()
        .max_by_key(|unneeded| unneeded.since);
    let reasons: Vec<_> = RULES
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
        image: image.clone(),
        class,
        unneeded: unneeded
            .filter(|_| class != Class::Tagged && !host.users.contains_key(&image.id)),
        reasons,
        verdict,
    }
}

fn incomplete(host: &Host<'_>, image: &Image, _: Class, _: Option<Unneeded>) -> Vec<KeepReason> {
    let engine = host
        .inventory
        .engine
        .look_only()
        .filter(|_| image.is_dangling())
        .map(str::to_owned);
    let swarm = match &host.inventory.at_work.swarm {
        Swarm::Unreadable(why) => Some(format!("what Swarm wants here cannot be read: {why}")),
        Swarm::Inactive | Swarm::Worker | Swarm::Manager { .. } => None,
    };
    [image.incomplete.clone(), engine, swarm]
        .into_iter()
        .flatten()
        .map(KeepReason::Incomplete)
        .collect()
}

fn tagged(_: &Host<'_>, image: &Image, _: Class, _: Option<Unneeded>) -> Vec<KeepReason> {
    if image.tags.is_empty() {
        Vec::new()
    } else {
        vec![KeepReason::Tagged(image.tags.clone())]
    }
}

fn in_use(host: &Host<'_>, image: &Image, _: Class, _: Option<Unneeded>) -> Vec<KeepReason> {
    let reason = |user: &User<'_>| match user {
        User::Container(c) => KeepReason::InUse {
            container: c.name.escaped(),
            state: c.state.escaped(),
        },
        User::Mount(c) => KeepReason::ImageMount {
            container: c.name.escaped(),
        },
        User::Service(s) => KeepReason::Service {
            service: s.service.escaped(),
            spec: s.spec,
        },
    };
    host.users
        .get(&image.id)
        .into_iter()
        .flatten()
        .map(reason)
        .collect()
}

fn parent(host: &Host<'_>, image: &Image, _: Class, _: Option<Unneeded>) -> Vec<KeepReason> {
    host.children
        .get(&image.id)
        .map(|child| KeepReason::Parent {
            child: (*child).clone(),
        })
        .into_iter()
        .collect()
}

fn keep_image(host: &Host<'_>, image: &Image, _: Class, _: Option<Unneeded>) -> Vec<KeepReason> {
    let covered = |name| {
        host.policy
            .keep_images
            .iter()
            .find(|pattern| pattern.covers(name))
    };
    let mut hits: Vec<_> = image
        .tags
        .iter()
        .chain(&image.digests)
        .filter_map(covered)
        .map(|pattern| pattern.text.clone())
        .collect();
    hits.sort();
    hits.dedup();
    hits.into_iter()
        .map(|pattern| KeepReason::KeepImage { pattern })
        .collect()
}

fn keep_label(host: &Host<'_>, image: &Image, _: Class, _: Option<Unneeded>) -> Vec<KeepReason> {
    let hits = host
        .policy
        .keep_labels
        .iter()
        .filter(|rule| rule.covers(image));
    hits.map(|rule| KeepReason::KeepLabel { rule: rule.text() })
        .collect()
}

fn previous(host: &Host<'_>, image: &Image, _: Class, _: Option<Unneeded>) -> Vec<KeepReason> {
    let ranks = host.rollbacks.get(&image.id).into_iter().flatten();
    ranks
        .filter(|(_, rank)| *rank <= host.policy.previous)
        .map(|(tag, rank)| KeepReason::Previous {
            tag: (*tag).clone(),
            rank: *rank,
        })
        .collect()
}

fn digest_pinned(host: &Host<'_>, _: &Image, class: Class, _: Option<Unneeded>) -> Vec<KeepReason> {
    let why = match (class, host.inventory.engine.store) {
        (Class::Tagged | Class::Untagged, _) => None,
        // There, dropping a digest reference also takes the tag beside it:
        // no safe way to remove such an image.
        (Class::Superseded | Class::DigestPinned, store @ (Store::Containerd | Store::Podman)) => {
            Some(format!(
                "on the {store} store that is a name of its own, and stays"
            ))
        }
        (Class::Superseded, Store::Graphdriver) => None,
        (Class::DigestPinned, Store::Graphdriver) => match host.policy.digest_pinned {
            DigestPinned::Keep => {
                Some("cache for the next deploy (age.digest_pinned = \"keep\")".to_owned())
            }
            DigestPinned::After(_) => None,
        },
    };
    why.map(KeepReason::DigestPinned).into_iter().collect()
}

fn age(
    host: &Host<'_>,
    image: &Image,
    class: Class,
    unneeded: Option<Unneeded>,
) -> Vec<KeepReason> {
    let now = host.inventory.taken_at;
    let wanted = host.wanted_age(class);
    let delta = TimeDelta::from_std(wanted).unwrap_or(TimeDelta::MAX);
    let ready = |since: DateTime<Utc>| {
        since
            .checked_add_signed(delta)
            .unwrap_or(DateTime::<Utc>::MAX_UTC)
    };
    let by_engine = host.trust == Trust::EngineDates && class == Class::Untagged;
    let mut reasons = Vec::new();
    match host.sighting(image) {
        _ if by_engine => {}
        Some(seen) if seen.first_seen < now => {}
        // A memory that starts now, or in the future, is none.
        Some(_) | None => reasons.push(KeepReason::FirstSeen {
            ready_at: ready(now),
        }),
    }
    if let Some(Observed::Unknown(why)) = &image.last_tag_time {
        reasons.push(KeepReason::AgeUnknown(why.clone()));
    }
    match unneeded {
        None => reasons.push(KeepReason::AgeUnknown(
            "neither the ledger nor the engine has a date for it".into(),
        )),
        Some(unneeded) if now < ready(unneeded.since) && reasons.is_empty() => {
            reasons.push(KeepReason::TooYoung {
                unneeded,
                ready_at: ready(unneeded.since),
                wanted,
            });
        }
        Some(_) => {}
    }
    reasons
}

/// Which candidates this run removes: oldest unneeded first, then by id, until
/// the disk has what it asks for.
fn choose(policy: &Policy, inventory: &Inventory, mut entries: Vec<Entry>) -> Plan {
    let pressure = match &inventory.disk {
        Observed::Known(disk) => pressure(&policy.disk, disk),
        Observed::Unknown(why) => Pressure::Unknown(why.clone()),
    };
    let mut order: Vec<usize> = (0..entries.len())
        .filter(|&index| entries[index].verdict != Verdict::Keep)
        .collect();
    order.sort_by_key(|&index| {
        (
            entries[index].unneeded.map(|u| u.since),
            entries[index].image.id.clone(),
        )
    });
    let mut freed = Bytes(0);
    let mut removed = 0;
    for &index in &order {
        let held_back = match &pressure {
            Pressure::Room { .. } => Some(HeldBack::DiskHasRoom),
            Pressure::Unknown(_) => Some(HeldBack::DiskUnknown),
            Pressure::Asked {
                wanted: Some(wanted),
                ..
            } if freed >= *wanted => Some(HeldBack::TargetReached),
            Pressure::Asked { .. } if removed == policy.limits.max_images => {
                Some(HeldBack::MaxImages)
            }
            Pressure::Asked { .. } => None,
        };
        entries[index].verdict = held_back.map_or(Verdict::Remove, Verdict::Candidate);
        if held_back.is_none() {
            removed += 1;
            freed = [freed, entries[index].reclaimable].into_iter().sum();
        }
    }
    order.retain(|&index| entries[index].verdict == Verdict::Remove);
    Plan {
        now: inventory.taken_at,
        engine: inventory.engine.clone(),
        disk: inventory.disk.clone(),
        pressure,
        entries,
        order,
    }
}

/// Whether this disk asks for space, by these limits.
pub fn pressure(limits: &DiskLimits, disk: &Disk) -> Pressure {
    let percent = disk.used_percent();
    let free = disk.free();
    let short = limits.min_free.filter(|min| free < *min);
    let why = if limits.start_above_percent == 0.0 {
        "disk.start_above_percent is 0: always".to_owned()
    } else if percent > limits.start_above_percent {
        format!(
            "{percent:.1} % used, above {} % (disk.start_above_percent)",
            limits.start_above_percent
        )
    } else if let Some(min) = short {
        format!("{free} free, below {min} (disk.min_free)")
    } else {
        let why = format!(
            "{percent:.1} % used, at most {} % wanted (disk.start_above_percent)",
            limits.start_above_percent
        );
        return Pressure::Room { why };
    };
    Pressure::Asked {
        why,
        wanted: wanted(limits, disk),
    }
}

/// Bytes to free until the disk is content; `None` where bytes cannot tell.
fn wanted(limits: &DiskLimits, disk: &Disk) -> Option<Bytes> {
    if limits.stop_below_percent == 0.0 || !is_content(limits, disk.inodes) {
        return None;
    }
    let Room { used, available } = disk.bytes;
    let allowed = (used as f64 + available as f64) * limits.stop_below_percent / 100.0;
    // Rounded up: to be below the threshold, not at it.
    let by_percent = (used as f64 - allowed).max(0.0).ceil();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 or more, at most a u64"
    )]
    let by_percent = by_percent as u64;
    let by_free = limits
        .min_free
        .map_or(0, |min| min.0.saturating_sub(available));
    Some(Bytes(by_percent.max(by_free)))
}

/// Whether this many inodes are few enough to stop.
fn is_content(limits: &DiskLimits, inodes: Option<Room>) -> bool {
    inodes.is_none_or(|inodes| inodes.used_percent() <= limits.stop_below_percent)
}

/// Whether a run that frees space can stop: the disk has what was asked for.
pub fn target_reached(limits: &DiskLimits, disk: &Disk) -> bool {
    wanted(limits, disk) == Some(Bytes(0))
}
