//! Runs the checks over all promises, in order.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::cache::check::{Check, Kind, Status};
use crate::cache::checks::gone::Past;
use crate::cache::checks::present::Lacks;
use crate::cache::checks::room::Largest;
use crate::cache::checks::{lasting, present, room, whole};
use crate::cache::findings::{Findings, Line, NotAsked};
use crate::cache::folders::store_folders;
use crate::cache::promise::baseline::Baseline;
use crate::cache::promise::{Promise, Wanted, with_all_digests};
use crate::cache::questions::{Answers, Registries, not_asked};
use crate::cache::redeploy::Redeploy;
use crate::cache::restore::left_out::LeftOut;
use crate::cache::restore::restored::Restored;
use crate::cache::state;
use crate::cache::step::Step;
use crate::engine::{Amount, Info, Reader, StoredContent};
use crate::exit::Fault;
use crate::host::signals::EndRequest;
use crate::model::{Bytes, Image, ImageId};
use crate::policy::Policy;

/// The optional checks.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub struct Checks {
    /// Compare digests with the registry's.
    pub registry: bool,
    /// Pull as a deploy does. Also compares digests.
    pub redeploy: bool,
    /// Pull even tags that moved.
    pub follow: bool,
    /// Read and hash every layer.
    pub deep: bool,
}

impl Checks {
    fn compares_digests(self) -> bool {
        self.registry || self.redeploy
    }

    /// The kinds of checks that were not asked for, each with its option.
    pub fn left_out(self) -> Vec<(Kind, &'static str)> {
        [
            (self.deep, Kind::Whole, "--deep"),
            (self.compares_digests(), Kind::Current, "--registry"),
            (self.redeploy, Kind::Reused, "--redeploy"),
        ]
        .into_iter()
        .filter(|(made, ..)| !made)
        .map(|(_, kind, option)| (kind, option))
        .collect()
    }
}

/// All images of the engine, with every digest that a promise may name.
pub async fn images(reader: &Reader, info: &Info) -> Result<BTreeMap<ImageId, Image>, Fault> {
    let list = reader.images(info).await?;
    Ok(with_all_digests(list, info.facts.store))
}

pub struct Run<'a> {
    pub checks: Checks,
    pub policy: &'a Policy,
    pub reader: &'a Reader,
    pub info: &'a Info,
    pub past: &'a Past,
    /// From [`images`].
    pub here: BTreeMap<ImageId, Image>,
    /// Details that the engine's list lacks.
    pub held: BTreeMap<ImageId, StoredContent>,
    pub on_step: &'a mut dyn FnMut(Step),
    /// The result of `--restore` for each promise, in order; empty without it.
    pub restored: Vec<Option<Result<Restored, LeftOut>>>,
    /// If the run is asked to end, it asks no registry and reads no layer.
    pub asked: &'a EndRequest,
}

pub struct Ran {
    pub findings: Findings,
    /// Milliseconds of each pull.
    pub pulls: BTreeMap<Wanted, u64>,
}

