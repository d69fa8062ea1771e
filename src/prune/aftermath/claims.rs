//! Collects tags, pulls and loads that the engine acknowledged during a run, before the engine
//! forgets them, and finds out which of them are lost.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::engine::{EngineError, Failure, ImageAction, ImageEvent, Info, Leads, Reader};
use crate::host::clock;
use crate::model::lost::Lost;
use crate::model::reference::Reference;
use crate::model::{ImageId, Swarm};
use crate::prune::aftermath::journal::{End, was_kept};
use crate::prune::outcome::{Loss, Outcome, Removed, Stayed};
use crate::prune::set_back::SetBack;

/// Events are asked for before the next turn after so many drops. An engine remembers 256 events,
/// and a removal makes three to five.
const DROPS_PER_QUESTION: usize = 8;

#[derive(Debug)]
pub struct Claims {
    since: Cell<DateTime<Utc>>,
    began: Instant,
    set_back: Cell<SetBack>,
    drops: Cell<usize>,
    found: RefCell<BTreeSet<ImageEvent>>,
}

impl Claims {
    pub fn since(began: DateTime<Utc>) -> Self {
        Self {
            since: Cell::new(began),
            began: clock::monotonic(),
            set_back: Cell::new(SetBack::since(clock::now(), Duration::ZERO)),
            drops: Cell::new(0),
            found: RefCell::default(),
        }
    }

    /// To be called before each drop of a name.
    pub fn count_drop(&self) {
        self.drops.set(self.drops.get() + 1);
    }

    /// To be called before each turn. Asks for events after some drops. An error is ignored,
    /// because the next call asks for the same events.
    pub async fn keep_up(&self, reader: &Reader, info: &Info, now: DateTime<Utc>) {
        if self.drops.get() >= DROPS_PER_QUESTION && self.ask(reader, info, now).await.is_ok() {
            self.drops.set(0);
        }
    }

    async fn ask(
        &self,
        reader: &Reader,
        info: &Info,
        now: DateTime<Utc>,
    ) -> Result<(), EngineError> {
        let elapsed = clock::monotonic().saturating_duration_since(self.began);
        let mut set_back = self.set_back.get();
        let since = set_back.corrected(self.since.get(), now, elapsed);
        self.set_back.set(set_back);
        let done = reader.meanwhile(info, since.min(now), now).await?;
        self.found.borrow_mut().extend(done);
        self.since.set(now);
        Ok(())
    }

    /// Names of this run's images that somebody gave, pulled or deployed, and images that somebody
    /// loaded, if the engine acknowledged that and they are gone now. Without those that an
    /// answer to the drop of a name has reported.
    pub async fn lost(
        &self,
        reader: &Reader,
        info: &Info,
        outcome: &Outcome,
        now: DateTime<Utc>,
    ) -> Result<Vec<Loss>, EngineError> {
        self.ask(reader, info, now).await?;
        let done = self.found.take();
        let mut suspects = suspects(&done, outcome);
        if let Swarm::Manager { images, .. } = reader.swarm(info).await? {
            let texts = images.iter().map(|wanted| wanted.image.raw());
            suspects.extend(deployed(texts, outcome));
        }
        let mut lost: Vec<Loss> = Vec::new();
        for Suspect { what, image, end } in suspects {
            let known = outcome.lost.iter().chain(&lost);
            if known.map(|known| &known.what).any(|known| *known == what) {
                continue;
            }
            let with = match &what {
                Lost::Name(name) => {
                    let leads = reader.leads(name).await?;
                    match image {
                        Some(image) if end.lost(leads) => image,
                        // A pull by tag on the containerd store: the event does not name the
                        // image, but the tag still leads to its id.
                        None if leads == Leads::ToNothing => match reader.named(name).await {
                            Some(image) => image,
                            None => continue,
                        },
                        Some(_) | None => continue,
                    }
                }
                _ => match image {
                    Some(image) if is_gone(reader, &image).await? => image,
                    Some(_) | None => continue,
                },
            };
            let removed = outcome.removed.iter().find(|it| it.id == with);
            let names = removed.map(|removed| removed.names.clone());
            lost.push(Loss {
                what,
                digests: names.unwrap_or_default(),
                with,
            });
        }
        Ok(lost)
    }
}

