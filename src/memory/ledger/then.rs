//! Which images each name led to at the last survey. A name may have gone since, or moved:
//! the image that had it then and the one that has it now both count as meant.

use std::collections::BTreeMap;

use crate::memory::ledger::stored::Ledger;
use crate::model::ImageId;
use crate::model::reference::Reference;

/// An index of a ledger's images by the names that they had at its survey.
///
/// A name that an image lost earlier does not count: a service that runs from a tag names
/// it in every health check, and its former images would never grow old.
pub(super) struct Then<'a> {
    tags: BTreeMap<&'a Reference, Vec<&'a ImageId>>,
    digests: BTreeMap<&'a str, Vec<&'a ImageId>>,
}

impl<'a> Then<'a> {
    pub(super) fn of(ledger: &'a Ledger) -> Self {
        let (mut tags, mut digests) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        for (id, sighting) in &ledger.images {
            for tag in sighting.tags_then() {
                tags.entry(tag).or_default().push(id);
            }
            for digest in &sighting.digests_then {
                digests.entry(digest.as_str()).or_default().push(id);
            }
        }
        Self { tags, digests }
    }

    /// Every image that this text named, by a tag or a digest.
    pub(super) fn resolve(&self, text: &str) -> Vec<&'a ImageId> {
        let Ok(name) = text.parse::<Reference>() else {
            return Vec::new();
        };
        let by_tag = self.tags.get(&name).cloned().unwrap_or_default();
        [by_tag, self.of_digest(&name)].concat()
    }

    /// Every image that had the digest in this name, whatever its tag.
    pub(super) fn of_digest(&self, name: &Reference) -> Vec<&'a ImageId> {
        let ids = name.digest().and_then(|digest| self.digests.get(digest));
        ids.cloned().unwrap_or_default()
    }
}
