//! Records of names that are to be put back.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::memory::journal::{Record, RecordKind, RemovalResult, SkipCause};
use crate::model::ImageId;
use crate::model::lost::Lost;
use crate::model::reference::Reference;

impl Record {
    /// An outcome with the reason for it.
    #[must_use]
    pub fn because(mut self, reason: Option<SkipCause>) -> Self {
        if let RecordKind::Outcome { because, .. } = &mut self.what {
            *because = reason;
        }
        self
    }

    /// The outcome of an image that is here without these names, which could not be put
    /// back. Its intent stays open: the next run tries again.
    pub fn without(
        run: &str,
        at: DateTime<Utc>,
        id: ImageId,
        names: Vec<Lost>,
        why: String,
    ) -> Self {
        Self::outcome(run, at, id, RemovalResult::Unknown, Some(why)).with_lost(names)
    }

    /// An intent that has these names as well; `None` where it has them all.
    pub fn with_names(&self, more: &BTreeSet<Reference>) -> Option<Self> {
        let mut record = self.clone();
        let RecordKind::Intent { names, .. } = &mut record.what else {
            return None;
        };
        let had = names.len();
        for name in more.iter().map(ToString::to_string) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        (names.len() > had).then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::journal::{intended, pending};
    use crate::testing::{at, digest, id};

    fn intent(run: &str) -> Record {
        let what = RecordKind::Intent {
            names: vec![digest("app", 1).to_string()],
            had_tags: vec![],
            class: "digest-pinned".into(),
            unneeded_since: None,
            evidence: None,
            reclaimable_bytes_at_least: 1,
        };
        Record::new(run, at(0), id(1), what).of("e")
    }

    fn journal(records: &[Record]) -> Vec<u8> {
        records.iter().flat_map(Record::to_line).collect()
    }

    #[test]
    fn an_intent_is_open_until_its_names_are_put_back_or_lead_to_nothing_by_whichever_run() {
        let tag: Reference = "app:1".parse().unwrap();
        let more = intent("a").with_names(&[tag.clone()].into()).unwrap();
        assert_eq!(
            more.with_names(&[tag.clone(), digest("app", 1)].into()),
            None
        );
        let lost = vec![Lost::Name(tag.clone())];
        let without = Record::without("b", at(1), id(1), lost, "why".into());
        let open = journal(&[intent("a"), more, intent("b"), without]);
        let open_run = |journal: &[u8]| {
            let open = pending(journal, "e").remove(&id(1));
            open.map(|record| record.run)
        };
        assert_eq!(open_run(&open).as_deref(), Some("b"));
        assert!(intended(&open, "e")[&id(1)].open);
        for because in [SkipCause::NamesPutBack, SkipCause::LeadsToNothing] {
            let back = Record::stayed("c", at(2), id(1), "why".into(), Some(because));
            let closed = [open.clone(), back.to_line()].concat();
            assert_eq!(open_run(&closed), None);
            assert!(!intended(&closed, "e")[&id(1)].open);
        }
    }

    #[test]
    fn the_last_intent_tells_the_names_with_the_tags_that_went_along() {
        let tag: Reference = "app:1".parse().unwrap();
        let more = intent("a").with_names(&[tag.clone()].into()).unwrap();
        let known = intended(&journal(&[intent("a"), more]), "e");
        assert_eq!(known[&id(1)].names, [digest("app", 1), tag]);
    }
}
