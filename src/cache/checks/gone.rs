//! Since when a promised image is gone, and whether secateur removed it. The ledger, the
//! journal and the baseline tell; each may know nothing.

use chrono::{DateTime, Utc};

use crate::memory::journal::{Record, RemovalResult, What};
use crate::memory::ledger::Ledger;
use crate::model::ImageId;
use crate::model::reference::Reference;
use crate::model::text::escape;
use crate::model::time::second;

use crate::cache::promise::{Promise, Wanted};

/// What earlier runs left.
#[derive(Debug)]
pub struct Past {
    pub ledger: Ledger,
    /// Oldest first.
    pub journal: Vec<Record>,
}

/// What is known of an image that is not here, fit to print.
pub fn story(promise: &Promise, past: &Past) -> String {
    let recorded = promise.recorded.as_ref();
    let id = match &promise.wanted {
        Wanted::Id(id) => Some(id.clone()),
        Wanted::Name(_) => recorded.and_then(|recorded| recorded.id.clone()),
    };
    let seen = last_seen(promise, id.as_ref(), &past.ledger);
    let was_here = match (seen, recorded.map(|recorded| recorded.at)) {
        (Some(seen), Some(recorded)) if recorded > seen => {
            Some(format!("it was recorded at {}", second(recorded)))
        }
        (Some(seen), _) => Some(format!("it was last seen at {}", second(seen))),
        (None, Some(recorded)) => Some(format!("it was recorded at {}", second(recorded))),
        (None, None) => None,
    };
    // A removal before it was last here says nothing: the image came again since.
    let since = seen.max(recorded.map(|recorded| recorded.at));
    let ours = removed_by_us(promise, id.as_ref(), &past.journal)
        .filter(|(_, at)| since.is_none_or(|since| *at >= since));
    match (ours, was_here) {
        (Some((run, at)), _) => {
            format!(
                "gone: removed by secateur at {} (run {})",
                second(at),
                escape(&run)
            )
        }
        (None, Some(was_here)) => {
            format!("gone: {was_here}, and is not here now; secateur did not remove it")
        }
        (None, None) => "not here; secateur never saw it here and did not remove it".into(),
    }
}

/// The ledger holds the images of its last survey: one of them went after it.
fn last_seen(promise: &Promise, id: Option<&ImageId>, ledger: &Ledger) -> Option<DateTime<Utc>> {
    let surveyed = ledger.clock().map(|clock| clock.wall);
    let by_id = id.and_then(|id| ledger.sighting(id)).and(surveyed);
    let by_name = match &promise.wanted {
        Wanted::Id(_) => None,
        Wanted::Name(name) => ledger
            .sightings()
            .filter_map(|(_, sighting)| sighting.tags.get(name).copied())
            .max()
            .max(ledger.gone(name)),
    };
    by_id.max(by_name)
}

/// The run that removed it, and when.
fn removed_by_us(
    promise: &Promise,
    id: Option<&ImageId>,
    journal: &[Record],
) -> Option<(String, DateTime<Utc>)> {
    // The journal has digest references without the tag that they were pulled with.
    let names: Vec<String> = match &promise.wanted {
        Wanted::Name(name) => {
            let alone = name.without_tag();
            std::iter::once(name)
                .chain(&alone)
                .map(Reference::to_string)
                .collect()
        }
        Wanted::Id(_) => Vec::new(),
    };
    let mut meant: Vec<&ImageId> = id.into_iter().collect();
    let mut found = None;
    for record in journal {
        match &record.what {
            What::Intent { names: had, .. } => {
                if names.iter().any(|name| had.contains(name)) {
                    meant.push(&record.id);
                }
            }
            What::Outcome {
                result: RemovalResult::Removed | RemovalResult::Collateral,
                ..
            } => {
                if meant.contains(&&record.id) {
                    found = Some((record.run.clone(), record.at));
                }
            }
            What::Outcome {
                result: RemovalResult::Skipped | RemovalResult::Failed | RemovalResult::Unknown,
                ..
            } => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::promise::baseline::Baseline;
    use crate::cache::promise::{By, promises};
    use crate::testing::{at, clock, id, inventory, tagged};
    use chrono::TimeDelta;

    fn past(journal: Vec<Record>, seen: bool) -> Past {
        let host = inventory([tagged(1, "app:1")]);
        let empty = Ledger::empty(&host.engine.key());
        let ledger = if seen {
            empty.observe(&host, &clock(0, 0, "a"), TimeDelta::zero())
        } else {
            empty
        };
        Past { ledger, journal }
    }

    fn by_name() -> Promise {
        Promise {
            wanted: Wanted::Name("app:1".parse().unwrap()),
            by: By::Policy,
            recorded: None,
        }
    }

    #[test]
    fn the_ledger_says_when_it_was_last_here() {
        let story = story(&by_name(), &past(vec![], true));
        assert!(
            story.contains(&format!("last seen at {}", second(at(0)))),
            "{story}"
        );
        assert!(story.contains("secateur did not remove it"), "{story}");
    }

    #[test]
    fn what_was_never_seen_is_said_so() {
        assert!(story(&by_name(), &past(vec![], false)).contains("never saw it here"));
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
        let story = story(&promise, &past(vec![intent, removed], false));
        assert!(story.contains("removed by secateur"), "{story}");
    }

    #[test]
    fn the_journal_says_that_it_was_us_and_only_where_it_was_removed() {
        let host = inventory([tagged(1, "app:1")]);
        let baseline = Baseline::of(&host.engine, &host.images, at(0), None, &[].into());
        let policy = crate::policy::Policy::parse("[age]\nmin_age = \"1d\"", "test").unwrap();
        let promise = promises(&[], &policy, Some(&baseline), &[].into())
            .unwrap()
            .remove(0);
        let came = |result| vec![Record::outcome("RUN", at(5), id(1), result, None)];
        let told = |result| story(&promise, &past(came(result), true));
        assert!(
            told(RemovalResult::Removed).contains("removed by secateur"),
            "{}",
            told(RemovalResult::Removed)
        );
        assert!(told(RemovalResult::Skipped).contains("did not remove it"));
        // It came again, and somebody else took it.
        let long_ago = Record::outcome("RUN", at(-5), id(1), RemovalResult::Removed, None);
        let story = story(&promise, &past(vec![long_ago], true));
        assert!(story.contains("did not remove it"), "{story}");
    }
}
