//! Reads from the journal which images were removed and which losses were reported.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::engine::Leads;
use crate::memory::journal::{Record, RecordKind, RemovalResult, SkipCause};
use crate::model::lost::Lost;
use crate::model::reference::Reference;
use crate::model::{ImageId, Inventory};
use crate::prune::outcome::{Loss, Stayed};

/// What became of an image after a run of ours dropped its last name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It is gone, or nobody knows.
    Gone,
    /// It stayed, because somebody tagged it in that moment.
    Kept,
}

impl End {
    /// Whether a tag that was set meanwhile is lost, by where it leads now.
    pub(super) fn lost(self, leads: Leads) -> bool {
        match leads {
            Leads::ToAnImage => false,
            Leads::ToNothing => true,
            // If the image was kept, whoever set the tag may have removed it since then.
            Leads::Nowhere => self == Self::Gone,
        }
    }

    pub(super) fn of(record: &Record) -> Option<Self> {
        match &record.what {
            RecordKind::Outcome {
                result, because, ..
            } => match result {
                RemovalResult::Removed | RemovalResult::Collateral | RemovalResult::Unknown => {
                    Some(Self::Gone)
                }
                RemovalResult::Skipped if *because == Some(SkipCause::KeptMeanwhile) => {
                    Some(Self::Kept)
                }
                RemovalResult::Skipped | RemovalResult::Failed => None,
            },
            RecordKind::Intent { .. } | RecordKind::Restored { .. } => None,
        }
    }
}

/// Whether an image stayed because it gained a name while its last one was dropped.
pub fn was_kept(stayed: &Stayed) -> bool {
    stayed.because == Some(SkipCause::KeptMeanwhile)
}

/// Images that runs of ours removed since that moment. Older removals do not count: somebody may
/// have pulled such an image again, and somebody else may have removed it.
pub fn removed(journal: &[Record], since: Option<DateTime<Utc>>) -> BTreeSet<ImageId> {
    let recent = |record: &&Record| since.is_none_or(|since| record.at >= since);
    let gone = journal
        .iter()
        .filter(recent)
        .filter(|record| End::of(record) == Some(End::Gone));
    gone.map(|record| record.id.clone()).collect()
}

/// Outcomes for the intents of a run that was cut off, with the date of its last record: only
/// names and containers from that moment can be its losses.
pub fn cut_off(
    journal: &[Record],
    pending: &BTreeMap<ImageId, Record>,
    inventory: &Inventory,
) -> Vec<Record> {
    let gone = pending
        .values()
        .filter(|intent| !inventory.images.contains_key(&intent.id));
    let unknown = |intent: &Record| {
        let own = journal.iter().filter(|record| record.run == intent.run);
        let last = own.map(|record| record.at).max().unwrap_or(intent.at);
        let id = intent.id.clone();
        Record::outcome(&intent.run, last, id, RemovalResult::Unknown, None)
    };
    gone.map(unknown).collect()
}

/// The last intent to remove an image that had this digest reference.
pub(super) fn last_intent<'a>(journal: &'a [Record], name: &Reference) -> Option<&'a Record> {
    let text = name.to_string();
    let had = |record: &&Record| match &record.what {
        RecordKind::Intent { names, .. } => names.contains(&text),
        RecordKind::Outcome { .. } | RecordKind::Restored { .. } => false,
    };
    journal.iter().rev().find(had)
}

/// The digest references that the image had at the last intent to remove it.
pub(super) fn digests(journal: &[Record], image: &ImageId) -> Vec<Reference> {
    let names = |record: &Record| match &record.what {
        RecordKind::Intent { names, .. } if record.id == *image => Some(names.clone()),
        RecordKind::Intent { .. } | RecordKind::Outcome { .. } | RecordKind::Restored { .. } => {
            None
        }
    };
    let names = journal.iter().rev().find_map(names).unwrap_or_default();
    let names = names.iter().filter_map(|name| name.parse().ok());
    names.filter(Reference::is_digest).collect()
}

/// Whether this loss was reported before.
pub(super) fn was_reported(journal: &[Record], image: &ImageId, what: &Lost) -> bool {
    journal.iter().any(|record| match &record.what {
        // Older versions wrote only words, and no values.
        RecordKind::Outcome {
            result: RemovalResult::Collateral,
            lost,
            ..
        } => record.id == *image && (lost.is_empty() || lost.contains(what)),
        RecordKind::Outcome { .. } | RecordKind::Intent { .. } | RecordKind::Restored { .. } => {
            false
        }
    })
}

/// The records of these losses.
pub fn records(run: &str, at: DateTime<Utc>, lost: &[Loss]) -> Vec<Record> {
    let record = |lost: &Loss| Record::lost(run, at, lost.with.clone(), vec![lost.what.clone()]);
    lost.iter().map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, id};

    #[test]
    fn a_name_that_was_removed_from_what_was_kept_is_no_loss_and_one_that_is_hollow_is() {
        let losses = |end: End| {
            [Leads::Nowhere, Leads::ToNothing, Leads::ToAnImage].map(|leads| end.lost(leads))
        };
        assert_eq!(losses(End::Gone), [true, true, false]);
        assert_eq!(losses(End::Kept), [false, true, false]);
    }

    #[test]
    fn only_what_our_runs_removed_is_our_loss() {
        let of = |n, came| Record::outcome("r", at(0), id(n), came, None);
        let journal = [
            of(1, RemovalResult::Removed),
            of(2, RemovalResult::Skipped),
            of(3, RemovalResult::Failed),
            of(4, RemovalResult::Unknown),
            of(5, RemovalResult::Collateral),
        ];
        assert_eq!(removed(&journal, None), [id(1), id(4), id(5)].into());
        assert_eq!(removed(&journal, Some(at(0))).len(), 3);
        assert_eq!(removed(&journal, Some(at(1))), [].into());
    }
}
