//! What the ledger remembers of one image. Whatever is forgotten or joined, the image
//! only becomes younger.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::memory::ledger::fingerprints::Fingerprints;
use crate::model::reference::Reference;

/// Names that one image may have had, at most: one `docker load` of many images must not make
/// the ledger grow by their square.
pub(super) const PERHAPS: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The first survey that found the image.
    pub first_seen: DateTime<Utc>,
    /// Each tag that the image was seen with, and the last moment that showed it.
    #[serde(default)]
    pub tags: BTreeMap<Reference, DateTime<Utc>>,
    /// Of more names that it had and has no longer.
    #[serde(
        rename = "faded",
        default,
        skip_serializing_if = "Fingerprints::is_empty"
    )]
    pub fingerprints: Fingerprints,
    /// The last moment at which an event showed it named or tagged.
    #[serde(default)]
    pub last_named: Option<DateTime<Utc>>,
    /// The last moment that showed it in use.
    #[serde(default)]
    pub last_used: Option<DateTime<Utc>>,
    /// The last moment at which somebody asked for it by its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by_digest: Option<DateTime<Utc>>,
    /// The last survey that found a new image built on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_on: Option<DateTime<Utc>>,
    /// Tags that it may have had between two surveys, and the latest such moment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub perhaps: BTreeMap<Reference, DateTime<Utc>>,
    /// Whether it had a tag at the last survey.
    #[serde(default)]
    pub(super) tagged_then: bool,
    /// Whether it was in use at the last survey.
    #[serde(default)]
    pub(super) used_then: bool,
    /// The digests in its names at the last survey, except its own id.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) digests_then: BTreeSet<String>,
}

impl Sighting {
    pub(super) fn new(at: DateTime<Utc>) -> Self {
        Self {
            first_seen: at,
            tags: BTreeMap::new(),
            fingerprints: Fingerprints::default(),
            last_named: None,
            last_used: None,
            asked_by_digest: None,
            built_on: None,
            perhaps: BTreeMap::new(),
            tagged_then: false,
            used_then: false,
            digests_then: BTreeSet::new(),
        }
    }

    /// The last moment that showed it with any tag.
    pub fn last_tagged(&self) -> Option<DateTime<Utc>> {
        self.tags.values().copied().max().max(self.last_named)
    }

    /// Whether it had this name once; for one of which only a fingerprint is left, whether it
    /// may have had it.
    pub fn had(&self, name: &Reference) -> bool {
        self.tags.contains_key(name) || self.fingerprints.has(name)
    }

    /// The tags that it had at the last survey.
    pub(super) fn tags_then(&self) -> impl Iterator<Item = &Reference> {
        let last = self.tags.values().max().filter(|_| self.tagged_then);
        let tags = self.tags.iter().filter(move |(_, at)| Some(*at) == last);
        tags.map(|(tag, _)| tag)
    }

    /// Whether it had this tag at the last survey.
    pub(super) fn carried_then(&self, tag: &Reference) -> bool {
        self.tags_then().any(|then| then == tag)
    }

    /// Keeps the newest [`PERHAPS`] of all tags that it may have had.
    pub(super) fn may_have_had(&mut self, tags: Vec<&Reference>, now: DateTime<Utc>) {
        let tags = tags.into_iter().map(|tag| (tag.clone(), now));
        self.perhaps.extend(tags);
        let mut all: Vec<_> = self
            .perhaps
            .iter()
            .map(|(tag, at)| (*at, tag.clone()))
            .collect();
        all.sort();
        for (_, tag) in &all[..all.len().saturating_sub(PERHAPS)] {
            self.perhaps.remove(tag);
        }
    }

    pub(super) fn each_date(&mut self, change: impl Fn(DateTime<Utc>) -> DateTime<Utc>) {
        self.first_seen = change(self.first_seen);
        self.last_named = self.last_named.map(&change);
        self.last_used = self.last_used.map(&change);
        self.asked_by_digest = self.asked_by_digest.map(&change);
        self.built_on = self.built_on.map(&change);
        for at in self.tags.values_mut().chain(self.perhaps.values_mut()) {
            *at = change(*at);
        }
    }

    /// Keeps only the fingerprints of these names, and the last moment that showed one of them.
    pub(super) fn forget(&mut self, which: impl Fn(&Reference) -> bool) {
        let tags = std::mem::take(&mut self.tags);
        let (forgotten, kept): (BTreeMap<_, _>, _) =
            tags.into_iter().partition(|(name, _)| which(name));
        self.tags = kept;
        let last = forgotten.values().copied().max();
        self.last_named = self.last_named.max(last);
        self.fingerprints.add(forgotten.keys());
    }

    /// Keeps only the fingerprints of the names that it may have had, and the latest such
    /// moment, so that no such name is newer than `last_tagged`.
    pub(super) fn forget_perhaps(&mut self) {
        let names = std::mem::take(&mut self.perhaps);
        self.last_named = self.last_named.max(names.values().copied().max());
        self.fingerprints.add(names.keys());
    }

    /// Joins two sightings of one image: it was wanted when either says so.
    pub(super) fn join(&mut self, other: &Self) {
        self.first_seen = self.first_seen.max(other.first_seen);
        for (name, at) in &other.tags {
            let last = self.tags.entry(name.clone()).or_insert(*at);
            *last = (*last).max(*at);
        }
        for (name, at) in &other.perhaps {
            let last = self.perhaps.entry(name.clone()).or_insert(*at);
            *last = (*last).max(*at);
        }
        self.fingerprints.join(&other.fingerprints);
        self.last_named = self.last_named.max(other.last_named);
        self.last_used = self.last_used.max(other.last_used);
        self.asked_by_digest = self.asked_by_digest.max(other.asked_by_digest);
        self.built_on = self.built_on.max(other.built_on);
        self.tagged_then |= other.tagged_then;
        self.used_then |= other.used_then;
        self.digests_then.extend(other.digests_then.iter().cloned());
    }
}
