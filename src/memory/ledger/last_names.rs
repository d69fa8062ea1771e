//! Which images each name led to at the last survey. A name may have gone or moved since: an
//! event that names it may mean the image that had it then or the one that has it now.

use std::collections::BTreeMap;

use crate::memory::ledger::stored::Ledger;
use crate::model::ImageId;
use crate::model::reference::Reference;

/// An index of a ledger's images by the names that they had at its survey.
///
/// Names that an image lost earlier do not count: each health check of a service names its tag,
/// and the former images of that tag would never grow old.
pub(super) struct LastNames<'a> {
    tags: BTreeMap<&'a Reference, Vec<&'a ImageId>>,
    digests: BTreeMap<&'a str, Vec<&'a ImageId>>,
}

impl<'a> LastNames<'a> {
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
