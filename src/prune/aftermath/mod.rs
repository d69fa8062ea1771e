//! What came while it went: an engine that is deleting an image still lets
//! somebody tag it or make a container of it, and answers both with success.
//! Finds such losses after the fact, so that the run can report them. It
//! prevents none, which only a lock that deploys share can do, and decides
//! nothing about images.

mod claims;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::engine::{Claim, Did, EngineError, Failure, Info, Leads, Meanwhile, Reader};
use crate::memory::journal::{Because, Record, RemovalResult, What};
use crate::model::lost::{ContainerName, Lost};
use crate::model::reference::Reference;
use crate::model::{Container, Event, EventKind, ImageId, Inventory};
use crate::prune::outcome::{Collateral, Stayed};

pub use claims::Claims;

/// How long after a removal an engine may acknowledge a tag that it took up
/// before.
const LATE: TimeDelta = TimeDelta::seconds(10);

/// Whether an image stayed for a name that it got while its last one was dropped.
pub fn was_kept(stayed: &Stayed) -> bool {
    stayed.because == Some(Because::KeptMeanwhile)
}

/// Names that somebody gave to an image, or pulled it by, while the run before this
/// one removed it, and that the engine acknowledged when that run had ended: they lead
/// nowhere. Each is told once, by the journal.
pub async fn late_names(
    reader: &Reader,
    info: &Info,
    seen: &Inventory,
    since: Option<DateTime<Utc>>,
    journal: &[Record],
) -> Result<Vec<Collateral>, EngineError> {
    let suspects = asked_for_while_it_went(&seen.events, journal);
    let Some(since) = since.filter(|_| !suspects.is_empty()) else {
        return Ok(Vec::new());
    };
    let meanwhile = reader.meanwhile(info, since, seen.taken_at).await?;
    let mut lost = Vec::new();
    for (claim, end) in suspects {
        if came_again(&meanwhile, &claim.image) {
            continue;
        }
        if end.lost(reader.leads(&claim.name).await?) {
            lost.push(Collateral {
                digests: digests(journal, &claim.image),
                what: Lost::Name(claim.name),
                with: claim.image,
            });
        }
    }
    Ok(lost)
}

/// Whether an image went more than once: then it had come again after our removal, and
/// somebody else removed it.
fn came_again<'a>(meanwhile: impl IntoIterator<Item = &'a Meanwhile>, image: &ImageId) -> bool {
    let gone = |done: &&Meanwhile| matches!(&done.what, Did::Delete(id) if id == image);
    meanwhile.into_iter().filter(gone).count() > 1
}

/// Names of images that a run of ours was removing, given or pulled by just then, and
/// not told of yet.
fn asked_for_while_it_went(events: &[Event], journal: &[Record]) -> Vec<(Claim, End)> {
    let untold = |(claim, at): (Claim, DateTime<Utc>)| {
        // Not one of later on: the image came again then, and its name may have
        // been removed by whoever set it.
        let meanwhile = |record: &&Record| record.id == claim.image && at <= record.at + LATE;
        let end = journal.iter().filter(meanwhile).find_map(end)?;
        let what = Lost::Name(claim.name.clone());
        (!told(journal, &claim.image, &what)).then_some((claim, end))
    };
    let pulled = names_pulled(events).filter_map(|(name, at)| {
        let intent = whose(journal, &name).filter(|intent| intent.at <= at)?;
        let image = intent.id.clone();
        Some((Claim { image, name }, at))
    });
    let mut found = Vec::new();
    for suspect in tags_given(events).into_iter().chain(pulled) {
        found.extend(untold(suspect).filter(|suspect| !found.contains(suspect)));
    }
    found
}

/// Whether any of these events may be of a name that was lost.
pub fn may_be_late(events: &[Event]) -> bool {
    !tags_given(events).is_empty() || names_pulled(events).next().is_some()
}

/// By which digest references something was pulled, and when.
fn names_pulled(events: &[Event]) -> impl Iterator<Item = (Reference, DateTime<Utc>)> {
    events.iter().filter_map(|event| {
        let name: Reference = event.image.raw().parse().ok()?;
        let pulled = event.what == EventKind::Pulled;
        Some((name.without_tag()?, event.at)).filter(|_| pulled)
    })
}

