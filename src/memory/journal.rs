//! The journal's records: an intent before each removal, an outcome after it.
//! Finds the intents without an outcome. It opens no file.

mod put_back;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::ImageId;
use crate::model::lost::Lost;
use crate::model::reference::Reference;

/// The format of each line.
pub(crate) const SCHEMA: &str = "secateur/journal/2";

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Record {
    schema: String,
    pub at: DateTime<Utc>,
    pub run: String,
    /// [`crate::model::EngineFacts::key`]. Where neither the record nor an intent of its
    /// run names an engine, the record may be of any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    engine: Option<String>,
    pub id: ImageId,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// The image is about to be removed.
    Intent {
        names: Vec<String>,
        /// Tags that it had once, the last one first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        had_tags: Vec<String>,
        class: String,
        unneeded_since: Option<DateTime<Utc>>,
        /// What shows since when it is unneeded.
        evidence: Option<String>,
        /// At least so much is freed.
        // As `secateur/journal/1` had it.
        #[serde(alias = "reclaimable_bytes")]
        reclaimable_bytes_at_least: u64,
    },
    Outcome {
        result: RemovalResult,
        /// Fit to print.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
        /// The reason, where a later step acts on it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<Because>,
        /// What went and was not planned.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lost: Vec<Lost>,
    },
    /// `verify-cache --restore` gave a promised image back its name.
    Restored {
        name: String,
        /// Where it came from.
        from: String,
        bytes: u64,
        milliseconds: u64,
    },
}

/// Why an image stayed, where a later step acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Because {
    /// It gained a name, or an image built on it, while its last name was dropped.
    KeptMeanwhile,
    /// The engine refused to remove it.
    EngineWouldNot,
    /// It has the names again that earlier runs dropped: nothing is left of their intents.
    NamesPutBack,
}

/// How a removal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RemovalResult {
    Removed,
    /// It stayed: it changed, the engine refused, or the run ended before its turn.
    Skipped,
    /// It stayed because of an error.
    Failed,
    /// It went, and something that was not planned went with it.
    Collateral,
    /// Not known; the next run finds out.
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

    /// The outcome of an image that stayed. `why` is fit to print.
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

    /// The outcome of an image that was removed, with what went with it.
    pub fn lost(run: &str, at: DateTime<Utc>, id: ImageId, went: Vec<Lost>) -> Self {
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

    /// The same record of this engine.
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

/// Images that this engine did not let go when they were last tried. They are tried
/// again, but nothing else waits for them.
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
                // Its turn did not come, so nothing new is known.
                RemovalResult::Skipped => false,
                RemovalResult::Removed | RemovalResult::Collateral | RemovalResult::Unknown => {
                    resisting.remove(&record.id)
                }
            };
        }
    }
    resisting
}

/// Intents without an outcome: a run was cut off there. A line that does not parse
/// (its write was cut off) is skipped: an intent is written whole before the removal
/// begins.
pub fn open_intents(journal: &[u8]) -> Vec<Record> {
    open(records(journal))
}

fn open(records: impl Iterator<Item = Record>) -> Vec<Record> {
    let mut open: Vec<Record> = Vec::new();
    for record in records {
        match record.what {
            // It has the names of those before it, which another run may have dropped.
            What::Intent { .. } => {
                open.retain(|intent| (&intent.id, &intent.engine) != (&record.id, &record.engine));
                open.push(record);
            }
            What::Outcome {
                because: Some(Because::NamesPutBack),
                ..
            } => open.retain(|intent| intent.id != record.id),
            What::Outcome {
                result: RemovalResult::Unknown,
                ..
            } => {}
            What::Restored { .. } => {}
            // Another run's engine may have an image of the same id.
            What::Outcome { .. } => {
                open.retain(|intent| (&intent.id, &intent.run) != (&record.id, &record.run));
            }
        }
    }
    open
}

/// Of the [`open_intents`], the last for each image of this engine: only an image's
/// own engine can tell whether it is still there.
pub fn pending(journal: &[u8], engine: &str) -> BTreeMap<ImageId, Record> {
    open(of_engine(records(journal), engine))
        .into_iter()
        .map(|record| (record.id.clone(), record))
        .collect()
}

/// The last intent to remove an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intended {
    pub at: DateTime<Utc>,
    /// The names that it had then; a tag among them is one that went along since.
    pub names: Vec<Reference>,
    /// Nothing says what came of it.
    pub open: bool,
}

/// The last intent for each image. An image that still has a name of ours was given it
/// then, also where the outcome is known: it failed.
pub fn intended(journal: &[u8], engine: &str) -> BTreeMap<ImageId, Intended> {
    let open: BTreeSet<ImageId> = pending(journal, engine).into_keys().collect();
    let intended = |record: Record| match record.what {
        What::Intent { names, .. } => {
            let names = names.iter().filter_map(|name| name.parse().ok()).collect();
            let (at, open) = (record.at, open.contains(&record.id));
            Some((record.id, Intended { at, names, open }))
        }
        What::Outcome { .. } | What::Restored { .. } => None,
    };
    of_engine(records(journal), engine)
        .filter_map(intended)
        .collect()
}

/// Every line that parses.
pub fn records(journal: &[u8]) -> impl Iterator<Item = Record> {
    journal
        .split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Record>(line).ok())
}

/// The records that are, or may be, of this engine: several engines may have written
/// into one journal in turn. A record without an engine is of the engine of its run's
/// intents, which stand before it.
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
            had_tags: vec![],
            class: "untagged".into(),
            unneeded_since: None,
            evidence: None,
            reclaimable_bytes_at_least: 1,
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
        lines.extend_from_slice(b"{\"schema\":\"secateur/journal/2\",\"at\":\"20");
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
