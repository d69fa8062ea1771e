//! Restores one image after the other, as long as no guard refuses.

use std::collections::BTreeSet;

use crate::engine::{Amount, Info, Reader};
use crate::exit::Fault;
use crate::guard::{Cause, Refusal, Undisturbed};
use crate::host::clock::monotonic;
use crate::host::signals::EndRequest;
use crate::memory::journal::RecordKind;
use crate::model::reference::Reference;
use crate::model::{Bytes, ImageId};

use crate::cache::folders::store_folders;
use crate::cache::promise::Promise;
use crate::cache::restore::brought::{Brought, Missed};
use crate::cache::restore::guards::Guards;
use crate::cache::restore::left_out::LeftOut;
use crate::cache::restore::limits::Limits;
use crate::cache::restore::order::{Known, Target, Task, Work, tasks};
use crate::cache::restore::restored::{Origin, Restored};
use crate::cache::restore::room;
use crate::cache::restore::set_tag::{Tagged, set_tag};
use crate::cache::restore::source::Source;
use crate::cache::step::Step;

pub struct Restore<'a> {
    pub reader: &'a Reader,
    pub info: &'a Info,
    pub known: Known<'a>,
    pub asked: &'a EndRequest,
    /// In the order in which they are asked.
    pub sources: Vec<Source<'a>>,
    /// Records a restored image in the journal.
    pub record: &'a mut dyn FnMut(ImageId, RecordKind) -> Result<(), Fault>,
    pub on_step: &'a mut dyn FnMut(Step),
}

/// The result of a run.
#[derive(Debug, Default)]
pub struct RestoreOutcome {
    /// One for each promise, in order; `None` if the image was here. Empty if the run was refused
    /// before its first image.
    pub each: Vec<Option<Result<Restored, LeftOut>>>,
    pub refusals: Vec<Refusal>,
    /// What was wrong with the sources, fit to print.
    pub notes: Vec<String>,
    /// What ended the run, after what it had brought.
    pub fault: Option<Fault>,
}

/// Bytes that one source transferred for one image. It may try twice.
#[derive(Default)]
struct Transfers {
    /// Of tries that failed.
    failed: u64,
    last: u64,
}

impl Transfers {
    fn see(&mut self, amount: Amount) {
        if amount.done < self.last {
            self.failed = self.failed.saturating_add(self.last);
        }
        self.last = amount.done;
    }
}

struct Running<'a> {
    run: Restore<'a>,
    limits: Limits<'a>,
    /// Why nothing more is done.
    over: Option<LeftOut>,
    /// Why nothing more is transferred; a tag can still be set.
    full: Option<LeftOut>,
    /// Images that this run restored.
    brought_ids: BTreeSet<ImageId>,
    refusals: Vec<Refusal>,
}

impl Restore<'_> {
    /// Restores promised images that are not here, in the order of the promises.
    pub async fn restore(self, promises: &[Promise]) -> Result<RestoreOutcome, Fault> {
        let tasks = tasks(promises, &self.known);
        let is_work = |task: &&Task| matches!(task, Task::Do(_));
        let of = tasks.iter().filter(is_work).count();
        let storages = store_folders(self.info);
        // Layers first: the bytes that a run may bring are a share of their file system.
        let disks = storages.iter().rev();
        let folders = disks.map(|storage| storage.path.clone()).collect();
        let policy = self.known.policy;
        let mut running = Running {
            limits: Limits::new(self.info, policy, folders, self.asked),
            run: self,
            over: None,
            full: None,
            brought_ids: BTreeSet::new(),
            refusals: Vec::new(),
        };
        if of > 0 {
            let engine = &running.run.info.facts;
            let disks = storages.iter().map(|storage| &storage.disk);
            let full = disks.filter_map(|disk| room::before(disk, engine, &policy.disk));
            running.refusals = full.map(|why| Cause::Disk(why).into()).take(1).collect();
            // The reason is in the refusals.
            let _ = running.undisturbed().await?;
        }
        if !running.refusals.is_empty() {
            return Ok(RestoreOutcome {
                refusals: running.refusals,
                ..RestoreOutcome::default()
            });
        }
        let (mut each, mut number, mut fault) = (Vec::new(), 0, None);
        for task in tasks {
            each.push(match task {
                Task::Here => None,
                Task::LeaveOut(why) => Some(Err(why)),
                Task::Do(work) => {
                    number += 1;
                    let done = running.perform(work, (number, of)).await;
                    Some(done.unwrap_or_else(|why| {
                        let left_out = running.end(LeftOut::Failed(why.message.clone()));
                        fault = Some(why);
                        Err(left_out)
                    }))
                }
            });
        }
        let sources = running.run.sources.iter_mut();
        let notes = sources.flat_map(Source::take_notes).collect();
        Ok(RestoreOutcome {
            each,
            refusals: running.refusals,
            notes,
            fault,
        })
    }
}