/// The last intent to remove an image that had this digest reference.
fn whose<'a>(journal: &'a [Record], name: &Reference) -> Option<&'a Record> {
    let text = name.to_string();
    let had = |record: &&Record| match &record.what {
        What::Intent { names, .. } => names.contains(&text),
        What::Outcome { .. } => false,
    };
    journal.iter().rev().find(had)
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

/// The digest references that the image had when it was last to be removed.
fn digests(journal: &[Record], image: &ImageId) -> Vec<Reference> {
    let names = |record: &Record| match &record.what {
        What::Intent { names, .. } if record.id == *image => Some(names.clone()),
        What::Intent { .. } | What::Outcome { .. } => None,
    };
    let names = journal.iter().rev().find_map(names).unwrap_or_default();
    let names = names.iter().filter_map(|name| name.parse().ok());
    names.filter(Reference::is_digest).collect()
}

/// How an image ended that a run of ours dropped the last name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// As far as is known.
    Gone,
    /// For a tag that was set in that very moment.
    Kept,
}

impl End {
    /// Whether a tag that was set meanwhile was lost, if it leads there now.
    fn lost(self, leads: Leads) -> bool {
        match leads {
            Leads::ToAnImage => false,
            Leads::ToNothing => true,
            // Whoever set it on an image that was kept may have removed it since.
            Leads::Nowhere => self == End::Gone,
        }
    }
}

fn end(record: &Record) -> Option<End> {
    match &record.what {
        What::Outcome {
            result, because, ..
        } => match result {
            RemovalResult::Removed | RemovalResult::Collateral | RemovalResult::Unknown => {
                Some(End::Gone)
            }
            RemovalResult::Skipped if *because == Some(Because::KeptMeanwhile) => Some(End::Kept),
            RemovalResult::Skipped | RemovalResult::Failed => None,
        },
        What::Intent { .. } => None,
    }
}

/// What became of the intents of a run that was cut off, as of its last sign of
/// life: for what came in that moment and not for what came later.
pub fn cut_off(
    journal: &[Record],
    pending: &BTreeMap<ImageId, Record>,
    seen: &Inventory,
) -> Vec<Record> {
    let gone = pending
        .values()
        .filter(|intent| !seen.images.contains_key(&intent.id));
    let unknown = |intent: &Record| {
        let signs = journal.iter().filter(|record| record.run == intent.run);
        let last = signs.map(|record| record.at).max().unwrap_or(intent.at);
        Record::outcome(
            &intent.run,
            last,
            intent.id.clone(),
            RemovalResult::Unknown,
            None,
        )
    };
    gone.map(unknown).collect()
}

/// Containers of which an image went by our own hand: they were made while it
/// went. They run on; it can neither be inspected nor used again. Each is told
/// once, by the journal.
pub async fn orphans(
    reader: &Reader,
    containers: &[Container],
    removed: &BTreeSet<ImageId>,
    journal: &[Record],
) -> Result<Vec<Collateral>, EngineError> {
    let mut lost = Vec::new();
    for container in containers {
        for (id, what) in images_of(container) {
            if !removed.contains(&id) || told(journal, &id, &what) {
                continue;
            }
            match reader.inspect(&id).await {
                Ok(Some(_)) => continue,
                Ok(None) => {}
                // The containerd store may keep a name of it.
                Err(error) if error.kind == Failure::Nonsense => {}
                Err(error) => return Err(error),
            }
            lost.push(Collateral {
                what,
                digests: Vec::new(),
                with: id,
            });
        }
    }
    Ok(lost)
}

/// The images that it was made of or has mounted, as far as they are known by
/// their ids.
fn images_of(container: &Container) -> Vec<(ImageId, Lost)> {
    let name = ContainerName {
        id: container.id.clone(),
        name: container.name.clone(),
    };
    let own = container.image_ids.iter().cloned();
    let own = own.map(|id| (id, Lost::MadeOf(name.clone())));
    let mounts = container.image_mounts.iter();
    let mounts = mounts.filter_map(|mount| mount.raw().parse().ok());
    let mounts = mounts.map(|id| (id, Lost::MountedBy(name.clone())));
    own.chain(mounts).collect()
}

