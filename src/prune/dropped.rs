//! What an engine's answer to a dropped name says: whether the image went, and whether
//! anything was lost.

use std::collections::BTreeSet;

use crate::decide::plan::{Entry, Plan};
use crate::engine::Dropped;
use crate::model::ImageId;
use crate::model::lost::Lost;
use crate::model::reference::Reference;
use crate::prune::outcome::{Ending, Removed};
use crate::prune::pruning::Pruning;
use crate::prune::traits::Host;

impl<E, H: Host> Pruning<'_, E, H> {
    /// Ends the run if the answer names anything that was not meant to go.
    pub(super) fn expect_no_loss(
        &mut self,
        entry: &Entry,
        dropped: &Dropped,
        meant: &BTreeSet<String>,
    ) -> Result<(), Ending> {
        let lost = lost(self.plan, &entry.image().id, dropped, meant);
        if lost.is_empty() {
            return Ok(());
        }
        if deletes(dropped, &entry.image().id) {
            self.outcome.removed.push(Removed::of(entry));
        }
        Err(self.lost_with(entry, lost))
    }
}

/// All of the answer that is neither a name that was meant, nor this image, nor a layer.
fn lost(plan: &Plan, id: &ImageId, dropped: &Dropped, meant: &BTreeSet<String>) -> Vec<Lost> {
    // The containerd store's own record of an image that lost a tag, which a pull may set
    // beside our name: nobody's name.
    let dangling = Reference::dangling_record(id);
    let is_lost = |text: &&String| !meant.contains(*text) && **text != dangling;
    let names = dropped.untagged.iter().filter(is_lost);
    // Layers are listed as deleted, too. Another image of the plan is no layer.
    let is_other = |other: ImageId| other != *id && plan.entry(&other).is_some();
    let deleted = dropped.deleted.iter();
    let images = deleted.filter(|text| text.parse().is_ok_and(is_other));
    names.chain(images).map(|text| Lost::of(text)).collect()
}

/// Whether the engine says that this image is gone.
pub(super) fn deletes(dropped: &Dropped, id: &ImageId) -> bool {
    dropped
        .deleted
        .iter()
        .any(|text| text.parse().is_ok_and(|gone: ImageId| gone == *id))
}
