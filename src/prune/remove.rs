//! Removes images by dropping their names, and decides which names, in which order. Never by
//! id, never with force, and never without the deploy locks.

use crate::decide::plan::Entry;
use crate::engine::{Dropped, EngineError, Failure, Inspected};
use crate::memory::journal::SkipCause;
use crate::model::Store;
use crate::model::reference::Reference;
use crate::prune::changed::used_by_container;
use crate::prune::dropped::deletes;
use crate::prune::fate::{Fate, without_names};
use crate::prune::outcome::Ending;
use crate::prune::pruning::{Pruning, ToConfirm};
use crate::prune::times::LONGEST_HELD;
use crate::prune::traits::{Engine, Host};

/// The reason shown when an image cannot be removed within the time that a deploy may be
/// kept waiting.
pub(super) const SLOW: &str =
    "the engine answers slowly, and the deploy locks were let go meanwhile";

/// The reason shown when the run was stopped after it had inspected the image.
const STOPPED: &str = "the run was stopped before its turn was over";

/// The reason shown when the engine was lost while another image of the turn got our name.
const ENDED: &str = "the run ended before its turn was over";

impl<'a, E: Engine, H: Host> Pruning<'a, E, H> {
    /// Removes images that may go, at the same time. Images whose names were dropped are left to
    /// the confirmation; the fate of the others is recorded here.
    pub(super) async fn remove(
        &mut self,
        going: Vec<(&'a Entry, Inspected)>,
    ) -> Result<(), Ending> {
        let begun = self.host.elapsed();
        let containerd = self.plan.engine().store == Store::Containerd;
        let mut together = Vec::new();
        for (entry, inspected) in going {
            if !containerd || entry.image.digests.is_empty() {
                together.push((entry, inspected));
            } else if let Some(fate) = self.untie_and_remove(entry, inspected).await? {
                self.conclude(entry, fate).await?;
            }
        }
        let dropped = match self.names_to_drop(together).await {
            Ok(named) => self.drop_all(named).await,
            Err(ending) => Err(ending),
        };
        self.pace.took(self.host.elapsed().saturating_sub(begun));
        if dropped.is_ok() && self.to_confirm.iter().all(|image| image.unclear.is_none()) {
            return Ok(());
        }
        self.pace.failed();
        // The others of the turn are confirmed and recorded before the run may end.
        Ending::of_both(dropped, self.confirm_dropped().await)
    }

    /// The names to drop. The image goes with the last one. An image without a name gets ours
    /// first. If somebody names it just then, dropping ours does not remove it: the engine
    /// checks for other names in the same step in which it drops ours.
    async fn names_to_drop(
        &mut self,
        going: Vec<(&'a Entry, Inspected)>,
    ) -> Result<Vec<(&'a Entry, Vec<Reference>)>, Ending> {
        let engine = self.engine;
        let mut free = Vec::new();
        for (entry, inspected) in going {
            let names = inspected.ours.into_iter().chain(inspected.digests);
            let names: Vec<Reference> = names.collect();
            match self.used_by_new_container(entry, names.len()).await? {
                Some(fate) => self.conclude(entry, fate).await?,
                None => free.push((entry, names)),
            }
        }
        if let Some(why) = self.too_old() {
            for (entry, _) in free {
                self.conclude(entry, Fate::skipped(why)).await?;
            }
            return Ok(Vec::new());
        }
        // On the containerd store a dangling image has a name of the engine's own. We do not drop
        // that one, because for it the engine does not check image mounts.
        let requests = free.iter().map(async |(entry, names)| {
            if names.is_empty() {
                return Ok(vec![engine.name_ours(&entry.image.id).await?]);
            }
            Ok(names.clone())
        });
        let answers = self.wait_for_each(requests).await;
        let (mut ready, mut ended) = (Vec::new(), Ok(()));
        for ((entry, _), names) in free.into_iter().zip(answers) {
            let fate = match names {
                Ok(names) => {
                    ready.push((entry, names));
                    continue;
                }
                Err(error) if error.kind == Failure::NotFound => Ok(Fate::gone_already()),
                Err(error) => Fate::of_error(error),
            };
            match fate {
                Ok(fate) => self.conclude(entry, fate).await?,
                Err(ending) => ended = Ending::of_both(ended, Err(ending)),
            }
        }
        if ended.is_err() {
            for (entry, _) in std::mem::take(&mut ready) {
                self.conclude(entry, Fate::skipped(ENDED)).await?;
            }
        }
        ended.map(|()| ready)
    }

    /// The engine checks for containers before it drops an image's last name, not before it
    /// drops one of several.
    async fn used_by_new_container(
        &mut self,
        entry: &Entry,
        names: usize,
    ) -> Result<Option<Fate>, Ending> {
        if names <= 1 {
            return Ok(None);
        }
        let engine = self.engine;
        match self.wait_for(engine.containers()).await {
            Ok(containers) => Ok(used_by_container(entry, &containers).map(Fate::skipped)),
            Err(error) => Fate::of_error(error).map(Some),
        }
    }

    /// The reason if the engine's answers are too old to drop a name by them.
    pub(super) fn too_old(&self) -> Option<&'static str> {
        if self.host.was_stopped() {
            Some(STOPPED)
        } else {
            self.host.held_for().is_none().then_some(SLOW)
        }
    }

    /// As [`Self::too_old`], for a name that may have to be put back under the same locks.
    pub(super) fn too_late(&self) -> Option<&'static str> {
        let held = self.host.held_for();
        let long = held.is_some_and(|held| held >= LONGEST_HELD);
        self.too_old().or(long.then_some(SLOW))
    }

