//! One image: which of its names are dropped, in which order, and what came of
//! it if that failed. Never by id, never forced, and nothing without the locks.

use std::collections::BTreeSet;

use crate::decide::plan::Entry;
use crate::engine::{EngineError, Failure, Inspected};
use crate::memory::journal::{Because, RemovalResult};
use crate::model::reference::Reference;
use crate::prune::changed::{changed, used_by_container, wanted_by_swarm, wanted_since};
use crate::prune::confirm::{deletes, spellings};
use crate::prune::outcome::{Ending, Stayed};
use crate::prune::{Before, Engine, Fate, Host, Last, Pruning, SLOW, STOPPED, failed};

impl<'a, E: Engine, H: Host> Pruning<'a, E, H> {
    /// One image, under the deploy locks. An error ends the run.
    pub(super) async fn one(&mut self, entry: &'a Entry, before: Before) -> Result<(), Ending> {
        match self.remove(entry, before).await? {
            None => Ok(()),
            Some(fate) => self.settle(entry, fate),
        }
    }

    /// What came of the image; `None` where its names were dropped, and the next
    /// look will show it.
    async fn remove(&mut self, entry: &'a Entry, before: Before) -> Result<Option<Fate>, Ending> {
        let Before { at_work, seen } = before;
        let refusals = self.host.refusals(&at_work);
        if !refusals.is_empty() {
            return Err(self.refused(refusals));
        }
        let seen = match seen {
            Ok(Some(seen)) => seen,
            Ok(None) => return Ok(Some(Fate::Skipped("gone already".into()))),
            Err(error) => return failed(error).map(Some),
        };
        let why = changed(entry, &seen)
            .or_else(|| wanted_by_swarm(entry, &at_work))
            .or_else(|| wanted_since(entry, &self.happened))
            .or_else(|| self.kept_since_a_deploy(entry));
        if let Some(why) = why {
            return Ok(Some(Fate::Skipped(why)));
        }
        match self.names_to_drop(entry, seen).await? {
            Ok(names) => self.drop_all(entry, names).await,
            Err(fate) => Ok(Some(fate)),
        }
    }

    fn kept_since_a_deploy(&self, entry: &Entry) -> Option<String> {
        let still = self.still_candidates.as_ref()?;
        let kept = !still.contains(&entry.image().id);
        kept.then(|| "a deploy had its lock since the plan, and something keeps it now".to_owned())
    }

    /// The names to drop, the last of which decides. An image without any gets
    /// ours first. Should somebody name it just then, dropping ours takes ours
    /// and no more: that is the engine's own check, in one step with the drop.
    async fn names_to_drop(
        &mut self,
        entry: &Entry,
        seen: Inspected,
    ) -> Result<Result<Vec<Reference>, Fate>, Ending> {
        let (engine, id) = (self.engine, &entry.image().id);
        let names: Vec<Reference> = seen.ours.iter().chain(&seen.digests).cloned().collect();
        if names.len() > 1 {
            // The engine asks for containers before it drops an image's last
            // name, not before it drops one of several.
            match self.patiently(engine.containers()).await {
                Ok(containers) => {
                    if let Some(why) = used_by_container(entry, &containers) {
                        return Ok(Err(Fate::Skipped(why)));
                    }
                }
                Err(error) => return failed(error).map(Err),
            }
        }
        if !names.is_empty() {
            return Ok(Ok(names));
        }
        if let Some(why) = self.too_old() {
            return Ok(Err(Fate::Skipped(why.into())));
        }
        // On the containerd store, too, though its record of a dangling image is
        // a name there: dropping that one does not look at image mounts.
        match self.patiently(engine.name_ours(id)).await {
            Ok(ours) => Ok(Ok(vec![ours])),
            Err(error) if error.kind == Failure::NotFound => {
                Ok(Err(Fate::Skipped("gone already".into())))
            }
            Err(error) => failed(error).map(Err),
        }
    }

    /// Why what was seen of an image is too old to go by, if it is.
    fn too_old(&self) -> Option<&'static str> {
        if self.host.was_stopped() {
            Some(STOPPED)
        } else {
            self.host.held_for().is_none().then_some(SLOW)
        }
    }

    async fn drop_all(
        &mut self,
        entry: &'a Entry,
        mut names: Vec<Reference>,
    ) -> Result<Option<Fate>, Ending> {
        let (engine, id) = (self.engine, &entry.image().id);
        let meant: BTreeSet<String> = names.iter().flat_map(spellings).collect();
        let (mut deleted, mut name_gone, mut tried) = (false, false, 0);
        let since = self.host.now();
        for (number, name) in names.iter().enumerate() {
            let lost = &names[..number];
            tried = number + 1;
            if let Some(why) = self.too_old() {
                return Ok(Some(Fate::Skipped(having_lost(why, lost))));
            }
            let dropped = match self.patiently(engine.drop_name(name)).await {
                Ok(dropped) => dropped,
                Err(error) => match error.kind {
                    // The name alone, or the image with it: the next look shows.
                    Failure::NotFound => {
                        name_gone = true;
                        break;
                    }
                    Failure::Conflict => {
                        let why = format!("the engine would not: {}", error.why);
                        let why = having_lost(&why, lost);
                        return Ok(Some(Fate::Stayed(why, Because::EngineWouldNot)));
                    }
                    Failure::Status(_)
                    | Failure::Lost
                    | Failure::Permission
                    | Failure::Nonsense
                    | Failure::Contradiction => {
                        return self.find_out(entry, &error, lost).await.map(Some);
                    }
                },
            };
            self.collateral(entry, &dropped, &meant)?;
            deleted |= deletes(&dropped, id);
        }
        names.truncate(tried);
        self.last = Some(Last {
            entry,
            names,
            since,
            deleted,
            name_gone,
        });
        Ok(None)
    }

    /// The answer was lost on the way, or is an error that came after the deed
    /// or before it: is the image gone?
    async fn find_out(
        &mut self,
        entry: &Entry,
        error: &EngineError,
        lost: &[Reference],
    ) -> Result<Fate, Ending> {
        let engine = self.engine;
        match self.patiently(engine.look(&entry.image().id)).await {
            Ok(None) => Ok(Fate::Removed(Some(format!("it is gone, but: {error}")))),
            // Without an answer the engine may still be at it, or have started
            // anew in the middle: the next run sees what came of it.
            Ok(Some(_)) if error.kind == Failure::Lost => {
                Err(self.unknown(entry, format!("{error}; it is still here so far")))
            }
            Ok(Some(_)) => Ok(Fate::Failed(having_lost(&error.to_string(), lost))),
            Err(again) => Err(self.unknown(entry, format!("{error}; then: {again}"))),
        }
    }

    /// Nobody can tell what came of it: the end of the run, and the next one
    /// finds out.
    pub(super) fn unknown(&mut self, entry: &Entry, why: String) -> Ending {
        let id = entry.image().id.clone();
        self.outcome.unconfirmed.push(Stayed {
            id: id.clone(),
            why: why.clone(),
            because: None,
        });
        match self.journal(id, RemovalResult::Unknown, Some(why.clone())) {
            Ok(()) => Ending::EngineLost(why),
            Err(ending) => ending,
        }
    }
}

/// Why an image stays, and which of its names it has no more: a deploy by one of
/// these would ask the registry.
pub(super) fn having_lost(why: &str, names: &[Reference]) -> String {
    let theirs = names.iter().filter(|name| !name.is_ours());
    let names: Vec<String> = theirs.map(Reference::familiar).collect();
    if names.is_empty() {
        return why.to_owned();
    }
    format!("{why}; without {} now", names.join(", "))
}
