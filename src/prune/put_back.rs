//! Puts back what an image lost that is to stay, and only then drops our own name.

use std::time::Duration;

use crate::decide::plan::{Entry, Verdict};
use crate::engine::Inspected;
use crate::memory::journal::{Because, Record};
use crate::model::Image;
use crate::model::lost::Lost;
use crate::prune::dropped::deletes;
use crate::prune::fate::Fate;
use crate::prune::give::{Given, NotBack};
use crate::prune::outcome::{Ending, Stayed};
use crate::prune::pruning::Pruning;
use crate::prune::traits::{Engine, Host};
use crate::prune::untied::Untied;

/// What came of putting names back.
pub(super) enum Back {
    /// It has all that it is to have; these were given back.
    Here(Untied),
    /// Somebody removed the image.
    Gone,
}

impl<E: Engine, H: Host> Pruning<'_, E, H> {
    /// An image stays for this reason, with all the names that it had.
    pub(super) async fn stay(
        &mut self,
        entry: &Entry,
        untied: &Untied,
        fate: Fate,
    ) -> Result<Fate, Ending> {
        Ok(match (self.put_back(entry, untied).await?, fate) {
            (_, removed @ Fate::Removed(_)) => removed,
            (Back::Gone, _) if !untied.tags.is_empty() => {
                let lost = untied.tags.iter().cloned().map(Lost::Name).collect();
                return Err(self.lost_with(entry, lost));
            }
            (Back::Gone, Fate::Failed(why)) => {
                Fate::Removed(Some(format!("it is gone, but: {why}")))
            }
            (Back::Gone, Fate::Skipped(_, Some(because))) => Fate::Skipped(
                "it is gone; somebody else removed it".to_owned(),
                Some(because),
            ),
            (Back::Gone, Fate::Skipped(_, None)) => Fate::gone_already(),
            (Back::Here(back), Fate::Skipped(why, because)) => {
                Fate::Skipped(back.put_back_for(&why), because)
            }
            (Back::Here(back), Fate::Failed(why)) => Fate::Failed(back.put_back_for(&why)),
        })
    }

    /// Puts back what runs dropped that were cut off, from images with such a verdict that
    /// this run has not come to. `until`: so long after the run's start.
    pub(super) async fn put_back_of_earlier_runs(
        &mut self,
        which: impl Fn(Verdict) -> bool,
        until: Duration,
    ) -> Result<(), Ending> {
        if self.plan.engine().no_removals().is_some() {
            return Ok(());
        }
        let plan = self.plan;
        for entry in plan.entries().iter().filter(|entry| which(entry.verdict())) {
            let image = entry.image();
            if image.untied.is_empty() || self.is_told(image) {
                continue;
            }
            if self.host.elapsed() >= until {
                return Err(Ending::OutOfTime);
            }
            let Back::Here(back) = self.put_back(entry, &Untied::before(entry)).await? else {
                continue;
            };
            let why = back.put_back_for("a run that dropped its names was cut off");
            if back.is_empty() {
                self.write(self.names_put_back(image, why))?;
            } else {
                self.tell_of_names(entry, why)?;
            }
        }
        Ok(())
    }

    /// Names were put back, for this reason: it is told, and nothing is left of any intent.
    pub(super) fn tell_of_names(&mut self, entry: &Entry, why: String) -> Result<(), Ending> {
        let (id, because) = (entry.image().id.clone(), Some(Because::NamesPutBack));
        let record = self.names_put_back(entry.image(), why.clone());
        self.outcome.skipped.push(Stayed { id, why, because });
        self.write(record)
    }

    fn names_put_back(&self, image: &Image, why: String) -> Record {
        let (id, now) = (image.id.clone(), self.host.now());
        let because = Some(Because::NamesPutBack);
        Record::stayed(&self.outcome.run, now, id, why, because)
    }

    /// Whether this run has told already what became of an image.
    pub(super) fn is_told(&self, image: &Image) -> bool {
        let outcome = &self.outcome;
        let stayed = outcome.skipped.iter().chain(&outcome.failed);
        let mut stayed = stayed.chain(&outcome.unconfirmed);
        stayed.any(|stayed| stayed.id == image.id)
            || outcome.removed.iter().any(|gone| gone.id == image.id)
    }

    pub(super) async fn put_back(
        &mut self,
        entry: &Entry,
        untied: &Untied,
    ) -> Result<Back, Ending> {
        const TRIES: usize = 2;
        let (engine, image) = (self.engine, entry.image());
        let (mut tries, mut given) = (0, Untied::default());
        // Without the locks a deploy may give a tag to another image at any moment. A digest
        // reference never leads elsewhere.
        let locked = self.host.held_for().is_some() || self.host.hold().is_ok();
        let (untied, later) = untied.clone().without_tags_unless(locked);
        let (why, missing) = loop {
            let seen = match self.patiently(engine.inspect(&image.id)).await {
                Ok(Some(seen)) => seen,
                Ok(None) => return Ok(Back::Gone),
                Err(error) => return Err(self.unknown(entry, error.to_string())),
            };
            let mut missing = match self.missing(image, &untied, &seen).await {
                Ok(missing) => missing,
                Err(error) => return Err(self.unknown(entry, error.to_string())),
            };
            if missing.is_empty() && !later.is_empty() {
                break ("a deploy has its lock".to_owned(), later);
            }
            if missing.is_empty() {
                self.drop_our_name(entry, &seen).await?;
                return Ok(Back::Here(given));
            }
            if tries == TRIES {
                break ("they are not there all the same".to_owned(), missing);
            }
            tries += 1;
            match self.give(image, &seen, &mut missing).await {
                Ok(Given::All) => given.extend(&missing),
                Ok(Given::ToNothing) => return Ok(Back::Gone),
                Err(NotBack::Lost(error)) => return Err(self.unknown(entry, error.to_string())),
                Err(NotBack::Refused(_)) if tries < TRIES => {}
                Err(NotBack::Refused(why)) => break (why, missing),
            }
        };
        Err(self.stays_without(image, missing.names(), why))
    }

    /// Only from an image that has somebody's name as well. An error ends no run, because
    /// the next run tries again.
    async fn drop_our_name(&mut self, entry: &Entry, seen: &Inspected) -> Result<(), Ending> {
        let engine = self.engine;
        if seen.tags.is_empty() && seen.digests.is_empty() {
            return Ok(());
        }
        for ours in &seen.ours {
            if let Ok(dropped) = self.patiently(engine.drop_name(ours)).await {
                let meant = ours.spellings().into_iter().collect();
                self.expect_no_loss(entry, &dropped, &meant)?;
                if deletes(&dropped, &entry.image().id) {
                    let lost = vec![Lost::Image(entry.image().id.clone())];
                    return Err(self.lost_with(entry, lost));
                }
            }
        }
        Ok(())
    }
}
