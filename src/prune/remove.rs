//! Removes one image: which of its names are dropped, and in which order. Never by id,
//! never forced, and nothing without the deploy locks.

use std::collections::BTreeSet;

use crate::decide::plan::Entry;
use crate::engine::{EngineError, Failure, Inspected};
use crate::memory::journal::Because;
use crate::model::Store;
use crate::model::reference::Reference;
use crate::prune::changed::used_by_container;
use crate::prune::dropped::deletes;
use crate::prune::fate::{Fate, without_names};
use crate::prune::outcome::Ending;
use crate::prune::pruning::{Last, Pruning};
use crate::prune::traits::{Engine, Host};
use crate::prune::untied::Untied;
use crate::prune::wait::LONGEST_HELD;

/// The reason shown when an image cannot be removed within the time that a deploy may be
/// kept waiting.
pub(super) const SLOW: &str =
    "the engine answers slowly, and the deploy locks were let go meanwhile";

/// The reason shown when the run was stopped after it had inspected the image.
const STOPPED: &str = "the run was stopped before its turn was over";

impl<'a, E: Engine, H: Host> Pruning<'a, E, H> {
    /// `None` where its names were dropped: the confirmation shows what became of it.
    pub(super) async fn remove(
        &mut self,
        entry: &'a Entry,
        inspected: Inspected,
    ) -> Result<Option<Fate>, Ending> {
        let image = entry.image();
        if self.plan.engine().store == Store::Containerd && !image.digests.is_empty() {
            return self.untie_and_remove(entry, inspected).await;
        }
        match self.names_to_drop(entry, inspected).await? {
            Ok(names) => self.drop_all(entry, names).await,
            Err(fate) => Ok(Some(fate)),
        }
    }

    /// The names to drop; the last one decides. An image without a name gets ours first.
    /// If somebody names it just then, dropping ours leaves the other name: the engine
    /// checks that in one step with the drop.
    async fn names_to_drop(
        &mut self,
        entry: &Entry,
        inspected: Inspected,
    ) -> Result<Result<Vec<Reference>, Fate>, Ending> {
        let (engine, id) = (self.engine, &entry.image().id);
        let names = inspected.ours.iter().chain(&inspected.digests);
        let names: Vec<Reference> = names.cloned().collect();
        if names.len() > 1 {
            // The engine looks for containers before it drops an image's last name, not
            // before it drops one of several.
            match self.patiently(engine.containers()).await {
                Ok(containers) => {
                    if let Some(why) = used_by_container(entry, &containers) {
                        return Ok(Err(Fate::skipped(why)));
                    }
                }
                Err(error) => return Fate::of_error(error).map(Err),
            }
        }
        if !names.is_empty() {
            return Ok(Ok(names));
        }
        if let Some(why) = self.too_old() {
            return Ok(Err(Fate::skipped(why)));
        }
        // The containerd store has a name for a dangling image, but an engine that drops
        // that one does not check image mounts.
        match self.patiently(engine.name_ours(id)).await {
            Ok(ours) => Ok(Ok(vec![ours])),
            Err(error) if error.kind == Failure::NotFound => Ok(Err(Fate::gone_already())),
            Err(error) => Fate::of_error(error).map(Err),
        }
    }

    /// Why the answers about an image are too old to go by, if they are.
    pub(super) fn too_old(&self) -> Option<&'static str> {
        if self.host.was_stopped() {
            Some(STOPPED)
        } else {
            self.host.held_for().is_none().then_some(SLOW)
        }
    }

    /// The same before a name is dropped that may have to be put back under the same locks.
    pub(super) fn too_late(&self) -> Option<&'static str> {
        let held = self.host.held_for();
        let long = held.is_some_and(|held| held >= LONGEST_HELD);
        self.too_old().or(long.then_some(SLOW))
    }

    async fn drop_all(
        &mut self,
        entry: &'a Entry,
        mut names: Vec<Reference>,
    ) -> Result<Option<Fate>, Ending> {
        let (engine, id) = (self.engine, &entry.image().id);
        let meant: BTreeSet<String> = names.iter().flat_map(Reference::spellings).collect();
        let (mut deleted, mut name_gone, mut tried) = (false, false, 0);
        let since = self.host.now();
        for (number, name) in names.iter().enumerate() {
            let done = &names[..number];
            tried = number + 1;
            if let Some(why) = self.too_old() {
                return Ok(Some(Fate::skipped(without_names(why, done))));
            }
            let dropped = match self.patiently(engine.drop_name(name)).await {
                Ok(dropped) => dropped,
                Err(error) => match error.kind {
                    // The name alone went, or the image with it: the confirmation shows.
                    Failure::NotFound => {
                        name_gone = true;
                        break;
                    }
                    Failure::Conflict => {
                        let why = format!("the engine would not: {}", error.why);
                        let why = without_names(&why, done);
                        return Ok(Some(Fate::Skipped(why, Some(Because::EngineWouldNot))));
                    }
                    Failure::Status(_)
                    | Failure::Lost
                    | Failure::Permission
                    | Failure::Nonsense
                    | Failure::Contradiction => {
                        return self.after_error(entry, &error, done).await.map(Some);
                    }
                },
            };
            self.expect_no_loss(entry, &dropped, &meant)?;
            deleted |= deletes(&dropped, id);
        }
        names.truncate(tried);
        self.last = Some(Last {
            entry,
            names,
            since,
            deleted,
            name_gone,
            untied: Untied::default(),
        });
        Ok(None)
    }

    /// The answer was lost, or is an error, which may have come before the drop or after
    /// it: inspects the image to find out.
    pub(super) async fn after_error(
        &mut self,
        entry: &Entry,
        error: &EngineError,
        dropped: &[Reference],
    ) -> Result<Fate, Ending> {
        let engine = self.engine;
        match self.patiently(engine.inspect(&entry.image().id)).await {
            Ok(None) => Ok(Fate::Removed(Some(format!("it is gone, but: {error}")))),
            // Without an answer the engine may still be at it, or have started anew: the
            // next run sees what became of it.
            Ok(Some(_)) if error.kind == Failure::Lost => {
                Err(self.unknown(entry, format!("{error}; it is still here so far")))
            }
            Ok(Some(_)) => Ok(Fate::Failed(without_names(&error.to_string(), dropped))),
            Err(again) => Err(self.unknown(entry, format!("{error}; then: {again}"))),
        }
    }
}
