//! The journal's records: an intent before each removal, an outcome after it. It opens no file.

mod intents;
mod put_back;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::ImageId;
use crate::model::lost::Lost;

pub use intents::{Intended, carried, intended, open_intents, pending, resisting};

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
    pub what: RecordKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum RecordKind {
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
        /// What the removal frees at least.
        // The name in `secateur/journal/1`.
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
        because: Option<SkipCause>,
        /// What went and was not planned.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lost: Vec<Lost>,
    },
    /// `verify-cache --restore` gave a promised image back its name.
    Restored {
        name: String,
        /// The archive or the registry.
        from: String,
        bytes: u64,
        milliseconds: u64,
    },
}

/// Why an image stayed, where a later step acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SkipCause {
    /// It gained a name, or an image built on it, while its last name was dropped.
    KeptMeanwhile,
    /// The engine refused to remove it.
    EngineWouldNot,
    /// It has its names again that earlier runs dropped. This closes their intents.
    NamesPutBack,
    /// It is gone, and its remaining names lead to nothing. This closes its intents.
    LeadsToNothing,
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
    /// It was removed, and something that was not planned went with it.
    Collateral,
    /// Not known; the next run finds out.
    Unknown,
}

impl Record {
    /// It names no engine yet: see [`Record::of`].
    pub fn new(run: &str, at: DateTime<Utc>, id: ImageId, what: RecordKind) -> Self {
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
        let what = RecordKind::Outcome {
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
        because: Option<SkipCause>,
    ) -> Self {
        Self::outcome(run, at, id, RemovalResult::Skipped, Some(why)).because(because)
    }

    /// The outcome of an image that was removed, and that took something unplanned with it.
    pub fn lost(run: &str, at: DateTime<Utc>, id: ImageId, went: Vec<Lost>) -> Self {
        let words: Vec<String> = went.iter().map(Lost::words).collect();
        let detail = Some(words.join(", "));
        Self::outcome(run, at, id, RemovalResult::Collateral, detail).with_lost(went)
    }

    fn with_lost(mut self, went: Vec<Lost>) -> Self {
        if let RecordKind::Outcome { lost, .. } = &mut self.what {
            *lost = went;
        }
        self
    }

    /// The same record of this engine.
    #[must_use]
    pub fn of(mut self, engine: &str) -> Self {
        self.engine = Some(engine.to_owned());
        self
    }

    /// One line, with its newline.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("a record is JSON");
        line.push(b'\n');
        line
    }
}

/// Every line that parses.
pub fn records(journal: &[u8]) -> impl Iterator<Item = Record> {
    journal
        .split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Record>(line).ok())
}

/// The records that are, or may be, of this engine: several engines may share one journal. A
/// record without an engine is of the engine of its run's intents, which come before it.
pub fn of_engine(
    records: impl Iterator<Item = Record>,
    engine: &str,
) -> impl Iterator<Item = Record> {
    let mut runs: BTreeMap<String, String> = BTreeMap::new();
    records.filter(move |record| {
        if let (RecordKind::Intent { .. }, Some(its)) = (&record.what, &record.engine)
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
        let what = RecordKind::Intent {
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
    fn names_that_one_engine_put_back_close_no_intent_of_another() {
        let because = Some(SkipCause::NamesPutBack);
        let put_back = Record::stayed("s", at(1), id(1), "put back".into(), because);
        let open = |record: Record| {
            let lines = [intent(1).to_line(), record.to_line()].concat();
            open_intents(&lines).len()
        };
        assert_eq!(open(put_back.clone().of("other")), 1);
        assert_eq!(open(put_back.clone().of("e")), 0);
        assert_eq!(open(put_back), 0);
    }

    #[test]
    fn what_the_engine_did_not_let_go_is_known_until_it_went() {
        let came = |n, came, why: &str| {
            Record::outcome("r", at(0), id(n), came, Some(why.into())).to_line()
        };
        let reason = Some(SkipCause::EngineWouldNot);
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
        // As older versions wrote records, without their engine.
        let by_its_run = [intent(1), failed("r", 1)];
        let told = [failed("r2", 2).of("e"), failed("r3", 3).of("another")];
        let nobodys = [failed("r4", 4)];
        let all = by_its_run.iter().chain(&told).chain(&nobodys);
        let journal: Vec<u8> = all.flat_map(Record::to_line).collect();
        assert_eq!(resisting(&journal, "e"), [id(1), id(2), id(4)].into());
        assert_eq!(resisting(&journal, "another"), [id(3), id(4)].into());
    }
}
