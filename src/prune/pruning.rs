//! The state of a run, and how it records what became of an image in outcome and journal.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::decide::plan::{Entry, Plan};
use crate::engine::EngineError;
use crate::guard::Refusal;
use crate::memory::journal::{Record, RemovalResult};
use crate::model::lost::Lost;
use crate::model::reference::Reference;
use crate::model::{Event, Image, ImageId};
use crate::policy::Policy;
use crate::prune::fate::Fate;
use crate::prune::outcome::{Ending, Loss, Outcome, Removed, Stayed};
use crate::prune::pace::Pace;
use crate::prune::set_back::SetBack;
use crate::prune::traits::Host;
use crate::prune::untied::Untied;

pub(super) struct Pruning<'a, E, H> {
    pub(super) plan: &'a Plan,
    pub(super) policy: &'a Policy,
    pub(super) engine: &'a E,
    pub(super) host: &'a mut H,
    pub(super) outcome: Outcome,
    /// How many images had their turn.
    pub(super) turns: usize,
    pub(super) pace: Pace,
    /// Images whose names were dropped, until they are confirmed to be gone.
    pub(super) to_confirm: Vec<ToConfirm<'a>>,
    /// Whether the engine last listed its builds within a tick.
    pub(super) lists_builds_quickly: bool,
    /// Whether a deploy had its lock since the plan or the last survey.
    pub(super) met_a_deploy: bool,
    /// Images that no survey after such a deploy keeps; `None` if there was no such survey.
    pub(super) still_candidates: Option<BTreeSet<ImageId>>,
    /// Events since the plan, the first of each image.
    pub(super) events: Vec<Event>,
    /// When the engine was last asked for `events`.
    pub(super) events_until: DateTime<Utc>,
    pub(super) set_back: SetBack,
    /// When the run noticed that it was asked to end, counted from its start.
    pub(super) asked_to_end: Option<Duration>,
}

/// An image whose names were dropped, and what the engine answered.
pub(super) struct ToConfirm<'a> {
    pub(super) entry: &'a Entry,
    /// The names to drop; after the drops, those that are gone.
    pub(super) names: Vec<Reference>,
    /// Just before the first drop.
    pub(super) since: DateTime<Utc>,
    /// The engine said that the image is gone.
    pub(super) deleted: bool,
    /// The engine said that a name was gone already.
    pub(super) name_gone: bool,
    /// Why it is not known whether the last drop was carried out.
    pub(super) unclear: Option<EngineError>,
    /// Names that it lost before its last one. They are put back if it stays.
    pub(super) untied: Untied,
}

impl<'a> ToConfirm<'a> {
    pub(super) fn of(entry: &'a Entry, names: Vec<Reference>, since: DateTime<Utc>) -> Self {
        Self {
            entry,
            names,
            since,
            deleted: false,
            name_gone: false,
            unclear: None,
            untied: Untied::default(),
        }
    }
}

impl<E, H: Host> Pruning<'_, E, H> {
    pub(super) fn may_go_on(&self) -> Result<(), Ending> {
        if self.host.interrupted() {
            Err(Ending::Interrupted)
        } else if self.host.elapsed() >= self.policy.limits.max_run {
            Err(Ending::OutOfTime)
        } else {
            Ok(())
        }
    }

    /// Records what became of an image, which closes its intent.
    pub(super) fn record_fate(&mut self, entry: &Entry, fate: Fate) -> Result<(), Ending> {
        let (id, now) = (entry.image.id.clone(), self.host.now());
        let outcome = &mut self.outcome;
        let record = match fate {
            Fate::Removed(odd) => {
                outcome.removed.push(Removed::of(entry));
                Record::outcome(&outcome.run, now, id, RemovalResult::Removed, odd)
            }
            Fate::Skipped(why, because) => {
                let record = Record::stayed(&outcome.run, now, id.clone(), why.clone(), because);
                outcome.skipped.push(Stayed { id, why, because });
                record
            }
            Fate::Failed(why) => {
                outcome.failed.push(Stayed {
                    id: id.clone(),
                    why: why.clone(),
                    because: None,
                });
                Record::outcome(&outcome.run, now, id, RemovalResult::Failed, Some(why))
            }
        };
        self.write(record)
    }

    /// Records that nobody knows whether the image is gone. The run ends, the intent stays
    /// open, and the next run finds out.
    pub(super) fn record_unknown(&mut self, entry: &Entry, why: String) -> Ending {
        let (id, now) = (entry.image.id.clone(), self.host.now());
        let detail = Some(why.clone());
        let result = RemovalResult::Unknown;
        let record = Record::outcome(&self.outcome.run, now, id.clone(), result, detail);
        self.outcome.unconfirmed.push(Stayed {
            id,
            why: why.clone(),
            because: None,
        });
        self.write(record).err().unwrap_or(Ending::EngineLost(why))
    }

    /// Records what was lost with an image. The run ends.
    pub(super) fn record_lost(&mut self, entry: &Entry, lost: Vec<Lost>) -> Ending {
        let (image, now) = (&entry.image, self.host.now());
        self.add_losses(image, &lost);
        let record = Record::lost(&self.outcome.run, now, image.id.clone(), lost);
        self.write(record).err().unwrap_or(Ending::Surprised)
    }

    fn add_losses(&mut self, image: &Image, lost: &[Lost]) {
        let losses = lost.iter().map(|what| Loss {
            what: what.clone(),
            with: image.id.clone(),
            digests: image.digests.iter().cloned().collect(),
        });
        self.outcome.lost.extend(losses);
    }

    /// Records that an image stays without these names. The run ends, and the next one tries
    /// again to put them back.
    pub(super) fn record_stays_without(
        &mut self,
        image: &Image,
        names: Vec<Reference>,
        why: String,
    ) -> Ending {
        let names: Vec<Lost> = names.into_iter().map(Lost::Name).collect();
        let (id, now) = (image.id.clone(), self.host.now());
        self.add_losses(image, &names);
        let record = Record::without(&self.outcome.run, now, id, names, why);
        self.write(record).err().unwrap_or(Ending::Surprised)
    }

    /// A moment of this run by the clock as it is now.
    pub(super) fn corrected(&mut self, moment: DateTime<Utc>) -> DateTime<Utc> {
        let (now, elapsed) = (self.host.now(), self.host.elapsed());
        self.set_back.corrected(moment, now, elapsed)
    }

    pub(super) fn refused(&mut self, refusals: Vec<Refusal>) -> Ending {
        self.outcome.refusals = refusals;
        Ending::Refused
    }

    pub(super) fn write(&mut self, record: Record) -> Result<(), Ending> {
        self.host
            .record(&[record], false)
            .map_err(Ending::StateLost)
    }
}
