//! Puts back the names that an image lost, if it is to stay. Only then our own name is dropped.

use std::time::Duration;

use crate::decide::plan::{Entry, Verdict};
use crate::engine::Inspected;
use crate::memory::journal::{Record, RemovalResult, SkipCause};
use crate::model::Image;
use crate::model::lost::Lost;
use crate::prune::fate::Fate;
use crate::prune::give::{GiveError, Given};
use crate::prune::outcome::{Ending, Stayed};
use crate::prune::pruning::Pruning;
use crate::prune::traits::{Engine, Host};
use crate::prune::untied::Untied;

pub(super) enum Back {
    /// The image has all its names. These were put back.
    Here(Untied),
    /// Somebody removed the image. `name_left`: names that were put back led to nothing and were
    /// dropped, and a name of somebody's own may be left.
    Gone { name_left: bool },
}

impl<E: Engine, H: Host> Pruning<'_, E, H> {
    /// Puts back the names of an image that stays. Returns its fate: somebody may have removed it.
    pub(super) async fn stay(
        &mut self,
        entry: &Entry,
        untied: &Untied,
        fate: Fate,
    ) -> Result<Fate, Ending> {
        Ok(match (self.put_back(entry, untied).await?, fate) {
            (_, removed @ Fate::Removed(_)) => removed,
            (Back::Gone { .. }, _) if !untied.tags.is_empty() => {
                let lost = untied.tags.iter().cloned().map(Lost::Name).collect();
                return Err(self.record_lost(entry, lost));
            }
            (Back::Gone { .. }, Fate::Failed(why)) => {
                Fate::Removed(Some(format!("it is gone, but: {why}")))
            }
            (Back::Gone { .. }, Fate::Skipped(_, Some(because))) => Fate::Skipped(
                "it is gone; somebody else removed it".to_owned(),
                Some(because),
            ),
            (Back::Gone { .. }, Fate::Skipped(_, None)) => Fate::gone_already(),
            (Back::Here(back), Fate::Skipped(why, because)) => {
                Fate::Skipped(back.describe_put_back(&why), because)
            }
            (Back::Here(back), Fate::Failed(why)) => Fate::Failed(back.describe_put_back(&why)),
        })
    }

    /// Puts back the names that earlier runs dropped before they were cut off, on images with
    /// such a verdict that this run has not recorded yet. `until`: counted from the run's start.
    pub(super) async fn put_back_of_earlier_runs(
        &mut self,
        which: impl Fn(Verdict) -> bool,
        until: Duration,
    ) -> Result<(), Ending> {
        if self.plan.engine().no_removals().is_some() {
            return Ok(());
        }
        let plan = self.plan;
        for entry in plan.entries().iter().filter(|entry| which(entry.verdict)) {
            let image = &entry.image;
            if image.untied.is_empty() || self.is_recorded(image) {
                continue;
            }
            if self.host.elapsed() >= until {
                return Err(Ending::OutOfTime);
            }
            let back = match self.put_back(entry, &Untied::before(entry)).await? {
                Back::Here(back) => back,
                // The next run does not list it, and closes its intent.
                Back::Gone { name_left: false } => continue,
                // If a name is left, the next run lists the image, so its intent is closed here.
                Back::Gone { name_left: true } => {
                    self.write(self.leads_to_nothing_record(image))?;
                    continue;
                }
            };
            let why = back.describe_put_back("a run that dropped its names was cut off");
            if back.is_empty() {
                self.write(self.names_put_back_record(image, why))?;
            } else {
                self.record_names_put_back(entry, why)?;
            }
        }
        Ok(())
    }

    /// Records that names were put back, for the report and the journal. That closes the intent.
    pub(super) fn record_names_put_back(
        &mut self,
        entry: &Entry,
        why: String,
    ) -> Result<(), Ending> {
        let (id, because) = (entry.image.id.clone(), Some(SkipCause::NamesPutBack));
        let record = self.names_put_back_record(&entry.image, why.clone());
        self.outcome.skipped.push(Stayed { id, why, because });
        self.write(record)
    }

    fn names_put_back_record(&self, image: &Image, why: String) -> Record {
        let (id, now) = (image.id.clone(), self.host.now());
        let because = Some(SkipCause::NamesPutBack);
        Record::stayed(&self.outcome.run, now, id, why, because)
    }

    fn leads_to_nothing_record(&self, image: &Image) -> Record {
        let why = "the run was cut off; the image is gone, and its name leads to nothing";
        let (id, now) = (image.id.clone(), self.host.now());
        let (run, why) = (&self.outcome.run, Some(why.to_owned()));
        let record = Record::outcome(run, now, id, RemovalResult::Removed, why);
        record.because(Some(SkipCause::LeadsToNothing))
    }

    /// Whether this run has recorded what became of an image.
    pub(super) fn is_recorded(&self, image: &Image) -> bool {
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
        let (engine, image) = (self.engine, &entry.image);
        let (mut tries, mut given) = (0, Untied::default());
        // Without the locks, tags are not put back, because a deploy may give one to another
        // image at any moment. A digest reference never leads to another image.
        let locked = self.host.held_for().is_some()
            || self.host.hold().is_ok()
            || !untied.tags.is_empty() && self.holds_locks().await;
        let (untied, later) = untied.clone().split_by_lock(locked);
        let (why, missing) = loop {
            let seen = match self.wait_for(engine.inspect(&image.id)).await {
                Ok(Some(seen)) => seen,
                Ok(None) => return Ok(Back::Gone { name_left: false }),
                Err(error) => return Err(self.record_unknown(entry, error.to_string())),
            };
            let mut missing = self.still_missing(entry, &untied, &seen).await?;
            if missing.is_empty() {
                // The deploy, or somebody else, may have set these tags by now.
                let later = self.still_missing(entry, &later, &seen).await?;
                if !later.is_empty() {
                    break ("a deploy has its lock".to_owned(), later);
                }
                self.drop_our_name(entry, &seen).await?;
                return Ok(Back::Here(given));
            }
            if tries == TRIES {
                break ("they are not there all the same".to_owned(), missing);
            }
            tries += 1;
            match self.give(image, &seen, &mut missing).await {
                Ok(Given::All) => given.extend(&missing),
                Ok(Given::LeadsToNothing) => return Ok(Back::Gone { name_left: true }),
                Err(GiveError::Lost(error)) => {
                    return Err(self.record_unknown(entry, error.to_string()));
                }
                Err(GiveError::Refused(_)) if tries < TRIES => {}
                Err(GiveError::Refused(why)) => break (why, missing),
            }
        };
        Err(self.record_stays_without(image, missing.names(), why))
    }

    /// As [`Self::missing`]; an engine that does not tell ends the run.
    async fn still_missing(
        &mut self,
        entry: &Entry,
        untied: &Untied,
        seen: &Inspected,
    ) -> Result<Untied, Ending> {
        let missing = self.missing(&entry.image, untied, seen).await;
        missing.map_err(|error| self.record_unknown(entry, error.to_string()))
    }

    /// Only if the image has somebody's name as well.
    async fn drop_our_name(&mut self, entry: &Entry, seen: &Inspected) -> Result<(), Ending> {
        if seen.tags.is_empty() && seen.digests.is_empty() {
            return Ok(());
        }
        for ours in &seen.ours {
            self.drop_name_of_ours(entry, ours).await?;
        }
        Ok(())
    }
}
