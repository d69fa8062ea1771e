//! What is known of one host, gathered once for the rules: who uses an image,
//! what is built on it, whose rollback it is, when it was last wanted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::decide::plan::{Class, Evidence, Unneeded};
use crate::decide::retention::{had, has};
use crate::decide::rollbacks::{Rollback, rollbacks, tag_time};
use crate::memory::ledger::{Ledger, Sighting};
use crate::model::names::{User, users};
use crate::model::reference::Reference;
use crate::model::{Image, ImageId, Inventory, Store};
use crate::policy::{DigestPinned, Effective, Policy, Retention};

/// Which dates count for the age of untagged images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The ledger's; the engine's dates can only make an image younger.
    OwnMemory,
    /// The newest of the engine's own dates: for the day when the disk is full and there is no
    /// ledger yet.
    EngineDates,
}

pub(super) struct Facts<'a> {
    pub(super) policy: &'a Policy,
    pub(super) inventory: &'a Inventory,
    pub(super) ledger: &'a Ledger,
    pub(super) trust: Trust,
    pub(super) users: BTreeMap<&'a ImageId, Vec<User<'a>>>,
    pub(super) children: BTreeMap<&'a ImageId, &'a ImageId>,
    /// For each image, the tags whose rollback it is.
    pub(super) rollbacks: BTreeMap<&'a ImageId, Vec<Rollback<'a>>>,
    pub(super) tags_in_use: BTreeSet<&'a Reference>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(
        policy: &'a Policy,
        inventory: &'a Inventory,
        ledger: &'a Ledger,
        trust: Trust,
    ) -> Self {
        let images = inventory.images.values();
        let tags_in_use: BTreeSet<_> = images.clone().flat_map(|image| &image.tags).collect();
        let mut users = users(inventory);
        for (id, container) in ledger.mounted_by_lost_name(inventory) {
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

    pub(super) fn subject(&self, image: &'a Image) -> Subject<'a> {
        let seen = self.ledger.sighting(&image.id);
        let class = self.class(image, seen);
        let covers = |pattern: &_| has(pattern, image) || seen.is_some_and(|it| had(pattern, it));
        Subject {
            image,
            seen,
            class,
            retention: self.policy.retention(covers),
            unneeded: self.unneeded(image, seen, class),
        }
    }

    fn class(&self, image: &Image, seen: Option<&Sighting>) -> Class {
        let superseded =
            |seen: &Sighting| seen.tags.keys().any(|tag| self.tags_in_use.contains(tag));
        let asked = seen.is_some_and(|seen| seen.asked_by_digest.is_some());
        let by_tag_too = self.inventory.engine.store != Store::Containerd;
        match (image.tags.is_empty(), image.digests.is_empty()) {
            (false, _) => Class::Tagged,
            // Whoever asked for it by digest may do so again, whatever tag it had as well.
            (true, _) if asked => Class::DigestPinned,
            (true, true) => Class::Untagged,
            (true, false) if by_tag_too && seen.is_some_and(superseded) => Class::Superseded,
            // Also where no image has its tag now: whoever untagged it may still know the
            // digest. And on the containerd store, where a pull by tag leaves no digest
            // reference.
            (true, false) => Class::DigestPinned,
        }
    }

    /// The last date at which the image was wanted.
    fn unneeded(&self, image: &Image, seen: Option<&Sighting>, class: Class) -> Option<Unneeded> {
        // With `Trust::EngineDates`, and for untagged images alone, the date at which the
        // ledger first saw the image does not count.
        let by_engine = self.trust == Trust::EngineDates && class == Class::Untagged;
        let first_seen = seen.map(|s| s.first_seen).filter(|_| !by_engine);
        let dates = [
            (Evidence::FirstSeen, first_seen),
            (Evidence::LastTagged, seen.and_then(Sighting::last_tagged)),
            (Evidence::LastUsed, seen.and_then(|s| s.last_used)),
            (Evidence::BuiltOn, seen.and_then(|s| s.built_on)),
            (Evidence::Created, image.dates.created),
            (Evidence::LastTagTime, tag_time(image)),
            (Evidence::Stored, image.dates.stored),
        ];
        let known = dates.into_iter().filter_map(|(evidence, since)| {
            let since = since?;
            Some(Unneeded { since, evidence })
        });
        known.max_by_key(|unneeded| unneeded.since)
    }
}

/// One image, and what follows for it alone.
pub(super) struct Subject<'a> {
    pub(super) image: &'a Image,
    /// What the ledger knows of it.
    pub(super) seen: Option<&'a Sighting>,
    pub(super) class: Class,
    /// How long it stays, by all names that it has and had.
    pub(super) retention: Retention<'a>,
    /// The last date at which it was wanted.
    pub(super) unneeded: Option<Unneeded>,
}

impl<'a> Subject<'a> {
    /// Tags that it was seen with and does not have now, the last one first.
    pub(super) fn had_tags(&self) -> Vec<Reference> {
        let seen = self.seen.into_iter().flat_map(|seen| &seen.tags);
        let mut had: Vec<_> = seen
            .filter(|(tag, _)| !self.image.tags.contains(tag))
            .collect();
        had.sort_by_key(|(tag, last)| (Reverse(*last), *tag));
        had.into_iter().map(|(tag, _)| tag.clone()).collect()
    }

    /// How long it must have been unneeded.
    pub(super) fn wanted_age(&self) -> Effective<'a, Duration> {
        let Retention {
            min_age,
            digest_pinned,
            ..
        } = self.retention;
        match (self.class, digest_pinned.value) {
            // Only the ledger distinguishes it from a superseded image, so it stays at least as
            // long.
            (Class::DigestPinned, DigestPinned::After(age)) if age > min_age.value => Effective {
                value: age,
                rule: digest_pinned.rule,
            },
            (Class::Tagged | Class::Untagged | Class::Superseded | Class::DigestPinned, _) => {
                min_age
            }
        }
    }
}
