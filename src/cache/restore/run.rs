//! One run: each image in turn, as long as nothing speaks against it.

use crate::engine::{Amount, Info, Reader};
use crate::exit::Fault;
use crate::guard::{Cause, Refusal, Undisturbed};
use crate::host::clock::monotonic;
use crate::host::signals::AskedToEnd;
use crate::memory::journal::What;
use crate::model::reference::Reference;
use crate::model::{Bytes, ImageId};

use crate::cache::folders::store_folders;
use crate::cache::promise::Promise;
use crate::cache::restore::brought::{Brought, Missed};
use crate::cache::restore::guards::Guards;
use crate::cache::restore::left_out::LeftOut;
use crate::cache::restore::limits::Limits;
use crate::cache::restore::order::{Known, Target, Task, Work, tasks};
use crate::cache::restore::restored::{From, Restored};
use crate::cache::restore::room;
use crate::cache::restore::set_tag::{Tagged, set_tag};
use crate::cache::restore::source::Source;
use crate::cache::step::Step;

/// One run, and what it rests on.
pub struct Restore<'a> {
    pub reader: &'a Reader,
    pub info: &'a Info,
    pub known: Known<'a>,
    pub asked: &'a AskedToEnd,
    /// In the order in which they are asked.
    pub sources: Vec<Source<'a>>,
    /// Writes to the journal what was brought.
    pub record: &'a mut dyn FnMut(ImageId, What) -> Result<(), Fault>,
    pub on_step: &'a mut dyn FnMut(Step),
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Came {
    /// For each promise, in their order; `None` where it was here. Empty where the run was
    /// refused before its first image.
    pub each: Vec<Option<Result<Restored, LeftOut>>>,
    pub refusals: Vec<Refusal>,
    /// What could not be used of the sources, fit to print.
    pub notes: Vec<String>,
}

/// A run that has begun.
struct Running<'a> {
    run: Restore<'a>,
    limits: Limits<'a>,
    /// Why nothing more is done.
    over: Option<LeftOut>,
    /// Why nothing more is brought; a tag can still be set.
    full: Option<LeftOut>,
    refusals: Vec<Refusal>,
}

impl Restore<'_> {
    /// Brings back what is promised and not here, in the order of the promises.
    pub async fn restore(self, promises: &[Promise]) -> Result<Came, Fault> {
        let tasks = tasks(promises, &self.known);
        let is_work = |task: &&Task| matches!(task, Task::Do(_));
        let of = tasks.iter().filter(is_work).count();
        let storages = store_folders(self.info);
        // Layers first: what a run may bring is a share of their file system.
        let disks = storages.iter().rev();
        let folders = disks.map(|storage| storage.path.clone()).collect();
        let policy = self.known.policy;
        let mut running = Running {
            limits: Limits::new(self.info, policy, folders, self.asked),
            run: self,
            over: None,
            full: None,
            refusals: Vec::new(),
        };
        if of > 0 {
            let engine = &running.run.info.facts;
            let disks = storages.iter().map(|storage| &storage.disk);
            let full = disks.filter_map(|disk| room::before(disk, engine, &policy.disk));
            running.refusals = full.map(|why| Cause::Disk(why).into()).take(1).collect();
            running.undisturbed().await?;
        }
        if !running.refusals.is_empty() {
            return Ok(Came {
                each: Vec::new(),
                refusals: running.refusals,
                notes: Vec::new(),
            });
        }
        let (mut each, mut number) = (Vec::new(), 0);
        for task in tasks {
            each.push(match task {
                Task::Here => None,
                Task::LeaveOut(why) => Some(Err(why)),
                Task::Do(work) => {
                    number += 1;
                    Some(running.one(work, (number, of)).await?)
                }
            });
        }
        let sources = running.run.sources.iter_mut();
        let notes = sources.flat_map(Source::take_notes).collect();
        Ok(Came {
            each,
            refusals: running.refusals,
            notes,
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

    /// `None` where something speaks against doing anything, and from then on.
    async fn undisturbed(&mut self) -> Result<Option<Undisturbed>, Fault> {
        let asked = self.run.asked;
        let answer = Box::pin(asked.unless(self.guards().ask())).await;
        match answer.transpose()? {
            Some(Ok(undisturbed)) => return Ok(Some(undisturbed)),
            Some(Err(refusals)) => self.refused(refusals),
            None => self.over = Some(LeftOut::Interrupted),
        }
        Ok(None)
    }

    fn refused(&mut self, refusals: Vec<Refusal>) {
        let why = refusals.first().map(Refusal::message);
        self.over = Some(LeftOut::Refused(why.unwrap_or_default()));
        self.refusals.extend(refusals);
    }

    /// Does one work, the `number`th `of` all.
    async fn one(
        &mut self,
        work: Work,
        place: (usize, usize),
    ) -> Result<Result<Restored, LeftOut>, Fault> {
        let begun = monotonic();
        self.over = self.over.take().or_else(|| self.limits.over());
        if self.over.is_none()
            && let (Work::Bring(_), Some(why)) = (&work, &self.full)
        {
            return Ok(Err(why.clone()));
        }
        let undisturbed = match self.over {
            Some(_) => None,
            None => self.undisturbed().await?,
        };
        let Some(undisturbed) = undisturbed else {
            return Ok(Err(self.over.clone().unwrap_or(LeftOut::Interrupted)));
        };
        let (name, from, brought, tag) = match work {
            Work::SetTag { tag, id } => {
                let bytes = Bytes(0);
                let name = tag.to_string();
                (name, From::Here, Brought { id, bytes }, Some(tag))
            }
            Work::Bring(target) => match self.bring(&undisturbed, &target, place).await? {
                Ok((from, brought)) => {
                    let tag = target.tag().cloned();
                    (target.wanted.full(), from, brought, tag)
                }
                Err(why) => return Ok(Err(why)),
            },
        };
        self.limits.count(brought.bytes);
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
        let what = What::Restored {
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
    ) -> Result<Result<(From, Brought), LeftOut>, Fault> {
        let on_step = &mut *self.run.on_step;
        let mut on_amount = |amount| on_step(restoring(number, of, amount));
        let mut missed = None;
        for source in &mut self.run.sources {
            let work = source.bring(undisturbed, &self.limits, target, &mut on_amount);
            match work.await {
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
            Tagged::Elsewhere => Ok(Err(LeftOut::Failed(
                "its tag was set here meanwhile, and is not moved".to_owned(),
            ))),
            Tagged::Refused(refusals) => {
                self.refused(refusals);
                Ok(Err(self.over.clone().unwrap_or(LeftOut::Interrupted)))
            }
        }
    }
}

fn restoring(number: usize, of: usize, amount: Amount) -> Step {
    Step::Restoring {
        number,
        of,
        done: Bytes(amount.done),
        total: Bytes(amount.total),
    }
}
