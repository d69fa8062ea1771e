//! Tags, pulls and loads that the engine acknowledged during a run, gathered before the
//! engine forgets them, and which of them are lost.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::engine::{Did, EngineError, Failure, Info, Leads, Meanwhile, Reader};
use crate::host::clock;
use crate::model::lost::Lost;
use crate::model::reference::Reference;
use crate::model::{ImageId, Swarm};
use crate::prune::aftermath::journal::{End, was_kept};
use crate::prune::outcome::{Loss, Outcome, Removed, Stayed};
use crate::prune::set_back::SetBack;

/// Events are asked for after so many removals: an engine remembers 256 events, and a
/// removal makes some five.
const AT_A_TIME: usize = 16;

#[derive(Debug)]
pub struct Claims {
    since: Cell<DateTime<Utc>>,
    began: Instant,
    set_back: Cell<SetBack>,
    images: Cell<usize>,
    found: RefCell<BTreeSet<Meanwhile>>,
}

impl Claims {
    /// From this moment on.
    pub fn since(began: DateTime<Utc>) -> Self {
        Self {
            since: Cell::new(began),
            began: clock::monotonic(),
            set_back: Cell::new(SetBack::since(clock::now(), Duration::ZERO)),
            images: Cell::new(0),
            found: RefCell::default(),
        }
    }

    /// To be called before each removal: now and then it asks for events. An error is
    /// ignored, because the next call asks for the same.
    pub async fn keep_up(&self, reader: &Reader, info: &Info, now: DateTime<Utc>) {
        self.images.set(self.images.get() + 1);
        if self.images.get().is_multiple_of(AT_A_TIME) {
            let _ = self.ask(reader, info, now).await;
        }
    }

    async fn ask(
        &self,
        reader: &Reader,
        info: &Info,
        now: DateTime<Utc>,
    ) -> Result<(), EngineError> {
        let steady = clock::monotonic().saturating_duration_since(self.began);
        let mut set_back = self.set_back.get();
        let since = set_back.before(self.since.get(), now, steady);
        self.set_back.set(set_back);
        let done = reader.meanwhile(info, since.min(now), now).await?;
        self.found.borrow_mut().extend(done);
        self.since.set(now);
        Ok(())
    }

    /// Names of images of this run that somebody gave, pulled or deployed, and images that
    /// somebody loaded: those that the engine acknowledged, that lead nowhere now, and
    /// that no answer to a dropped name reported.
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
            if known.map(|known| &known.what).any(|told| *told == what) {
                continue;
            }
            let with = match &what {
                Lost::Name(name) => {
                    let leads = reader.leads(name).await?;
                    match image {
                        Some(image) if end.lost(leads) => image,
                        // A pull by tag on the containerd store: only what the name leads
                        // to says of which image it is.
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
    /// `None` where it is not known.
    image: Option<ImageId>,
    end: End,
}

/// Acknowledged names and images of this run, unless the image came again since.
fn suspects(done: &BTreeSet<Meanwhile>, outcome: &Outcome) -> Vec<Suspect> {
    let suspect = |done: &Did, at: DateTime<Utc>, all: &BTreeSet<Meanwhile>| match done {
        Did::Tag(claim) => Some(Suspect {
            what: Lost::Name(claim.name.clone()),
            image: Some(claim.image.clone()),
            end: end(&claim.image, outcome)?,
        }),
        Did::Load(image) => Some(Suspect {
            what: Lost::Image(image.clone()),
            image: Some(image.clone()),
            end: end(image, outcome).filter(|end| *end == End::Gone)?,
        }),
        Did::Pull(name) => match name.without_tag() {
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
        Did::Untag(..) | Did::Delete(_) => None,
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

/// Digests of removed images that services want. A tag may be of an image that was never
/// here.
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

/// Whether an image went more than once: then it came again after our removal, and
/// somebody else removed it.
pub(super) fn deleted_twice<'a>(
    done: impl IntoIterator<Item = &'a Meanwhile>,
    image: &ImageId,
) -> bool {
    let deleted = |done: &&Meanwhile| matches!(&done.what, Did::Delete(id) if id == image);
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

/// The removed image that had this digest, or has it as its id.
fn with_digest<'a>(name: &Reference, outcome: &'a Outcome) -> Option<&'a Removed> {
    let digest = name.digest()?;
    outcome.removed.iter().find(|removed| {
        let mut digests = removed.names.iter().filter_map(Reference::digest);
        digests.any(|own| own == digest) || removed.id.as_str() == digest
    })
}

/// A removed image of the tag's repository: a pull by tag does not say its image.
fn of_its_repository<'a>(name: &Reference, outcome: &'a Outcome) -> Option<&'a Removed> {
    let repository = name.repository();
    let of = |removed: &&Removed| {
        let mut names = removed.names.iter();
        names.any(|name| name.repository() == repository)
    };
    outcome.removed.iter().find(of)
}

/// Whether others took names from images after this moment: the name in question may be
/// among them.
fn others_remove(done: &BTreeSet<Meanwhile>, at: DateTime<Utc>, outcome: &Outcome) -> bool {
    let ours = |id: &ImageId| outcome.removed.iter().any(|removed| removed.id == *id);
    done.iter().any(|one| match &one.what {
        Did::Untag(id, _) | Did::Delete(id) => one.at >= at && !ours(id),
        Did::Tag(_) | Did::Pull(_) | Did::Load(_) => false,
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
    fn found(done: impl IntoIterator<Item = Did>) -> Vec<(String, Option<ImageId>)> {
        let done = done.into_iter().zip(1..);
        let done = done.map(|(what, seconds)| Meanwhile {
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
        let pulled = Did::Pull(digest("app", 1001));
        let name = digest("app", 1001).familiar();
        let gone = Did::Delete(id(1));
        let lost = [(name, Some(id(1)))];
        assert_eq!(found([pulled.clone(), gone.clone()]), lost);
        assert_eq!(found([gone, pulled]), lost, "acknowledged late");
        assert_eq!(found([Did::Pull(digest("app", 7))]), []);
    }

    #[test]
    fn what_came_again_and_was_removed_by_somebody_is_not_lost() {
        let (pulled, gone) = (Did::Pull(digest("app", 1001)), Did::Delete(id(1)));
        assert_eq!(found([gone.clone(), pulled, gone]), []);
    }

    #[test]
    fn a_pull_by_tag_is_of_its_repository_unless_others_remove_names_after_it() {
        let pulled = |name: &str| Did::Pull(name.parse().unwrap());
        let lost = [("app:2".to_owned(), Some(id(1)))];
        assert_eq!(found([pulled("app:2"), Did::Untag(id(1), None)]), lost);
        assert_eq!(found([Did::Untag(id(9), None), pulled("app:2")]), lost);
        let unknown = |name: &str| [(name.to_owned(), None)];
        assert_eq!(
            found([pulled("app:2"), Did::Untag(id(9), None)]),
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
                Did::Load(id(1)),
                Did::Load(id(2)),
                Did::Tag(tag(1)),
                Did::Tag(tag(2))
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