impl Running<'_> {
    fn guards(&self) -> Guards<'_> {
        let known = &self.run.known;
        Guards {
            reader: self.run.reader,
            info: self.run.info,
            policy: known.policy,
            ledger: known.ledger,
            here: known.here,
        }
    }

    /// The inner error is the reason that ends the run.
    async fn undisturbed(&mut self) -> Result<Result<Undisturbed, LeftOut>, Fault> {
        let asked = self.run.asked;
        let answer = Box::pin(asked.unless(self.guards().ask())).await;
        Ok(match answer.transpose()? {
            Some(Ok(undisturbed)) => Ok(undisturbed),
            Some(Err(refusals)) => Err(self.refused(refusals)),
            None => Err(self.end(LeftOut::Interrupted)),
        })
    }

    fn refused(&mut self, refusals: Vec<Refusal>) -> LeftOut {
        let why = refusals.first().map(Refusal::message);
        self.refusals.extend(refusals);
        self.end(LeftOut::Refused(why.unwrap_or_default()))
    }

    /// Does nothing more, for this reason.
    fn end(&mut self, why: LeftOut) -> LeftOut {
        self.over.insert(why).clone()
    }

    /// An image with several promised tags is transferred once; then its other tags are only set.
    fn set_tag_if_brought(&self, work: Work) -> Work {
        if let Work::Bring(target) = &work
            && let (Some(tag), Some(id)) = (target.tag(), &target.id)
            && self.brought_ids.contains(id)
        {
            return Work::SetTag {
                tag: tag.clone(),
                id: id.clone(),
            };
        }
        work
    }

    /// Performs `work`. `place`: its number, of how many.
    async fn perform(
        &mut self,
        work: Work,
        place: (usize, usize),
    ) -> Result<Result<Restored, LeftOut>, Fault> {
        let begun = monotonic();
        let work = self.set_tag_if_brought(work);
        self.over = self.over.take().or_else(|| self.limits.over());
        let full = self.full.as_ref();
        let full = full.filter(|_| matches!(work, Work::Bring(_)));
        if let Some(why) = self.over.as_ref().or(full) {
            return Ok(Err(why.clone()));
        }
        let undisturbed = match self.undisturbed().await? {
            Ok(undisturbed) => undisturbed,
            Err(why) => return Ok(Err(why)),
        };
        let (name, from, brought, tag) = match work {
            Work::SetTag { tag, id } => {
                let name = tag.to_string();
                (name, Origin::Here, Brought::here(id), Some(tag))
            }
            Work::Bring(target) => match self.bring(&undisturbed, &target, place).await? {
                Ok((from, brought)) => {
                    let tag = target.tag().cloned();
                    (target.wanted.full(), from, brought, tag)
                }
                Err(why) => return Ok(Err(why)),
            },
        };
        self.brought_ids.insert(brought.id.clone());
        if let Some(tag) = tag
            && let Err(why) = self.tag(&brought.id, &tag).await?
        {
            return Ok(Err(why));
        }
        let restored = Restored {
            from,
            bytes: brought.bytes,
            took: monotonic() - begun,
        };
        let what = RecordKind::Restored {
            name,
            from: from.name().to_owned(),
            bytes: restored.bytes.0,
            milliseconds: restored.milliseconds(),
        };
        (self.run.record)(brought.id, what)?;
        Ok(Ok(restored))
    }

    /// Asks the sources in turn.
    async fn bring(
        &mut self,
        undisturbed: &Undisturbed,
        target: &Target,
        (number, of): (usize, usize),
    ) -> Result<Result<(Origin, Brought), LeftOut>, Fault> {
        let on_step = &mut *self.run.on_step;
        let mut missed = None;
        for source in &mut self.run.sources {
            let mut transfers = Transfers::default();
            let mut on_amount = |amount| {
                transfers.see(amount);
                on_step(Step::Restoring { number, of, amount });
            };
            let work = source.bring(undisturbed, &self.limits, target, &mut on_amount);
            let ended = work.await;
            self.limits.count(match &ended {
                Ok(brought) => Bytes(transfers.failed.saturating_add(brought.bytes.0)),
                Err(_) => Bytes(transfers.failed.saturating_add(transfers.last)),
            });
            match ended {
                Ok(brought) => return Ok(Ok((source.kind(), brought))),
                Err(Missed::Not(why)) => missed = Some(why),
                Err(Missed::Refused(refusal)) => {
                    missed = Some(LeftOut::Refused(refusal.message()));
                    self.refusals.push(refusal);
                }
                Err(Missed::Limit(why)) => {
                    if matches!(why, LeftOut::Interrupted | LeftOut::MaxRun) {
                        self.over = Some(why.clone());
                    } else {
                        self.full = Some(why.clone());
                    }
                    return Ok(Err(why));
                }
                Err(Missed::Fault(fault)) => return Err(fault),
            }
        }
        let nowhere = || LeftOut::Nameless("there is nowhere to bring it from");
        Ok(Err(missed.unwrap_or_else(nowhere)))
    }

    async fn tag(&mut self, id: &ImageId, tag: &Reference) -> Result<Result<(), LeftOut>, Fault> {
        let guards = self.guards();
        let work = set_tag(&guards, self.run.asked, id, tag);
        match Box::pin(work).await? {
            Tagged::Done => Ok(Ok(())),
            Tagged::Elsewhere => Ok(Err(LeftOut::tagged_meanwhile())),
            Tagged::Refused(refusals) => Ok(Err(self.refused(refusals))),
            Tagged::Failed(why) => Ok(Err(LeftOut::Failed(why))),
        }
    }
}
