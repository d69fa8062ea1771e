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

/// One image and what was decided of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub(crate) image: Arc<Image>,
    pub(crate) class: Class,
    pub(crate) reasons: Vec<KeepReason>,
    pub(crate) unneeded: Option<Unneeded>,
    pub(crate) reclaimable: Bytes,
    pub(crate) verdict: Verdict,
    pub(crate) had_tags: Vec<Reference>,
    pub(crate) is_used: bool,
    pub(crate) last_used: Option<DateTime<Utc>>,
    pub(crate) first_seen: Option<DateTime<Utc>>,
}

impl Entry {
    pub fn image(&self) -> &Image {
        &self.image
    }

    pub fn class(&self) -> Class {
        self.class
    }

    /// Tags that it was seen with and does not have now, the last one first.
    pub fn had_tags(&self) -> &[Reference] {
        &self.had_tags
    }

    /// Whether a container, an image mount, a service or a task refers to it now.
    pub fn is_used(&self) -> bool {
        self.is_used
    }

    /// When it was last seen in use; `None`: not since [`Entry::first_seen`].
    pub fn last_used(&self) -> Option<DateTime<Utc>> {
        self.last_used
    }

    /// The first survey that found it.
    pub fn first_seen(&self) -> Option<DateTime<Utc>> {
        self.first_seen
    }

    /// All reasons that keep it, in the order of the rules' table.
    pub fn reasons(&self) -> &[KeepReason] {
        &self.reasons
    }

    /// Since when it is unneeded; `None` where something wants it now, or no
    /// evidence is there.
    pub fn unneeded(&self) -> Option<Unneeded> {
        self.unneeded
    }

    /// What removing it frees at least.
    pub fn reclaimable(&self) -> Bytes {
        self.reclaimable
    }

    pub fn verdict(&self) -> Verdict {
        self.verdict
    }
}

/// For every image of a host, what becomes of it and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub(crate) now: DateTime<Utc>,
    pub(crate) engine: EngineFacts,
    pub(crate) disk: Observed<Disk>,
    pub(crate) pressure: Pressure,
    pub(crate) limits: DiskLimits,
    /// Sorted by id.
    pub(crate) entries: Vec<Entry>,
    /// Indices of the entries to remove, oldest unneeded first.
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

    /// The disk as it was then.
    pub fn disk(&self) -> &Observed<Disk> {
        &self.disk
    }

    /// Whether the disk asks for space.
    pub fn pressure(&self) -> &Pressure {
        &self.pressure
    }

    /// The thresholds that it was decided by.
    pub fn limits(&self) -> DiskLimits {
        self.limits
    }

    /// Every image, sorted by id.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What this run removes, oldest unneeded first; what resisted before, last.
    pub fn removals(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.order.iter().map(|&index| &self.entries[index])
    }

    /// What removing all of these frees at least.
    pub fn frees(&self) -> Bytes {
        self.removals().map(Entry::reclaimable).sum()
    }

    /// What the disk asks for, where freeing so much is not enough.
    pub fn wants_more_than(&self, frees: Bytes) -> Option<Bytes> {
        let Pressure::Asked { wanted, .. } = self.pressure else {
            return None;
        };
        wanted.filter(|wanted| frees < *wanted)
    }

    /// The entry of one image.
    pub fn entry(&self, id: &ImageId) -> Option<&Entry> {
        self.entries
            .binary_search_by(|entry| entry.image.id.cmp(id))
            .ok()
            .map(|index| &self.entries[index])
    }

    /// Every image that stays, counted once, under the first of its reasons, in
    /// the order of [`KeepKind::ALL`]: how many, and their sizes together,
    /// layers that they share counted for each.
    pub fn kept(&self) -> [(KeepKind, usize, Bytes); KeepKind::ALL.len()] {
        KeepKind::ALL.map(|kind| {
            let first = |entry: &&Entry| entry.reasons.first().map(KeepReason::kind) == Some(kind);
            let sizes = self.entries.iter().filter(first);
            let sizes = sizes.map(|entry| entry.image.size.known().copied().unwrap_or_default());
            (kind, sizes.clone().count(), sizes.sum())
        })
    }

    /// When the next image becomes a candidate by age alone, if one will.
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

    /// The same plan, removing only what `reviewed` names: a plan may only
    /// ever be made smaller.
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
