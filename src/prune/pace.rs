//! How many images go in the same turn. An engine waits for its disk at each removal, and
//! several at the same time share that wait. It decides nothing about any image.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::decide::plan::Entry;
use crate::model::Bytes;
use crate::model::reference::Reference;
use crate::prune::times::LONGEST_HELD;

/// An engine remembers 256 events, and each removal makes three. After a turn it must still
/// remember what others did to its images.
pub(super) const MOST: usize = 32;

/// The most that the images of a turn have together. While an engine deletes the files of a large
/// layer, it may not have decided about the other images yet, and it must decide while we hold
/// the deploy locks.
pub(super) const BYTES: u64 = 256 << 20;

#[derive(Debug)]
pub(super) struct Pace {
    at_once: usize,
}

impl Pace {
    /// The first image goes alone, to find out whether something is wrong with the engine.
    pub(super) fn new() -> Self {
        Self { at_once: 1 }
    }

    /// How many of these images go in the next turn, at least one. If there are several, they
    /// are together no larger than what the disk still `wants`: no image goes without need.
    pub(super) fn next(&self, entries: &[&Entry], wants: Bytes) -> usize {
        let most = wants.0.min(BYTES);
        let (mut bytes, mut names) = (0_u64, BTreeSet::new());
        let fits = |entry: &&&Entry| {
            let Some(&Bytes(size)) = entry.image.size.known() else {
                return false;
            };
            bytes = bytes.saturating_add(size);
            // Our name has only the first digits of an id, so two images could get the same.
            let is_alone = names.insert(Reference::ours(&entry.image.id));
            bytes <= most && is_alone && is_nameless(entry)
        };
        let entries = entries.iter().take(self.at_once);
        entries.take_while(fits).count().max(1)
    }

    /// To be called with the time that the drops of a turn took.
    pub(super) fn took(&mut self, time: Duration) {
        if time > LONGEST_HELD {
            self.at_once = 1;
        } else if time <= LONGEST_HELD / 2 {
            self.at_once = (self.at_once * 2).min(MOST);
        }
    }

    /// To be called when the engine failed at an image.
    pub(super) fn failed(&mut self) {
        self.at_once = 1;
    }
}

/// Whether the image has no name, or only ours. Then any name that somebody gives it before the
/// engine decides keeps it, however long the engine takes with the others. A pull by a digest
/// reference that it already has would not keep it.
fn is_nameless(entry: &Entry) -> bool {
    let image = &entry.image;
    image.digests.is_empty() && image.untied.is_empty() && image.ours.len() <= 1
}