fn told(journal: &[Record], image: &ImageId, what: &Lost) -> bool {
    journal.iter().any(|record| match &record.what {
        // One without values is by a version that wrote only words.
        What::Outcome {
            result: RemovalResult::Collateral,
            lost,
            ..
        } => record.id == *image && (lost.is_empty() || lost.contains(what)),
        What::Outcome { .. } | What::Intent { .. } => false,
    })
}

/// Containers with an image that is not among those of the host.
pub fn without_image(seen: &Inventory) -> Vec<Container> {
    let lacks_one = |container: &&Container| {
        let mut images = images_of(container).into_iter();
        images.any(|(id, _)| !seen.images.contains_key(&id))
    };
    seen.containers.iter().filter(lacks_one).cloned().collect()
}

/// Images that our own runs removed since that moment. Not those of long ago:
/// one may have come again since, and somebody else removed it.
pub fn removed(journal: &[Record], since: Option<DateTime<Utc>>) -> BTreeSet<ImageId> {
    let late = |record: &&Record| since.is_none_or(|since| record.at >= since);
    let gone = journal
        .iter()
        .filter(late)
        .filter(|it| end(it) == Some(End::Gone));
    gone.map(|record| record.id.clone()).collect()
}

/// The records of these losses.
pub fn records(run: &str, at: DateTime<Utc>, lost: &[Collateral]) -> Vec<Record> {
    let record =
        |lost: &Collateral| Record::collateral(run, at, lost.with.clone(), vec![lost.what.clone()]);
    lost.iter().map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{Trust, decide};
    use crate::model::text::Untrusted;
    use crate::testing::{at, id, image, inventory, pinned};

    fn container(image: u64, mount: Option<u64>) -> Container {
        Container {
            id: Untrusted::new("0123456789abcdef"),
            name: Untrusted::new("web"),
            image: Untrusted::new(id(image).to_string()),
            image_ids: vec![id(image)],
            state: Untrusted::new("created"),
            image_mounts: mount
                .map(|n| Untrusted::new(id(n).to_string()))
                .into_iter()
                .collect(),
        }
    }

    #[test]
    fn a_container_without_its_image_and_one_without_a_mounted_image_are_found() {
        let mut host = inventory([image(1), image(2)]);
        for (own, mount) in [(1, None), (1, Some(2)), (3, None), (1, Some(3))] {
            host.containers.push(container(own, mount));
        }
        assert_eq!(without_image(&host), host.containers[2..]);
        let found = without_image(&host);
        let images = found.iter().flat_map(images_of);
        assert_eq!(
            images.map(|(_, what)| what.words()).collect::<Vec<_>>(),
            [
                "the image of container web (0123456789ab)",
                "the image of container web (0123456789ab)",
                "an image mounted by container web (0123456789ab)"
            ]
        );
    }

    #[test]
    fn a_loss_is_told_once() {
        let (_, what) = images_of(&container(1, None)).remove(0);
        let lost = Collateral {
            what: what.clone(),
            with: id(1),
            digests: vec![],
        };
        let journal = records("r", at(0), &[lost]);
        assert!(told(&journal, &id(1), &what));
        assert!(!told(&journal, &id(2), &what));
        let other = Lost::MadeOf(ContainerName {
            id: Untrusted::new("fedcba9876543210"),
            name: Untrusted::new("web"),
        });
        assert!(!told(&journal, &id(1), &other));
        let words = Record::outcome(
            "r",
            at(0),
            id(1),
            RemovalResult::Collateral,
            Some("web".into()),
        );
        assert!(told(&[words], &id(1), &other), "what it was is not said");
        assert_eq!(removed(&journal, None), [id(1)].into());
    }

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
            stayed(2, Some(Because::KeptMeanwhile)),
            stayed(3, None),
            removed(4),
            Record::collateral("r", at(100), id(4), went),
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
        let found = asked_for_while_it_went(&events, &journal);
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
        let name = entry.image().digests.first().unwrap();
        let pulled = |seconds| Event {
            at: at(seconds),
            image: Untrusted::new(name.familiar()),
            what: EventKind::Pulled,
            tag: None,
        };
        for (seconds, lost) in [(99, 0), (100, 1), (112, 1), (113, 0)] {
            let found = asked_for_while_it_went(&[pulled(seconds)], &journal);
            assert_eq!(found.len(), lost, "{seconds}");
        }
        assert_eq!(
            asked_for_while_it_went(&[pulled(101), pulled(102)], &journal).len(),
            1
        );
    }

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