async fn is_gone(reader: &Reader, image: &ImageId) -> Result<bool, EngineError> {
    match reader.inspect(image).await {
        Ok(image) => Ok(image.is_none()),
        Err(error) if error.kind == Failure::Nonsense => Ok(true),
        Err(error) => Err(error),
    }
}

/// A name or image that was acknowledged and may be lost.
#[derive(Debug, PartialEq, Eq)]
struct Suspect {
    what: Lost,
    /// `None` if it is not known.
    image: Option<ImageId>,
    end: End,
}

/// Acknowledged names and images of this run, unless the image came again and went again.
fn suspects(done: &BTreeSet<ImageEvent>, outcome: &Outcome) -> Vec<Suspect> {
    let suspect = |done: &ImageAction, at: DateTime<Utc>, all: &BTreeSet<ImageEvent>| match done {
        ImageAction::Tag(claim) => Some(Suspect {
            what: Lost::Name(claim.name.clone()),
            image: Some(claim.image.clone()),
            end: end(&claim.image, outcome)?,
        }),
        ImageAction::Load(image) => Some(Suspect {
            what: Lost::Image(image.clone()),
            image: Some(image.clone()),
            end: end(image, outcome).filter(|end| *end == End::Gone)?,
        }),
        ImageAction::Pull(name) => match name.without_tag() {
            Some(name) => Some(Suspect {
                image: Some(with_digest(&name, outcome)?.id.clone()),
                what: Lost::Name(name),
                end: End::Gone,
            }),
            None => Some(Suspect {
                image: of_its_repository(name, outcome)
                    .filter(|_| !others_remove(all, at, outcome))
                    .map(|removed| removed.id.clone()),
                what: Lost::Name(name.clone()),
                end: End::Gone,
            }),
        },
        ImageAction::Untag(..) | ImageAction::Delete(_) => None,
    };
    let suspects = done
        .iter()
        .filter_map(|one| suspect(&one.what, one.at, done));
    let once = |suspect: &Suspect| {
        suspect
            .image
            .as_ref()
            .is_none_or(|id| !deleted_twice(done, id))
    };
    suspects.filter(once).collect()
}

/// Digest references of removed images that services want. Their tags do not count: a tag may be
/// of an image that was never here.
fn deployed<'a>(
    texts: impl Iterator<Item = &'a str>,
    outcome: &Outcome,
) -> impl Iterator<Item = Suspect> {
    texts.filter_map(|text| {
        let name = text.parse::<Reference>().ok()?.without_tag()?;
        Some(Suspect {
            image: Some(with_digest(&name, outcome)?.id.clone()),
            what: Lost::Name(name),
            end: End::Gone,
        })
    })
}

/// Whether an image was deleted more than once: then it came again after our removal, and somebody
/// else removed it.
pub(super) fn deleted_twice<'a>(
    done: impl IntoIterator<Item = &'a ImageEvent>,
    image: &ImageId,
) -> bool {
    let deleted = |done: &&ImageEvent| matches!(&done.what, ImageAction::Delete(id) if id == image);
    done.into_iter().filter(deleted).count() > 1
}

fn end(id: &ImageId, outcome: &Outcome) -> Option<End> {
    let is_it = |stayed: &Stayed| stayed.id == *id;
    let removed = outcome.removed.iter().any(|removed| removed.id == *id);
    if removed || outcome.unconfirmed.iter().any(is_it) {
        return Some(End::Gone);
    }
    let kept = |stayed: &Stayed| is_it(stayed) && was_kept(stayed);
    outcome.skipped.iter().any(kept).then_some(End::Kept)
}

/// The removed image with this digest, or with this digest as its id.
fn with_digest<'a>(name: &Reference, outcome: &'a Outcome) -> Option<&'a Removed> {
    let digest = name.digest()?;
    outcome.removed.iter().find(|removed| {
        let mut digests = removed.names.iter().filter_map(Reference::digest);
        digests.any(|own| own == digest) || removed.id.as_str() == digest
    })
}

/// A removed image of the tag's repository: the event of a pull by tag does not name the image.
fn of_its_repository<'a>(name: &Reference, outcome: &'a Outcome) -> Option<&'a Removed> {
    let repository = name.repository();
    let of = |removed: &&Removed| {
        let mut names = removed.names.iter();
        names.any(|name| name.repository() == repository)
    };
    outcome.removed.iter().find(of)
}

