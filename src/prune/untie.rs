//! Removes an image of the containerd store that has digest references. If that store drops
//! `app@sha256:…`, it also drops a tag of the same repository that leads to the same image. So
//! our own name holds the image while its references are dropped. Then the run asks whether
//! somebody wants the image. If so, it puts back all that the image lost before it drops ours.

use std::collections::BTreeSet;

use futures_util::future::{OptionFuture, join5};

use crate::decide::plan::Entry;
use crate::engine::{EngineError, Failure, Inspected};
use crate::memory::journal::SkipCause;
use crate::model::reference::Reference;
use crate::model::{AtWork, Observed};
use crate::prune::changed::{used_by_container, wanted_by_swarm, wanted_since};
use crate::prune::confirm::KEPT;
use crate::prune::dropped::deletes;
use crate::prune::fate::Fate;
use crate::prune::outcome::Ending;
use crate::prune::pruning::{Pruning, ToConfirm};
use crate::prune::put_back::Back;
use crate::prune::traits::{Engine, Host};
use crate::prune::untied::Untied;

/// The result of dropping an image's digest references.
enum DigestsDropped {
    /// All are gone, and our name holds the image.
    All,
    /// The image went with them, because somebody dropped our name.
    WithTheImage,
    /// The image is to stay, for this reason.
    ImageStays(Fate),
}

impl<'a, E: Engine, H: Host> Pruning<'a, E, H> {
    /// `None` if its names were dropped: then the confirmation finds out what became of it.
    pub(super) async fn untie_and_remove(
        &mut self,
        entry: &'a Entry,
        inspected: Inspected,
    ) -> Result<Option<Fate>, Ending> {
        let (engine, id) = (self.engine, &entry.image.id);
        if let Observed::Unknown(why) = &inspected.descriptor {
            let why = format!("its names could not be put back: {why}");
            return Ok(Some(Fate::skipped(why)));
        }
        if let Some(why) = self.too_old() {
            return Ok(Some(Fate::skipped(why)));
        }
        // Even if it has our name already: the new date tells another secateur that the name is
        // in use, and was not left by a run.
        match self.wait_for(engine.name_ours(id)).await {
            Ok(_) => {}
            Err(error) if error.kind == Failure::NotFound => {
                return Ok(Some(Fate::gone_already()));
            }
            Err(error) => return Fate::of_error(error).map(Some),
        }
        let since = self.host.now();
        let mut untied = Untied::before(entry);
        if let Some(fate) = self.not_held(entry, &inspected).await? {
            return self.stay(entry, &untied, fate).await.map(Some);
        }
        let dropped = self.drop_digests(entry, &inspected.digests, &mut untied);
        let stays = match dropped.await? {
            DigestsDropped::All => self.wanted_now(entry, &untied).await?,
            DigestsDropped::WithTheImage => {
                untied.digests.extend(inspected.digests.iter().cloned());
                let names = inspected.digests.into_iter().collect();
                self.to_confirm.push(ToConfirm {
                    deleted: true,
                    untied,
                    ..ToConfirm::of(entry, names, since)
                });
                return Ok(None);
            }
            DigestsDropped::ImageStays(fate) => Some(fate),
        };
        if let Some(fate) = stays {
            return self.stay(entry, &untied, fate).await.map(Some);
        }
        self.drop_ours(entry, untied).await
    }

    /// The reason to drop nothing, if our name does not hold the image or its names changed.
    async fn not_held(
        &mut self,
        entry: &Entry,
        before: &Inspected,
    ) -> Result<Option<Fate>, Ending> {
        let engine = self.engine;
        let now = match self.wait_for(engine.inspect(&entry.image.id)).await {
            Ok(Some(now)) => now,
            Ok(None) => return Ok(Some(Fate::gone_already())),
            Err(error) if error.kind == Failure::Lost => {
                return Err(self.record_unknown(entry, error.to_string()));
            }
            Err(error) => return Ok(Some(Fate::Failed(error.to_string()))),
        };
        let tagged = now.tags.first();
        let tagged = tagged.map(|tag| format!("it was tagged {} since the plan", tag.familiar()));
        let other = now.ours.is_empty() || now.digests != before.digests;
        let other = other.then(|| "its names changed since the plan".to_owned());
        Ok(tagged.or(other).map(Fate::skipped))
    }

    async fn drop_digests(
        &mut self,
        entry: &Entry,
        digests: &BTreeSet<Reference>,
        untied: &mut Untied,
    ) -> Result<DigestsDropped, Ending> {
        let (engine, image) = (self.engine, &entry.image);
        for name in digests {
            // It went together with another one of its repository.
            if untied.digests.contains(name) {
                continue;
            }
            if let Some(why) = self.too_late() {
                return Ok(DigestsDropped::ImageStays(Fate::skipped(why)));
            }
            let since = self.host.now();
            let dropped = match self.wait_for(engine.drop_name(name)).await {
                Ok(dropped) => dropped,
                Err(error) => {
                    untied.digests.insert(name.clone());
                    let known = self.add_from_events(entry, name, since, untied).await;
                    self.extend_intent(entry, untied).await?;
                    let fate = self.not_dropped(entry, &error).await?;
                    if let Err(unknown) = known {
                        return Err(self.record_unknown(entry, format!("{error}; then: {unknown}")));
                    }
                    return Ok(DigestsDropped::ImageStays(fate));
                }
            };
            if deletes(&dropped, &image.id) {
                let meant = digests.iter().flat_map(Reference::spellings).collect();
                self.expect_no_loss(entry, &dropped, &meant)?;
                return Ok(DigestsDropped::WithTheImage);
            }
            untied.digests.insert(name.clone());
            let names = dropped.untagged.iter();
            untied.add(image, names.filter_map(|text| text.parse().ok()));
            self.extend_intent(entry, untied).await?;
            if let Err(ending) = self.expect_no_loss(entry, &dropped, &untied.spellings()) {
                self.put_back(entry, untied).await?;
                return Err(ending);
            }
            if let Some(name) = untied.unplanned(image) {
                let how = if name.is_digest() { "named" } else { "tagged" };
                let why = format!("it was {how} {} since the plan", name.familiar());
                return Ok(DigestsDropped::ImageStays(Fate::skipped(why)));
            }
        }
        Ok(DigestsDropped::All)
    }

