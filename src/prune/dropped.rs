//! Reads an engine's answer to the drop of a name: whether the image went, and whether anything
//! was lost.

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
        let lost = lost(self.plan, &entry.image.id, dropped, meant);
        if lost.is_empty() {
            return Ok(());
        }
        if deletes(dropped, &entry.image.id) {
            self.outcome.removed.push(Removed::of(entry));
        }
        Err(self.record_lost(entry, lost))
    }
}

/// Everything in the answer that is not a name that was meant, this image, or a layer.
fn lost(plan: &Plan, id: &ImageId, dropped: &Dropped, meant: &BTreeSet<String>) -> Vec<Lost> {
    // The containerd store's own record of a dangling image. A pull may create it beside our
    // name. It is nobody's name.
    let dangling = Reference::dangling_record(id);
    let is_lost = |text: &&String| !meant.contains(*text) && **text != dangling;
    let names = dropped.untagged.iter().filter(is_lost);
    // The answer also lists deleted layers. An id that the plan has is an image's, not a layer's.
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