/// Whether others removed names or images after this moment: then they may have removed the name
/// in question.
fn others_remove(done: &BTreeSet<ImageEvent>, at: DateTime<Utc>, outcome: &Outcome) -> bool {
    let ours = |id: &ImageId| outcome.removed.iter().any(|removed| removed.id == *id);
    done.iter().any(|one| match &one.what {
        ImageAction::Untag(id, _) | ImageAction::Delete(id) => one.at >= at && !ours(id),
        ImageAction::Tag(_) | ImageAction::Pull(_) | ImageAction::Load(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::plan::Class;
    use crate::engine::Claim;
    use crate::model::conditions::Disk;
    use crate::model::{Bytes, Observed};
    use crate::testing::{at, digest, id};

    /// A run that removed image 1, which had one digest reference.
    fn outcome() -> Outcome {
        let disk: Observed<Disk> = Observed::Unknown("test".into());
        let mut outcome = Outcome::new("r".into(), at(0), disk);
        outcome.removed.push(Removed {
            id: id(1),
            names: vec![digest("app", 1001)],
            had_tags: vec![],
            class: Class::DigestPinned,
            reclaimable: Bytes(1),
            unneeded: None,
        });
        outcome
    }

    /// What may be lost of what was done, in this order, second by second.
    fn found(done: impl IntoIterator<Item = ImageAction>) -> Vec<(String, Option<ImageId>)> {
        let done = done.into_iter().zip(1..);
        let done = done.map(|(what, seconds)| ImageEvent {
            at: at(seconds),
            what,
        });
        suspects(&done.collect(), &outcome())
            .into_iter()
            .map(|suspect| (suspect.what.words(), suspect.image))
            .collect()
    }

    #[test]
    fn a_pull_by_the_digest_of_what_was_removed_may_be_lost_and_one_of_another_is_not() {
        let pulled = ImageAction::Pull(digest("app", 1001));
        let name = digest("app", 1001).familiar();
        let gone = ImageAction::Delete(id(1));
        let lost = [(name, Some(id(1)))];
        assert_eq!(found([pulled.clone(), gone.clone()]), lost);
        assert_eq!(found([gone, pulled]), lost, "acknowledged late");
        assert_eq!(found([ImageAction::Pull(digest("app", 7))]), []);
    }

    #[test]
    fn what_came_again_and_was_removed_by_somebody_is_not_lost() {
        let (pulled, gone) = (
            ImageAction::Pull(digest("app", 1001)),
            ImageAction::Delete(id(1)),
        );
        assert_eq!(found([gone.clone(), pulled, gone]), []);
    }

    #[test]
    fn a_pull_by_tag_is_of_its_repository_unless_others_remove_names_after_it() {
        let pulled = |name: &str| ImageAction::Pull(name.parse().unwrap());
        let lost = [("app:2".to_owned(), Some(id(1)))];
        assert_eq!(
            found([pulled("app:2"), ImageAction::Untag(id(1), None)]),
            lost
        );
        assert_eq!(
            found([ImageAction::Untag(id(9), None), pulled("app:2")]),
            lost
        );
        let unknown = |name: &str| [(name.to_owned(), None)];
        assert_eq!(
            found([pulled("app:2"), ImageAction::Untag(id(9), None)]),
            unknown("app:2")
        );
        assert_eq!(found([pulled("other:2")]), unknown("other:2"));
    }

    #[test]
    fn a_load_and_a_tag_of_what_was_removed_may_be_lost() {
        let tag = |n| Claim {
            image: id(n),
            name: "app:3".parse().unwrap(),
        };
        assert_eq!(
            found([
                ImageAction::Load(id(1)),
                ImageAction::Load(id(2)),
                ImageAction::Tag(tag(1)),
                ImageAction::Tag(tag(2))
            ]),
            [
                (id(1).to_string(), Some(id(1))),
                ("app:3".to_owned(), Some(id(1)))
            ]
        );
    }

    #[test]
    fn a_service_may_have_lost_what_it_wants_by_digest_and_not_what_it_wants_by_tag() {
        let name = digest("app", 1001);
        let texts = [format!("app:1@{}", name.digest().unwrap()), "app:1".into()];
        let outcome = outcome();
        let lost = deployed(texts.iter().map(String::as_str), &outcome);
        let lost: Vec<_> = lost.map(|suspect| suspect.what).collect();
        assert_eq!(lost, [Lost::Name(name)]);
    }
}
