//! Names that somebody gave to an image, or pulled it by, while the last run removed it. The
//! engine acknowledged them after that run had ended.

use chrono::{DateTime, TimeDelta, Utc};

use crate::engine::{Claim, EngineError, Info, Reader};
use crate::memory::journal::Record;
use crate::model::lost::Lost;
use crate::model::reference::Reference;
use crate::model::{Event, EventKind, Inventory};
use crate::prune::aftermath::claims::deleted_twice;
use crate::prune::aftermath::journal::{End, digests, last_intent, was_reported};
use crate::prune::outcome::Loss;

/// How long after a removal an engine may acknowledge a tag or pull that it accepted during the
/// removal.
const ACKNOWLEDGED_WITHIN: TimeDelta = TimeDelta::seconds(10);

/// Such names that lead nowhere now and that the journal has not reported yet.
pub async fn late_names(
    reader: &Reader,
    info: &Info,
    inventory: &Inventory,
    since: Option<DateTime<Utc>>,
    journal: &[Record],
) -> Result<Vec<Loss>, EngineError> {
    let suspects = asked_for_during_removal(&inventory.events, journal);
    let Some(since) = since.filter(|_| !suspects.is_empty()) else {
        return Ok(Vec::new());
    };
    let meanwhile = reader.meanwhile(info, since, inventory.taken_at).await?;
    let mut lost = Vec::new();
    for (claim, end) in suspects {
        if deleted_twice(&meanwhile, &claim.image) {
            continue;
        }
        if end.lost(reader.leads(&claim.name).await?) {
            lost.push(Loss {
                digests: digests(journal, &claim.image),
                what: Lost::Name(claim.name),
                with: claim.image,
            });
        }
    }
    Ok(lost)
}

/// Whether any of these events may be about a name that was lost.
pub fn may_be_late(events: &[Event]) -> bool {
    !tags_given(events).is_empty() || names_pulled(events).next().is_some()
}

/// Names that were given to an image, or pulled, while a run of ours removed it, and that
/// were not reported yet.
fn asked_for_during_removal(events: &[Event], journal: &[Record]) -> Vec<(Claim, End)> {
    let not_reported = |(claim, at): (Claim, DateTime<Utc>)| {
        // A later name belongs to an image that came again, and whoever gave the name may have
        // removed it.
        let meanwhile =
            |record: &&Record| record.id == claim.image && at <= record.at + ACKNOWLEDGED_WITHIN;
        let end = journal.iter().filter(meanwhile).find_map(End::of)?;
        let what = Lost::Name(claim.name.clone());
        (!was_reported(journal, &claim.image, &what)).then_some((claim, end))
    };
    let pulled = names_pulled(events).filter_map(|(name, at)| {
        let intent = last_intent(journal, &name).filter(|intent| intent.at <= at)?;
        let image = intent.id.clone();
        Some((Claim { image, name }, at))
    });
    let mut found = Vec::new();
    for suspect in tags_given(events).into_iter().chain(pulled) {
        found.extend(not_reported(suspect).filter(|suspect| !found.contains(suspect)));
    }
    found
}

/// The digest references that something was pulled by, and when.
fn names_pulled(events: &[Event]) -> impl Iterator<Item = (Reference, DateTime<Utc>)> {
    events.iter().filter_map(|event| {
        let name: Reference = event.image.raw().parse().ok()?;
        let pulled = event.what == EventKind::Pulled;
        Some((name.without_tag()?, event.at)).filter(|_| pulled)
    })
}

/// Which images were given which names, by events that tell both, and when.
fn tags_given(events: &[Event]) -> Vec<(Claim, DateTime<Utc>)> {
    let given = |event: &Event| {
        let claim = Claim {
            image: event.image.raw().parse().ok()?,
            name: event.tag.as_ref()?.raw().parse().ok()?,
        };
        Some((claim, event.at))
    };
    events.iter().filter_map(given).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{Trust, decide};
    use crate::memory::journal::{RemovalResult, SkipCause};
    use crate::model::text::Untrusted;
    use crate::testing::{at, id, inventory, pinned};

    #[test]
    fn a_tag_of_the_moment_of_a_removal_is_a_loss_and_one_of_later_is_not() {
        let given = |n: u64, name: &str, seconds| Event {
            at: at(seconds),
            image: Untrusted::new(id(n).as_str()),
            what: EventKind::Named,
            tag: Some(Untrusted::new(name)),
        };
        let removed = |n| Record::outcome("r", at(100), id(n), RemovalResult::Removed, None);
        let stayed = |n, because| Record::stayed("r", at(100), id(n), "why".into(), because);
        let went = ["app:4", "app:40.1"].map(Lost::of).to_vec();
        let journal = [
            removed(1),
            stayed(2, Some(SkipCause::KeptMeanwhile)),
            stayed(3, None),
            removed(4),
            Record::lost("r", at(100), id(4), went),
        ];
        let events = [
            given(1, "app:1", 110),
            given(1, "again:1", 111),
            given(2, "app:2", 100),
            given(3, "app:3", 99),
            given(4, "app:4", 100),
            given(4, "app:40", 100),
            given(5, "app:5", 100),
        ];
        let found = asked_for_during_removal(&events, &journal);
        let names = found
            .iter()
            .map(|(claim, end)| (claim.name.familiar(), *end));
        assert_eq!(
            names.collect::<Vec<_>>(),
            [
                ("app:1".to_owned(), End::Gone),
                ("app:2".to_owned(), End::Kept),
                ("app:40".to_owned(), End::Gone)
            ]
        );
    }

    #[test]
    fn a_pull_of_the_moment_of_a_removal_is_a_loss_and_one_from_before_or_later_is_not() {
        let host = inventory([pinned(1, "app")]);
        let policy = crate::policy::Policy::parse("[age]\nmin_age = \"1s\"", "test").unwrap();
        let ledger = crate::memory::ledger::Ledger::empty("e");
        let plan = decide(&policy, &host, &ledger, Trust::OwnMemory);
        let entry = plan.entry(&id(1)).unwrap();
        let journal = [
            crate::prune::intent::intent("r", at(100), "e", entry),
            Record::outcome("r", at(102), id(1), RemovalResult::Removed, None),
        ];
        let name = entry.image.digests.first().unwrap();
        let pulled = |seconds| Event {
            at: at(seconds),
            image: Untrusted::new(name.familiar()),
            what: EventKind::Pulled,
            tag: None,
        };
        for (seconds, lost) in [(99, 0), (100, 1), (112, 1), (113, 0)] {
            let found = asked_for_during_removal(&[pulled(seconds)], &journal);
            assert_eq!(found.len(), lost, "{seconds}");
        }
        assert_eq!(
            asked_for_during_removal(&[pulled(101), pulled(102)], &journal).len(),
            1
        );
    }
}
