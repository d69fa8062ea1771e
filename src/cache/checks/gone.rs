//! Since when a promised image is gone, and whether secateur removed it: from ledger, journal and
//! baseline, any of which may know nothing.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::memory::journal::{Record, RecordKind, RemovalResult};
use crate::memory::ledger::Ledger;
use crate::model::ImageId;
use crate::model::reference::Reference;
use crate::model::text::escape;
use crate::model::time::second;

use crate::cache::promise::{Promise, Wanted};

/// What earlier runs recorded.
#[derive(Debug)]
pub struct Past {
    pub ledger: Ledger,
    /// When each tag was last seen.
    seen: BTreeMap<Reference, DateTime<Utc>>,
    /// Run and time of each removal, by name and by id.
    removed: BTreeMap<String, (String, DateTime<Utc>)>,
}

impl Past {
    /// `journal`: oldest first.
    pub fn new(ledger: Ledger, journal: &[Record]) -> Self {
        let mut seen: BTreeMap<Reference, DateTime<Utc>> = BTreeMap::new();
        for (name, at) in ledger.sightings().flat_map(|(_, sighting)| &sighting.tags) {
            let last = seen.entry(name.clone()).or_insert(*at);
            *last = (*last).max(*at);
        }
        let removed = removed(journal);
        Self {
            ledger,
            seen,
            removed,
        }
    }
}

/// Run and time of each removal: by each name in its intent, and by id.
fn removed(journal: &[Record]) -> BTreeMap<String, (String, DateTime<Utc>)> {
    let mut names: BTreeMap<&ImageId, BTreeSet<&String>> = BTreeMap::new();
    let mut removed = BTreeMap::new();
    for record in journal {
        match &record.what {
            RecordKind::Intent { names: had, .. } => {
                names.entry(&record.id).or_default().extend(had);
            }
            RecordKind::Outcome {
                result: RemovalResult::Removed | RemovalResult::Collateral,
                ..
            } => {
                let own = names.get(&record.id).into_iter().flatten();
                let own = own.map(|name| (*name).clone());
                for key in own.chain([record.id.to_string()]) {
                    removed.insert(key, (record.run.clone(), record.at));
                }
            }
            RecordKind::Restored { name, .. } => {
                removed.remove(name);
                removed.remove(record.id.as_str());
            }
            RecordKind::Outcome {
                result: RemovalResult::Skipped | RemovalResult::Failed | RemovalResult::Unknown,
                ..
            } => {}
        }
    }
    removed
}

struct Gone<'a> {
    seen: Option<DateTime<Utc>>,
    recorded: Option<DateTime<Utc>>,
    /// The run that removed it, and when.
    removed: Option<&'a (String, DateTime<Utc>)>,
}

impl<'a> Gone<'a> {
    fn of(promise: &Promise, past: &'a Past) -> Self {
        let recorded = promise.recorded.as_ref();
        let id = match &promise.wanted {
            Wanted::Id(id) => Some(id),
            Wanted::Name(_) => recorded.and_then(|recorded| recorded.id.as_ref()),
        };
        let seen = last_seen(promise, id, past);
        let recorded = recorded.map(|recorded| recorded.at);
        // A removal before it was last seen does not count: the image came back since.
        let since = seen.max(recorded);
        let removed = removed_by_us(promise, id, past);
        Self {
            seen,
            recorded,
            removed: removed.filter(|(_, at)| since.is_none_or(|since| *at >= since)),
        }
    }
}

/// The time of its removal; otherwise the last time that it was seen here.
pub fn since(promise: &Promise, past: &Past) -> Option<DateTime<Utc>> {
    let gone = Gone::of(promise, past);
    let removed = gone.removed.map(|(_, at)| *at);
    removed.or(gone.seen.max(gone.recorded))
}

/// What is known of an image that is not here. Fit to print.
pub fn describe(promise: &Promise, past: &Past) -> String {
    let Gone {
        seen,
        recorded,
        removed,
    } = Gone::of(promise, past);
    let was_here = match (seen, recorded) {
        (Some(seen), Some(recorded)) if recorded > seen => {
            Some(format!("it was recorded at {}", second(recorded)))
        }
        (Some(seen), _) => Some(format!("it was last seen at {}", second(seen))),
        (None, Some(recorded)) => Some(format!("it was recorded at {}", second(recorded))),
        (None, None) => None,
    };
    match (removed, was_here) {
        (Some((run, at)), _) => {
            format!(
                "gone: removed by secateur at {} (run {})",
                second(*at),
                escape(run)
            )
        }
        (None, Some(was_here)) => {
            format!("gone: {was_here}, and is not here now; secateur did not remove it")
        }
        (None, None) => "not here; secateur never saw it here and did not remove it".into(),
    }
}