impl Run<'_> {
    /// Checks all promises, and adds the results to `findings`.
    pub async fn check(
        mut self,
        promises: &[Promise],
        registries: &mut Registries,
        mut findings: Findings,
    ) -> Result<Ran, Fault> {
        let folders = store_folders(self.info);
        let lasting = lasting::check(&folders);
        let largest = self.largest(promises);
        let room = room::check(&folders, &self.info.facts, self.policy.room, largest);
        let on_step = &mut *self.on_step;
        on_step(Step::Asking {
            done: 0,
            of: promises.len(),
        });
        let mut on_answer = |done, of| on_step(Step::Asking { done, of });
        let digests = self.checks.compares_digests();
        let ask = registries.ask(promises, &self.here, &self.held, digests, &mut on_answer);
        let answers = Box::pin(self.asked.unless(ask)).await.unwrap_or_default();
        // Pulls come before the reading of layers, which takes long: the registries' answers must
        // still be valid.
        let (reused, pulls) = self.pull_all(promises, registries, &answers).await?;
        let mut reused = reused.into_iter();
        let mut restored = std::mem::take(&mut self.restored).into_iter();
        let mut read = BTreeMap::new();
        for (number, promise) in (1..).zip(promises) {
            let lacks = self.lacks(promise);
            let restored = restored.next().flatten();
            let mut present = present::check(promise, &self.here, self.past, lacks);
            if matches!(restored, Some(Err(_))) && present.status == Status::Unknown {
                // It was to be completed, and was not.
                present.status = Status::Broken;
            }
            let mut checks = vec![present];
            if self.checks.deep {
                let place = (number, promises.len());
                checks.push(self.whole(promise, place, &mut read).await?);
            }
            checks.push(lasting.clone());
            checks.extend(answers.of(promise));
            checks.extend(reused.next());
            let (state, since) = state::of(promise, &self.here, &checks, self.past);
            findings.images.push(Line {
                image: promise.wanted.clone(),
                by: promise.by.clone(),
                state,
                since,
                checks,
                not_asked: self.not_asked(promise),
                restored,
                repair: None,
                saved: None,
            });
        }
        findings.store = Some(lasting);
        findings.room = Some(room);
        findings.asked = registries.asked();
        findings.not_made = self.checks.left_out();
        findings.sort();
        Ok(Ran { findings, pulls })
    }

    fn largest(&self, promises: &[Promise]) -> Option<Largest> {
        let sized = promises.iter().filter_map(|promise| {
            let image = promise.wanted.find(&self.here)?;
            let size = *image.size.known()?;
            let image = promise.wanted.clone();
            Some(Largest { image, size })
        });
        sized.max_by_key(|largest| largest.size.0)
    }

    /// One check for each promise; none without --redeploy.
    async fn pull_all(
        &mut self,
        promises: &[Promise],
        registries: &Registries,
        answers: &Answers,
    ) -> Result<(Vec<Check>, BTreeMap<Wanted, u64>), Fault> {
        let (mut reused, mut pulls) = (Vec::new(), BTreeMap::new());
        if !self.checks.redeploy {
            return Ok((reused, pulls));
        }
        let redeploy = Redeploy {
            reader: self.reader,
            info: self.info,
            policy: self.policy,
            ledger: &self.past.ledger,
            registries,
            answers,
            follow: self.checks.follow,
        };
        let (of, on_step) = (promises.len(), &mut *self.on_step);
        for (number, promise) in (1..).zip(promises) {
            let mut on_amount = |amount| on_step(Step::Pulling { number, of, amount });
            on_amount(Amount::default());
            let image = promise.wanted.find(&self.here);
            let check = Box::pin(redeploy.pull(promise, image, &mut on_amount)).await?;
            if let Some(time) = check.milliseconds {
                pulls.insert(promise.wanted.clone(), time);
            }
            reused.push(check);
        }
        Ok((reused, pulls))
    }

    /// Reads each image once, even if several names lead to it.
    async fn whole(
        &mut self,
        promise: &Promise,
        (number, of): (usize, usize),
        read: &mut BTreeMap<ImageId, Check>,
    ) -> Result<Check, Fault> {
        let Some(image) = promise.wanted.find(&self.here) else {
            let why = "it is not here to be read";
            return Ok(Check::new(Kind::Whole, Status::Unknown, why));
        };
        if let Some(check) = read.get(&image.id) {
            return Ok(check.clone());
        }
        if let Some(Lacks::Platform(why)) = self.lacks(promise) {
            return Ok(Check::new(Kind::Whole, Status::Unknown, why));
        }
        let on_step = &mut *self.on_step;
        let mut on_bytes = |bytes| {
            on_step(Step::Reading {
                number,
                of,
                bytes: Bytes(bytes),
                of_bytes: image.size.known().copied(),
            });
        };
        // The last step may show another image or a pull, and the first bytes may take long.
        on_bytes(0);
        let work = whole::check(self.reader, self.info, image, &mut on_bytes);
        let Some(check) = self.asked.unless(work).await.transpose()? else {
            let why = "not read: the run was asked to end";
            return Ok(Check::new(Kind::Whole, Status::Unknown, why));
        };
        read.insert(image.id.clone(), check.clone());
        Ok(check)
    }

    /// What the engine lacks of a promised image.
    fn lacks(&self, promise: &Promise) -> Option<Lacks> {
        let image = promise.wanted.find(&self.here)?;
        Lacks::of(self.held.get(&image.id)?, self.reader.platform()?)
    }

    /// The registry checks that were asked for and cannot be made.
    fn not_asked(&self, promise: &Promise) -> Vec<NotAsked> {
        let Some(message) = not_asked(promise, &self.here, &self.held) else {
            return Vec::new();
        };
        let current = self.checks.compares_digests().then_some(Kind::Current);
        let kinds = std::iter::once(Kind::Authenticated).chain(current);
        kinds.map(|kind| NotAsked { kind, message }).collect()
    }
}

/// The images after any pull: all, or only the promised ones.
pub async fn baseline(
    reader: &Reader,
    info: &Info,
    at: DateTime<Utc>,
    only: Option<&[Promise]>,
    pulls: &BTreeMap<Wanted, u64>,
) -> Result<Baseline, Fault> {
    let here = images(reader, info).await?;
    let id = |wanted: &Wanted| wanted.find(&here).map(|image| image.id.clone());
    let only: Option<Vec<ImageId>> = only.map(|promises| {
        let wanted = promises.iter().map(|promise| &promise.wanted);
        wanted.filter_map(id).collect()
    });
    let pulls = pulls.iter();
    let pulls = pulls
        .filter_map(|(wanted, time)| Some((id(wanted)?, *time)))
        .collect();
    Ok(Baseline::of(
        &info.facts,
        &here,
        at,
        only.as_deref(),
        &pulls,
    ))
}
