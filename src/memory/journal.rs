//! The journal's records: an intent before each removal, an outcome after it.
//! Decides which intents have no outcome. It opens no file.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::ImageId;
use crate::model::lost::Lost;

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
    /// Whose image it is: [`crate::model::EngineFacts::key`]. Where neither the
    /// record nor an intent of its run says it, it may be anybody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    engine: Option<String>,
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
        result: RemovalResult,
        /// Why, where that is not plain.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
        /// The same for a later run, where that goes by the reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<Because>,
        /// What went that was not meant to.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lost: Vec<Lost>,
    },
}

/// A reason for staying that a later step goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Because {
    /// It got another name, or an image on top, while its last name was dropped.
    KeptMeanwhile,
    /// The engine itself kept it.
    EngineWouldNot,
}

/// What came of an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemovalResult {
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
    /// What this run records of this image now. It names no engine: see [`Record::of`].
    pub fn new(run: &str, at: DateTime<Utc>, id: ImageId, what: What) -> Self {
        Self {
            schema: SCHEMA.into(),
            at,
            run: run.into(),
            engine: None,
            id,
            what,
        }
    }

    /// What came of an intent.
    pub fn outcome(
        run: &str,
        at: DateTime<Utc>,
        id: ImageId,
        result: RemovalResult,
        detail: Option<String>,
    ) -> Self {
        let what = What::Outcome {
            result,
            detail,
            because: None,
            lost: Vec::new(),
        };
        Self::new(run, at, id, what)
    }

    /// An image that stayed, and why.
    pub fn stayed(
        run: &str,
        at: DateTime<Utc>,
        id: ImageId,
        why: String,
        reason: Option<Because>,
    ) -> Self {
        let mut record = Self::outcome(run, at, id, RemovalResult::Skipped, Some(why));
        if let What::Outcome { because, .. } = &mut record.what {
            *because = reason;
        }
        record
    }

    /// What went with an image that was removed.
    pub fn collateral(run: &str, at: DateTime<Utc>, id: ImageId, went: Vec<Lost>) -> Self {
        let words: Vec<String> = went.iter().map(Lost::words).collect();
        let mut record = Self::outcome(
            run,
            at,
            id,
            RemovalResult::Collateral,
            Some(words.join(", ")),
        );
        if let What::Outcome { lost, .. } = &mut record.what {
            *lost = went;
        }
        record
    }

    /// The same, with the engine that it is of.
    #[must_use]
    pub fn of(mut self, engine: &str) -> Self {
        self.engine = Some(engine.to_owned());
        self
    }

    /// One line, with its newline.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// Images that this engine did not let go when they were last tried: tried again
/// they are, but nothing else waits for them.
pub fn resisting(journal: &[u8], engine: &str) -> BTreeSet<ImageId> {
    let mut resisting = BTreeSet::new();
    for record in of_engine(records(journal), engine) {
        if let What::Outcome {
            result, because, ..
        } = &record.what
        {
            match result {
                RemovalResult::Failed => resisting.insert(record.id),
                RemovalResult::Skipped if *because == Some(Because::EngineWouldNot) => {
                    resisting.insert(record.id)
                }
                // Its turn did not come: nothing new is known of it.
                RemovalResult::Skipped => false,
                RemovalResult::Removed | RemovalResult::Collateral | RemovalResult::Unknown => {
                    resisting.remove(&record.id)
                }
            };
        }
    }
    resisting
}

/// Intents without an outcome: a run was cut off there. Lines that do not read
/// (a write was cut off) are passed over, for an intent counts only when it was
/// written whole, before the removal.
pub fn open_intents(journal: &[u8]) -> Vec<Record> {
    open(records(journal))
}

fn open(records: impl Iterator<Item = Record>) -> Vec<Record> {
    let mut open: Vec<Record> = Vec::new();
    for record in records {
        match record.what {
            What::Intent { .. } => open.push(record),
            What::Outcome {
                result: RemovalResult::Unknown,
                ..
            } => {}
            // An engine of another folder may have an image of the same id.
            What::Outcome { .. } => {
                open.retain(|intent| (&intent.id, &intent.run) != (&record.id, &record.run));
            }
        }
    }
    open
}

/// Of the [`open_intents`], the last for each image of this engine. Whether an
/// image of another one is still there, this one cannot say.
pub fn pending(journal: &[u8], engine: &str) -> BTreeMap<ImageId, Record> {
    open(of_engine(records(journal), engine))
        .into_iter()
        .map(|record| (record.id.clone(), record))
        .collect()
}

