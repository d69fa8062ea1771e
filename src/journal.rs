//! The journal's records: an intent before each removal, an outcome after it.
//! Decides which intents have no outcome. It opens no file.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::ImageId;
use crate::plan::Entry;

/// The format of each line.
const SCHEMA: &str = "secateur/journal/1";

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    schema: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Which run.
    pub run: String,
    /// Which image.
    pub id: ImageId,
    /// What is recorded of it.
    #[serde(flatten)]
    pub what: What,
}

/// What is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// It is about to be removed.
    Intent {
        /// Its names.
        names: Vec<String>,
        /// Its class.
        class: String,
        /// Since when it is unneeded.
        unneeded_since: Option<DateTime<Utc>>,
        /// What says so.
        evidence: Option<String>,
        /// What removing it frees at least.
        reclaimable_bytes: u64,
    },
    /// What came of it.
    Outcome {
        /// What.
        result: Came,
        /// Why, where that is not plain.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
}

/// What came of an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Came {
    /// Gone.
    Removed,
    /// Stayed: it changed, the engine would not, or the run ended before.
    Skipped,
    /// Stayed, for an error.
    Failed,
    /// Gone, and something with it.
    Collateral,
    /// Cannot be told; the next run finds out.
    Unknown,
}

impl Record {
    /// The intent to remove this image.
    pub fn intent(run: &str, at: DateTime<Utc>, entry: &Entry) -> Self {
        let names = entry.image().digests.iter().chain(&entry.image().ours);
        let what = What::Intent {
            names: names.map(ToString::to_string).collect(),
            class: entry.class().name().to_owned(),
            unneeded_since: entry.unneeded().map(|unneeded| unneeded.since),
            evidence: entry
                .unneeded()
                .map(|unneeded| unneeded.evidence.words().to_owned()),
            reclaimable_bytes: entry.reclaimable().0,
        };
        Self {
            schema: SCHEMA.into(),
            at,
            run: run.into(),
            id: entry.image().id.clone(),
            what,
        }
    }

    /// What came of an intent.
    pub fn outcome(
        run: &str,
        at: DateTime<Utc>,
        id: ImageId,
        result: Came,
        detail: Option<String>,
    ) -> Self {
        Self {
            schema: SCHEMA.into(),
            at,
            run: run.into(),
            id,
            what: What::Outcome { result, detail },
        }
    }

    /// One line, with its newline.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// Intents without an outcome: a run was cut off there. Lines that do not read
/// (a write was cut off) are passed over, for an intent counts only when it was
/// written whole, before the removal.
pub fn pending(journal: &[u8]) -> BTreeMap<ImageId, Record> {
    let mut pending = BTreeMap::new();
    for record in records(journal) {
        match record.what {
            What::Intent { .. } => {
                pending.insert(record.id.clone(), record);
            }
            What::Outcome {
                result: Came::Unknown,
                ..
            } => {}
            What::Outcome { .. } => {
                pending.remove(&record.id);
            }
        }
    }
    pending
}

/// When each image was last meant to be removed. A name of ours that an image
/// still has was given then, also where the outcome is known: it failed.
pub fn intended(journal: &[u8]) -> BTreeMap<ImageId, DateTime<Utc>> {
    records(journal)
        .filter(|record| matches!(record.what, What::Intent { .. }))
        .map(|record| (record.id, record.at))
        .collect()
}

fn records(journal: &[u8]) -> impl Iterator<Item = Record> {
    journal
        .split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Record>(line).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, id};

    fn intent(n: u64) -> Record {
        let what = What::Intent {
            names: vec![],
            class: "untagged".into(),
            unneeded_since: None,
            evidence: None,
            reclaimable_bytes: 1,
        };
        Record {
            schema: SCHEMA.into(),
            at: at(0),
            run: "r".into(),
            id: id(n),
            what,
        }
    }

    #[test]
    fn an_intent_is_pending_until_its_outcome_is_known() {
        let unknown = Record::outcome("r", at(1), id(2), Came::Unknown, None);
        let removed = Record::outcome("r", at(1), id(1), Came::Removed, None);
        let mut lines: Vec<u8> = [intent(1), intent(2), intent(3), removed, unknown]
            .iter()
            .flat_map(Record::to_line)
            .collect();
        lines.extend_from_slice(b"{\"schema\":\"secateur/journal/1\",\"at\":\"20");
        assert_eq!(
            pending(&lines).into_keys().collect::<Vec<_>>(),
            [id(2), id(3)]
        );
        assert_eq!(
            intended(&lines).into_keys().collect::<Vec<_>>(),
            [id(1), id(2), id(3)]
        );
    }
}
