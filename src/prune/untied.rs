//! The names that a run took from an image before the image goes.

use std::collections::BTreeSet;

use crate::decide::plan::Entry;
use crate::engine::{Dropped, Inspected};
use crate::model::reference::Reference;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Untied {
    pub(super) digests: BTreeSet<Reference>,
    /// Tags that went along with a digest reference of their repository.
    pub(super) tags: BTreeSet<Reference>,
}

impl Untied {
    /// What an earlier run took.
    pub(super) fn before(entry: &Entry) -> Self {
        let untied = entry.image().untied.iter().cloned();
        let (digests, tags) = untied.partition(Reference::is_digest);
        Self { digests, tags }
    }

    /// Takes in what went with one of `meant`, and returns all of the engine's spellings
    /// that are accounted for.
    pub(super) fn take(
        &mut self,
        dropped: &Dropped,
        meant: &BTreeSet<Reference>,
    ) -> BTreeSet<String> {
        for text in &dropped.untagged {
            let Ok(name) = text.parse::<Reference>() else {
                continue;
            };
            if meant.contains(&name) {
                self.digests.insert(name);
            } else if !name.is_digest() && !name.is_ours() {
                self.tags.insert(name);
            }
        }
        let names = meant.iter().chain(&self.tags);
        names.flat_map(Reference::spellings).collect()
    }

    /// What of it the image does not have.
    pub(super) fn missing(&self, seen: &Inspected) -> Self {
        let digests = self.digests.iter();
        let lacks =
            |name: &&Reference| !seen.digests.contains(*name) || seen.made_up.contains(*name);
        Self {
            digests: digests.filter(lacks).cloned().collect(),
            tags: self.tags.difference(&seen.tags).cloned().collect(),
        }
    }

    /// What may be put back now, and the tags that may not.
    pub(super) fn without_tags_unless(mut self, locked: bool) -> (Self, Self) {
        let mut later = Self::default();
        if !locked {
            later.tags = std::mem::take(&mut self.tags);
        }
        (self, later)
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.digests.extend(other.digests.iter().cloned());
        self.tags.extend(other.tags.iter().cloned());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.digests.is_empty() && self.tags.is_empty()
    }

    pub(super) fn names(&self) -> Vec<Reference> {
        self.digests.iter().chain(&self.tags).cloned().collect()
    }

    /// A reason, and what was put back for it.
    pub(super) fn put_back_for(&self, why: &str) -> String {
        let names = self.names();
        if names.is_empty() {
            return why.to_owned();
        }
        let names: Vec<String> = names.iter().map(Reference::familiar).collect();
        format!("{why}; {} put back", names.join(", "))
    }
}
