//! The names that a run drops from an image before the last one, and puts back if it stays.

use std::collections::BTreeSet;

use crate::decide::plan::Entry;
use crate::engine::Inspected;
use crate::model::Image;
use crate::model::reference::Reference;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Untied {
    pub(super) digests: BTreeSet<Reference>,
    /// Tags that went together with a digest reference of their repository.
    pub(super) tags: BTreeSet<Reference>,
}

impl Untied {
    /// Names that an earlier run took.
    pub(super) fn before(entry: &Entry) -> Self {
        let untied = entry.image.untied.iter().cloned();
        let (digests, tags) = untied.partition(Reference::is_digest);
        Self { digests, tags }
    }

    /// Adds names that went from this image, except our own.
    pub(super) fn add(&mut self, image: &Image, names: impl IntoIterator<Item = Reference>) {
        for name in names.into_iter().filter(|name| !name.is_ours()) {
            let its_own = || name.digest() == Some(image.id.as_str());
            if !name.is_digest() {
                self.tags.insert(name);
            } else if image.digests.contains(&name) || its_own() {
                self.digests.insert(name);
            }
        }
    }

    /// A name that went and that is not in the plan: somebody gave it since then.
    pub(super) fn unplanned(&self, image: &Image) -> Option<&Reference> {
        let new = |name: &&Reference| !image.digests.contains(*name);
        self.tags
            .iter()
            .chain(self.digests.iter().filter(new))
            .next()
    }

    /// As the engine may spell them.
    pub(super) fn spellings(&self) -> BTreeSet<String> {
        let names = self.digests.iter().chain(&self.tags);
        names.flat_map(Reference::spellings).collect()
    }

    /// The names that the image does not have.
    pub(super) fn missing(&self, seen: &Inspected) -> Self {
        let digests = self.digests.iter();
        let lacks =
            |name: &&Reference| !seen.digests.contains(*name) || seen.made_up.contains(*name);
        Self {
            digests: digests.filter(lacks).cloned().collect(),
            tags: self.tags.difference(&seen.tags).cloned().collect(),
        }
    }

    /// What may be put back now, and what may not: tags need the deploy locks.
    pub(super) fn split_by_lock(mut self, locked: bool) -> (Self, Self) {
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

    /// Adds to `why` which names were put back.
    pub(super) fn describe_put_back(&self, why: &str) -> String {
        let names = self.names();
        if names.is_empty() {
            return why.to_owned();
        }
        let names: Vec<String> = names.iter().map(Reference::familiar).collect();
        format!("{why}; {} put back", names.join(", "))
    }
}
