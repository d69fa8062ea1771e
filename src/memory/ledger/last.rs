//! Which image a tag led to when it was last seen.

use std::collections::BTreeSet;

use crate::memory::ledger::sighting::Sighting;
use crate::memory::ledger::stored::Ledger;
use crate::model::ImageId;
use crate::model::reference::Reference;

/// An image that had a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last<'a> {
    pub id: &'a ImageId,
    /// The digests in its names then, in whichever repository, but for its id.
    pub digests: &'a BTreeSet<String>,
}

impl Ledger {
    /// The image that was last seen with this tag, as far as the ledger goes back.
    pub fn last_with(&self, tag: &Reference) -> Option<Last<'_>> {
        let seen = |(id, sighting): (&'_ ImageId, &'_ Sighting)| {
            let at = *sighting.tags.get(tag)?;
            Some((at, id.clone()))
        };
        let (_, id) = self.images.iter().filter_map(seen).max()?;
        let (id, sighting) = self.images.get_key_value(&id)?;
        Some(Last {
            id,
            digests: &sighting.digests_then,
        })
    }
}