    /// Drops the first name of each image, then the second of those that have one.
    async fn drop_all(&mut self, named: Vec<(&'a Entry, Vec<Reference>)>) -> Result<(), Ending> {
        let (engine, since) = (self.engine, self.host.now());
        let going = named.into_iter();
        let going = going.map(|(entry, names)| ToConfirm::of(entry, names, since));
        let mut going: Vec<ToConfirm> = going.collect();
        let (mut done, mut ended) = (0, Ok(()));
        while ended.is_ok() && !going.is_empty() {
            if let Some(why) = self.too_old() {
                for image in going {
                    let fate = Fate::skipped(without_names(why, &image.names[..done]));
                    self.conclude(image.entry, fate).await?;
                }
                break;
            }
            let requests = going
                .iter()
                .map(|image| engine.drop_name(&image.names[done]));
            let answers = self.wait_for_each(requests).await;
            done += 1;
            for (image, answer) in std::mem::take(&mut going).into_iter().zip(answers) {
                match self.after_drop(image, done, answer).await {
                    Ok(more) => going.extend(more),
                    Err(ending) => ended = Ending::of_both(ended, Err(ending)),
                }
            }
        }
        ended
    }

    /// Handles the answer to the drop of a name, the image's `done`th. Returns the image if it
    /// has more names to drop.
    async fn after_drop(
        &mut self,
        mut image: ToConfirm<'a>,
        done: usize,
        answer: Result<Dropped, EngineError>,
    ) -> Result<Option<ToConfirm<'a>>, Ending> {
        let entry = image.entry;
        match answer {
            Ok(dropped) => {
                let meant = image.names.iter().flat_map(Reference::spellings).collect();
                self.expect_no_loss(entry, &dropped, &meant)?;
                image.deleted |= deletes(&dropped, &entry.image.id);
                if done < image.names.len() {
                    return Ok(Some(image));
                }
            }
            Err(error) => match error.kind {
                // Only the name went, or the image as well: the confirmation finds out.
                Failure::NotFound => {
                    image.names.truncate(done);
                    image.name_gone = true;
                }
                Failure::Conflict => {
                    let why = format!("the engine would not: {}", error.why);
                    let why = without_names(&why, &image.names[..done - 1]);
                    let fate = Fate::Skipped(why, Some(SkipCause::EngineWouldNot));
                    self.conclude(entry, fate).await?;
                    return Ok(None);
                }
                // The engine may have dropped the name or not.
                Failure::Status(_)
                | Failure::Lost
                | Failure::Permission
                | Failure::Nonsense
                | Failure::Contradiction => {
                    image.names.truncate(done - 1);
                    image.unclear = Some(error);
                }
            },
        }
        self.to_confirm.push(image);
        Ok(None)
    }

    /// What became of an image whose drop ended in this error: inspects it to find out.
    pub(super) async fn after_error(
        &mut self,
        entry: &Entry,
        error: &EngineError,
    ) -> Result<Fate, Ending> {
        let engine = self.engine;
        let answer = self.wait_for(engine.inspect(&entry.image.id)).await;
        self.by_inspection(entry, error, &[], answer)
    }

    /// What became of an image whose drop ended in an error, by the `answer` to its inspection.
    /// `dropped`: the names that went before the error.
    pub(super) fn by_inspection(
        &mut self,
        entry: &Entry,
        error: &EngineError,
        dropped: &[Reference],
        answer: Result<Option<Inspected>, EngineError>,
    ) -> Result<Fate, Ending> {
        match answer {
            Ok(None) => Ok(Fate::Removed(Some(format!("it is gone, but: {error}")))),
            // Without an answer to the drop, the engine may still be removing the image, or may
            // have been restarted: the next run finds out.
            Ok(Some(_)) if error.kind == Failure::Lost => {
                Err(self.record_unknown(entry, format!("{error}; it is still here so far")))
            }
            Ok(Some(_)) => Ok(Fate::Failed(without_names(&error.to_string(), dropped))),
            Err(again) => Err(self.record_unknown(entry, format!("{error}; then: {again}"))),
        }
    }
}