/// When each image was last meant to be removed. A name of ours that an image
/// still has was given then, also where the outcome is known: it failed.
pub fn intended(journal: &[u8], engine: &str) -> BTreeMap<ImageId, DateTime<Utc>> {
    of_engine(records(journal), engine)
        .filter(|record| matches!(record.what, What::Intent { .. }))
        .map(|record| (record.id, record.at))
        .collect()
}

/// Every record that reads.
pub fn records(journal: &[u8]) -> impl Iterator<Item = Record> {
    journal
        .split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Record>(line).ok())
}

/// The records that are, or may be, of this engine: several engines in turn may
/// have written into one journal. What says nothing is of the engine of its
/// run's intents, which stand before it.
pub fn of_engine(
    records: impl Iterator<Item = Record>,
    engine: &str,
) -> impl Iterator<Item = Record> {
    let mut runs: BTreeMap<String, String> = BTreeMap::new();
    records.filter(move |record| {
        if let (What::Intent { .. }, Some(its)) = (&record.what, &record.engine)
            && runs.get(&record.run) != Some(its)
        {
            runs.insert(record.run.clone(), its.clone());
        }
        let its = record.engine.as_ref().or_else(|| runs.get(&record.run));
        its.is_none_or(|its| its == engine)
    })
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
        Record::new("r", at(0), id(n), what).of("e")
    }

    #[test]
    fn an_intent_is_pending_until_its_outcome_is_known() {
        let unknown = Record::outcome("r", at(1), id(2), RemovalResult::Unknown, None);
        let removed = Record::outcome("r", at(1), id(1), RemovalResult::Removed, None);
        let mut lines: Vec<u8> = [intent(1), intent(2), intent(3), removed, unknown]
            .iter()
            .flat_map(Record::to_line)
            .collect();
        lines.extend_from_slice(b"{\"schema\":\"secateur/journal/1\",\"at\":\"20");
        assert_eq!(
            pending(&lines, "e").into_keys().collect::<Vec<_>>(),
            [id(2), id(3)]
        );
        assert_eq!(
            intended(&lines, "e").into_keys().collect::<Vec<_>>(),
            [id(1), id(2), id(3)]
        );
    }

    #[test]
    fn what_the_engine_did_not_let_go_is_known_until_it_went() {
        let came = |n, came, why: &str| {
            Record::outcome("r", at(0), id(n), came, Some(why.into())).to_line()
        };
        let reason = Some(Because::EngineWouldNot);
        let mut journal = [
            Record::stayed("r", at(0), id(1), "being used".into(), reason).to_line(),
            came(
                2,
                RemovalResult::Skipped,
                "the engine would not, say the words",
            ),
            came(3, RemovalResult::Failed, "500"),
            came(1, RemovalResult::Skipped, "the run stopped before its turn"),
        ]
        .concat();
        assert_eq!(resisting(&journal, "e"), [id(1), id(3)].into());
        journal.extend(came(3, RemovalResult::Removed, ""));
        assert_eq!(resisting(&journal, "e"), [id(1)].into());
    }

    #[test]
    fn what_became_of_an_intent_only_its_own_engine_and_its_own_run_can_say() {
        let mut unsaid = intent(2);
        unsaid.engine = None;
        unsaid.run = "r0".into();
        let other_run = Record::outcome("r2", at(1), id(1), RemovalResult::Removed, None);
        let lines: Vec<u8> = [intent(1), unsaid, other_run]
            .iter()
            .flat_map(Record::to_line)
            .collect();
        let ids = |engine| pending(&lines, engine).into_keys().collect::<Vec<_>>();
        assert_eq!(ids("e"), [id(1), id(2)]);
        assert_eq!(ids("another"), [id(2)]);
        assert_eq!(
            intended(&lines, "another").into_keys().collect::<Vec<_>>(),
            [id(2)]
        );
    }

    #[test]
    fn what_one_engine_did_not_let_go_says_nothing_of_another() {
        let failed = |run, n| Record::outcome(run, at(0), id(n), RemovalResult::Failed, None);
        // As records were written that did not say whose they are.
        let by_its_run = [intent(1), failed("r", 1)];
        let told = [failed("r2", 2).of("e"), failed("r3", 3).of("another")];
        let nobodys = [failed("r4", 4)];
        let all = by_its_run.iter().chain(&told).chain(&nobodys);
        let journal: Vec<u8> = all.flat_map(Record::to_line).collect();
        assert_eq!(resisting(&journal, "e"), [id(1), id(2), id(4)].into());
        assert_eq!(resisting(&journal, "another"), [id(3), id(4)].into());
    }
}