    async fn not_dropped(&mut self, entry: &Entry, error: &EngineError) -> Result<Fate, Ending> {
        if error.kind == Failure::NotFound {
            // Somebody else dropped it.
            return Ok(Fate::skipped("one of its names went meanwhile"));
        }
        if error.kind == Failure::Conflict {
            let why = format!("the engine would not: {}", error.why);
            return Ok(Fate::Skipped(why, Some(SkipCause::EngineWouldNot)));
        }
        self.after_error(entry, error).await
    }

    /// The reason to keep the image, if anything wants it since the plan.
    async fn wanted_now(&mut self, entry: &Entry, untied: &Untied) -> Result<Option<Fate>, Ending> {
        let (engine, id) = (self.engine, &entry.image.id);
        let (now, since) = self.events_to_ask_for();
        let requests = join5(
            engine.inspect(id),
            engine.containers(),
            engine.swarm(),
            // Not if it is slow: the locks would be let go meanwhile.
            OptionFuture::from(self.lists_builds_quickly.then(|| engine.builds())),
            engine.events(since),
        );
        let answers = self.wait_for_all(requests).await;
        let answers = answers.and_then(|(image, containers, swarm, builds, events)| {
            Ok((image?, containers?, swarm?, builds.transpose()?, events?))
        });
        let (image, containers, swarm, builds, events) = match answers {
            Ok(answers) => answers,
            Err(error) if error.kind == Failure::Lost => {
                return Err(self.record_unknown(entry, error.to_string()));
            }
            Err(error) => return Ok(Some(Fate::Failed(error.to_string()))),
        };
        self.add_events(events, now);
        let Some(image) = image else {
            return Ok(Some(Fate::gone_already()));
        };
        let idle = AtWork::idle();
        let at_work = AtWork {
            swarm,
            builds: builds.unwrap_or(idle.builds),
            ..idle
        };
        // A deploy, a build or a pull that began since then ends the run, as before each turn.
        let refusals = self.host.refusals(&at_work);
        if !refusals.is_empty() {
            if let Back::Here(back) = self.put_back(entry, untied).await?
                && !back.is_empty()
            {
                let why = back.describe_put_back("the run was refused in its turn");
                self.record_names_put_back(entry, why)?;
            }
            return Err(self.refused(refusals));
        }
        let why = named(&image)
            .or_else(|| used_by_container(entry, &containers))
            .or_else(|| wanted_by_swarm(entry, &at_work))
            .or_else(|| wanted_since(entry, &self.events))
            .or_else(|| self.too_old().map(str::to_owned));
        Ok(why.map(Fate::skipped))
    }

    /// Drops its last name. The engine itself keeps what a container or an image mount uses.
    async fn drop_ours(
        &mut self,
        entry: &'a Entry,
        untied: Untied,
    ) -> Result<Option<Fate>, Ending> {
        let (engine, id) = (self.engine, &entry.image.id);
        let ours = Reference::ours(id);
        let since = self.host.now();
        let dropped = match self.wait_for(engine.drop_name(&ours)).await {
            Ok(dropped) => dropped,
            Err(error) => {
                return match self.not_dropped(entry, &error).await? {
                    gone @ Fate::Removed(_) => Ok(Some(gone)),
                    fate => self.stay(entry, &untied, fate).await.map(Some),
                };
            }
        };
        let meant = ours.spellings().into_iter().collect();
        if deletes(&dropped, id) {
            self.expect_no_loss(entry, &dropped, &meant)?;
            self.to_confirm.push(ToConfirm {
                deleted: true,
                untied,
                ..ToConfirm::of(entry, vec![ours], since)
            });
            return Ok(None);
        }
        let kept = Fate::Skipped(KEPT.to_owned(), Some(SkipCause::KeptMeanwhile));
        let kept = self.stay(entry, &untied, kept).await?;
        self.expect_no_loss(entry, &dropped, &meant)?;
        Ok(Some(kept))
    }
}

/// The reason to keep an image whose names changed while our own name held it.
fn named(image: &Inspected) -> Option<String> {
    let name = image.tags.iter().chain(&image.digests).next();
    match name {
        Some(name) => Some(format!("it was named {} since the plan", name.familiar())),
        None if image.ours.is_empty() => Some("one of its names went meanwhile".to_owned()),
        None => None,
    }
}
