//! The turn of one image: the last questions are asked, and its names are dropped if every
//! answer still allows it.

use crate::decide::plan::Entry;
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
    /// Nothing was done to the image, so its intent can be closed. Otherwise its intent is
    /// closed already, or stays open for the next run, which finds out what became of it.
    pub(super) untouched: bool,
}

impl<'a, E: Engine, H: Host> Pruning<'a, E, H> {
    pub(super) async fn turn(&mut self, entry: &'a Entry) -> Result<(), Ended> {
        let answers = self.ask(entry).await.map_err(|ending| Ended {
            ending,
            untouched: true,
        })?;
        self.go_by(entry, answers).await.map_err(|ending| Ended {
            untouched: matches!(ending, Ending::Refused),
            ending,
        })
    }

    async fn go_by(&mut self, entry: &'a Entry, answers: Answers) -> Result<(), Ending> {
        match self.remove_if_unchanged(entry, answers).await? {
            None => Ok(()),
            Some(fate) if entry.image().untied.is_empty() => self.record_fate(entry, fate),
            Some(fate) => {
                let fate = self.stay(entry, &Untied::before(entry), fate).await?;
                self.record_fate(entry, fate)
            }
        }
    }

    /// `None` where its names were dropped: the confirmation shows what became of it.
    async fn remove_if_unchanged(
        &mut self,
        entry: &'a Entry,
        answers: Answers,
    ) -> Result<Option<Fate>, Ending> {
        let Answers { at_work, image } = answers;
        let refusals = self.host.refusals(&at_work);
        if !refusals.is_empty() {
            return Err(self.refused(refusals));
        }
        let inspected = match image {
            Ok(Some(inspected)) => inspected,
            Ok(None) => return Ok(Some(Fate::gone_already())),
            Err(error) => return Fate::of_error(error).map(Some),
        };
        let why = changed(entry, &inspected)
            .or_else(|| wanted_by_swarm(entry, &at_work))
            .or_else(|| wanted_since(entry, &self.events))
            .or_else(|| self.kept_since_a_deploy(entry));
        match why {
            Some(why) => Ok(Some(Fate::skipped(why))),
            None => self.remove(entry, inspected).await,
        }
    }

    fn kept_since_a_deploy(&self, entry: &Entry) -> Option<String> {
        let still = self.still_candidates.as_ref()?;
        let kept = !still.contains(&entry.image().id);
        kept.then(|| "a deploy had its lock since the plan, and something keeps it now".to_owned())
    }
}
