//! The whole plan, and its entry for each image.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::decide::plan::class::{Class, Unneeded};
use crate::decide::plan::pressure::Pressure;
use crate::decide::plan::reason::{KeepKind, KeepReason};
use crate::decide::plan::verdict::{HeldBack, Verdict};
use crate::model::conditions::Disk;
use crate::model::reference::Reference;
use crate::model::{Bytes, EngineFacts, Image, ImageId, Observed};
use crate::policy::DiskLimits;

/// The decision about one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub image: Arc<Image>,
    pub class: Class,
    /// All reasons that keep it, in the order of the rules' table.
    pub reasons: Vec<KeepReason>,
    /// Since when it is unneeded; `None` where it is wanted now, or nothing dates it.
    pub unneeded: Option<Unneeded>,
    /// What removing it frees at least.
    pub reclaimable: Bytes,
    pub verdict: Verdict,
    /// Tags that it was seen with and does not have now, the last one first.
    pub had_tags: Vec<Reference>,
    /// By a container, an image mount, a service or a task, now.
    pub is_used: bool,
    /// When it was last seen in use; `None`: not since `first_seen`.
    pub last_used: Option<DateTime<Utc>>,
    /// The first survey that found it.
    pub first_seen: Option<DateTime<Utc>>,
}

/// The decision about every image of a host.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub(crate) now: DateTime<Utc>,
    pub(crate) engine: EngineFacts,
    pub(crate) disk: Observed<Disk>,
    pub(crate) pressure: Pressure,
    pub(crate) limits: DiskLimits,
    /// Sorted by id.
    pub(crate) entries: Vec<Entry>,
    /// Indices of the entries to remove, in the order of [`Plan::removals`].
    pub(crate) order: Vec<usize>,
}

impl Plan {
    /// When it was decided.
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    pub fn engine(&self) -> &EngineFacts {
        &self.engine
    }

    /// At [`Plan::now`].
    pub fn disk(&self) -> &Observed<Disk> {
        &self.disk
    }

    pub fn pressure(&self) -> &Pressure {
        &self.pressure
    }

    pub fn limits(&self) -> DiskLimits {
        self.limits
    }

    /// Every image, sorted by id.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What this run removes: longest unneeded first, and last what the engine refused to
    /// remove before.
    pub fn removals(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.order.iter().map(|&index| &self.entries[index])
    }

    /// What removing all of [`Plan::removals`] frees at least.
    pub fn frees(&self) -> Bytes {
        self.removals().map(|entry| entry.reclaimable).sum()
    }

    /// What the disk needs, where `frees` is less.
    pub fn wants_more_than(&self, frees: Bytes) -> Option<Bytes> {
        let Pressure::Asked { wanted, .. } = self.pressure else {
            return None;
        };
        wanted.filter(|wanted| frees < *wanted)
    }

    pub fn entry(&self, id: &ImageId) -> Option<&Entry> {
        self.entries
            .binary_search_by(|entry| entry.image.id.cmp(id))
            .ok()
            .map(|index| &self.entries[index])
    }

    /// How many images stay for each kind of reason, and the sum of their sizes. Each image
    /// counts under its first reason; layers that images share count for each.
    pub fn kept(&self) -> [(KeepKind, usize, Bytes); KeepKind::ALL.len()] {
        KeepKind::ALL.map(|kind| {
            let first = |entry: &&Entry| entry.reasons.first().map(KeepReason::kind) == Some(kind);
            let sizes = self.entries.iter().filter(first);
            let sizes = sizes.map(|entry| entry.image.size.known().copied().unwrap_or_default());
            (kind, sizes.clone().count(), sizes.sum())
        })
    }

    /// When the next image becomes a candidate by age alone, if any does.
    pub fn next_ready(&self) -> Option<DateTime<Utc>> {
        let by_age = |entry: &Entry| -> Option<DateTime<Utc>> {
            let passes: Option<Vec<_>> = entry.reasons.iter().map(KeepReason::ready_at).collect();
            passes?.into_iter().max()
        };
        self.entries
            .iter()
            .filter(|entry| entry.verdict == Verdict::Keep)
            .filter_map(by_age)
            .min()
    }

    /// The same plan, removing only `these`: a plan may only become smaller.
    #[must_use]
    pub fn restricted_to(mut self, these: &BTreeSet<ImageId>, why: HeldBack) -> Self {
        for &index in &self.order {
            let entry = &mut self.entries[index];
            if !these.contains(&entry.image.id) {
                entry.verdict = Verdict::Candidate(why);
            }
        }
        self.order
            .retain(|&index| self.entries[index].verdict == Verdict::Remove);
        self
    }
}