/// An image in the ledger was here at the last survey.
fn last_seen(promise: &Promise, id: Option<&ImageId>, past: &Past) -> Option<DateTime<Utc>> {
    let surveyed = past.ledger.clock().map(|clock| clock.wall);
    let by_id = id.and_then(|id| past.ledger.sighting(id)).and(surveyed);
    let by_name = match &promise.wanted {
        Wanted::Id(_) => None,
        Wanted::Name(name) => past.seen.get(name).copied().max(past.ledger.gone(name)),
    };
    by_id.max(by_name)
}

/// The run that removed it, and when.
fn removed_by_us<'a>(
    promise: &Promise,
    id: Option<&ImageId>,
    past: &'a Past,
) -> Option<&'a (String, DateTime<Utc>)> {
    let names: Vec<String> = match &promise.wanted {
        // The journal has digest references without a tag, even if the pull named one.
        Wanted::Name(name) => {
            let alone = name.without_tag();
            let both = std::iter::once(name).chain(&alone);
            both.map(Reference::to_string).collect()
        }
        Wanted::Id(_) => Vec::new(),
    };
    let keys = names.into_iter().chain(id.map(ToString::to_string));
    let found = keys.filter_map(|key| past.removed.get(&key));
    found.max_by_key(|(_, at)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::promise::baseline::Baseline;
    use crate::cache::promise::{By, Sources, promises};
    use crate::testing::{at, clock, id, inventory, tagged};
    use chrono::TimeDelta;

    fn past(journal: &[Record], seen: bool) -> Past {
        let host = inventory([tagged(1, "app:1")]);
        let empty = Ledger::empty(&host.engine.key());
        let ledger = if seen {
            empty.observe(&host, &clock(0, 0, "a"), TimeDelta::zero())
        } else {
            empty
        };
        Past::new(ledger, journal)
    }

    fn by_name() -> Promise {
        Promise {
            wanted: Wanted::Name("app:1".parse().unwrap()),
            by: vec![By::Policy],
            recorded: None,
        }
    }

    #[test]
    fn the_ledger_says_when_it_was_last_here() {
        let story = describe(&by_name(), &past(&[], true));
        assert!(
            story.contains(&format!("last seen at {}", second(at(0)))),
            "{story}"
        );
        assert!(story.contains("secateur did not remove it"), "{story}");
    }

    #[test]
    fn what_was_never_seen_is_said_so() {
        assert!(describe(&by_name(), &past(&[], false)).contains("never saw it here"));
    }

    #[test]
    fn a_pin_with_a_tag_beside_it_is_known_as_the_digest_that_was_removed() {
        let digest = crate::testing::digest("r.example/app", 1);
        let wanted = format!("r.example/app:1@{}", digest.digest().unwrap());
        let promise = Promise {
            wanted: Wanted::Name(wanted.parse().unwrap()),
            ..by_name()
        };
        let line = serde_json::json!({
            "schema": "secateur/journal/1", "at": at(1), "run": "RUN", "id": id(1),
            "event": "intent", "names": [digest], "class": "superseded",
            "unneeded_since": null, "evidence": null, "reclaimable_bytes": 1,
        });
        let intent: Record = serde_json::from_value(line).unwrap();
        let removed = Record::outcome("RUN", at(2), id(1), RemovalResult::Removed, None);
        let story = describe(&promise, &past(&[intent, removed], false));
        assert!(story.contains("removed by secateur"), "{story}");
    }

    #[test]
    fn the_journal_says_that_it_was_us_and_only_where_it_was_removed() {
        let host = inventory([tagged(1, "app:1")]);
        let baseline = Baseline::of(&host.engine, &host.images, at(0), None, &[].into());
        let policy = crate::policy::Policy::parse("[age]\nmin_age = \"1d\"", "test").unwrap();
        let sources = Sources {
            baseline: Some(&baseline),
            ..Sources::of(&policy)
        };
        let promise = promises(&sources, &[].into()).unwrap().remove(0);
        let came = |result| vec![Record::outcome("RUN", at(5), id(1), result, None)];
        let told = |result| describe(&promise, &past(&came(result), true));
        assert!(
            told(RemovalResult::Removed).contains("removed by secateur"),
            "{}",
            told(RemovalResult::Removed)
        );
        assert!(told(RemovalResult::Skipped).contains("did not remove it"));
        // It came back, and somebody else removed it.
        let long_ago = Record::outcome("RUN", at(-5), id(1), RemovalResult::Removed, None);
        let story = describe(&promise, &past(&[long_ago], true));
        assert!(story.contains("did not remove it"), "{story}");
    }
}
