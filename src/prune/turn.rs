//! A turn: asks the engine once more about some images, and drops their names if every answer
//! still allows it.

use crate::decide::plan::Entry;
use crate::engine::{EngineError, Inspected};
use crate::model::AtWork;
use crate::prune::ask::Answers;
use crate::prune::changed::{changed, wanted_by_swarm, wanted_since};
use crate::prune::fate::Fate;
use crate::prune::outcome::Ending;
use crate::prune::pruning::Pruning;
use crate::prune::traits::{Engine, Host};
use crate::prune::untied::Untied;

/// A turn that ended the run.
pub(super) struct Ended {
    pub(super) ending: Ending,
    /// Nothing was done to the images, so their intents can be closed. Otherwise each intent
    /// is closed already, or stays open for the next run, which finds out what became of it.
    pub(super) untouched: bool,
}

impl<'a, E: Engine, H: Host> Pruning<'a, E, H> {
    pub(super) async fn turn(&mut self, entries: &[&'a Entry]) -> Result<(), Ended> {
        let asked = async {
            let answers = self.ask(entries).await?;
            self.unchanged(entries, answers).await
        };
        let going = asked.await.map_err(|ending| Ended {
            ending,
            untouched: true,
        })?;
        let removed = self.remove(going).await;
        removed.map_err(|ending| Ended {
            untouched: matches!(ending, Ending::Refused),
            ending,
        })
    }

    /// Returns the images that may go, and records why the others stay.
    async fn unchanged(
        &mut self,
        entries: &[&'a Entry],
        answers: Answers,
    ) -> Result<Vec<(&'a Entry, Inspected)>, Ending> {
        let Answers { at_work, images } = answers;
        let refusals = self.host.refusals(&at_work);
        if !refusals.is_empty() {
            return Err(self.refused(refusals));
        }
        let mut going = Vec::new();
        for (&entry, image) in entries.iter().zip(images) {
            match self.unless_changed(entry, &at_work, image)? {
                Ok(inspected) => going.push((entry, inspected)),
                Err(fate) => self.conclude(entry, fate).await?,
            }
        }
        Ok(going)
    }

    fn unless_changed(
        &self,
        entry: &Entry,
        at_work: &AtWork,
        image: Result<Option<Inspected>, EngineError>,
    ) -> Result<Result<Inspected, Fate>, Ending> {
        let inspected = match image {
            Ok(Some(inspected)) => inspected,
            Ok(None) => return Ok(Err(Fate::gone_already())),
            Err(error) => return Fate::of_error(error).map(Err),
        };
        let why = changed(entry, &inspected)
            .or_else(|| wanted_by_swarm(entry, at_work))
            .or_else(|| wanted_since(entry, &self.events))
            .or_else(|| self.kept_since_a_deploy(entry));
        Ok(match why {
            Some(why) => Err(Fate::skipped(why)),
            None => Ok(inspected),
        })
    }

    /// Records the fate of an image that needs no confirmation. Before that, names that an
    /// earlier run took from it are put back.
    pub(super) async fn conclude(&mut self, entry: &Entry, fate: Fate) -> Result<(), Ending> {
        let fate = if entry.image.untied.is_empty() {
            fate
        } else {
            self.stay(entry, &Untied::before(entry), fate).await?
        };
        self.record_fate(entry, fate)
    }

    fn kept_since_a_deploy(&self, entry: &Entry) -> Option<String> {
        let still = self.still_candidates.as_ref()?;
        let kept = !still.contains(&entry.image.id);
        kept.then(|| "a deploy had its lock since the plan, and something keeps it now".to_owned())
    }
}
