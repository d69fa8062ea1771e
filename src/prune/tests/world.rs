//! A small world that is both engine and host: a map of images with their names, and a log of
//! every request and every change.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::engine::{
    Claim, Descriptor, Dropped, EngineError, Failure, ImageAction, ImageEvent, Inspected, Leads,
};
use crate::guard::Refusal;
use crate::memory::journal::{Record, RecordKind};
use crate::model::conditions::Disk;
use crate::model::reference::Reference;
use crate::model::{AtWork, Container, Event, ImageId, Observed, Swarm};
pub(super) use crate::prune::tests::short::{a_lock, broken, n, nameless, short};
use crate::prune::traits::{Engine, Host};
use crate::testing::{at, disk};

pub(super) type Act = Box<dyn FnMut(&mut World)>;

/// The deploy locks of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locks {
    /// The policy names none.
    None,
    Free,
    /// A deploy holds one.
    Theirs,
    /// Deploys hold one for so long after the run's start.
    TheirsFor(Duration),
}

/// The state of engine and host.
pub(super) struct World {
    pub(super) images: BTreeMap<ImageId, Inspected>,
    pub(super) containers: Vec<Container>,
    pub(super) events: Vec<Event>,
    pub(super) meanwhile: Vec<ImageEvent>,
    /// Names that lead to nothing.
    pub(super) to_nothing: BTreeSet<Reference>,
    pub(super) swarm: Swarm,
    /// Images that a new survey would keep.
    pub(super) rollbacks: Vec<ImageId>,
    /// Every request to the engine and every action on the host, in order.
    pub(super) log: Vec<String>,
    /// What somebody else does just before a line of the log.
    pub(super) before: Vec<(String, Act)>,
    /// The engine's answers to the next drops, instead of dropping.
    pub(super) drops: Vec<Result<Dropped, EngineError>>,
    /// How long the engine takes for requests that begin with this text.
    pub(super) slow: Option<(&'static str, Duration)>,
    /// Requests that begin with this text fail like this.
    pub(super) fails: Vec<(&'static str, Failure)>,
    pub(super) records: Vec<(Record, bool)>,
    pub(super) journal_fails: bool,
    pub(super) held_since: Option<Instant>,
    pub(super) longest_held: Duration,
    pub(super) locks: Locks,
    pub(super) refusals: Vec<Refusal>,
    pub(super) started: Instant,
    pub(super) interrupted: bool,
    pub(super) stopped: bool,
    pub(super) used: u64,
    /// How far the wall clock was set back.
    pub(super) set_back: TimeDelta,
}

#[derive(Clone)]
pub(super) struct Fake(pub(super) Rc<RefCell<World>>);

impl Fake {
    /// Logs a request after what others do just before it. Then it may take time, or fail.
    async fn says(&self, line: String) -> Result<(), EngineError> {
        self.notes(&line);
        let slow = self.0.borrow().slow;
        if let Some((what, time)) = slow
            && line.starts_with(what)
        {
            tokio::time::sleep(time).await;
        }
        let fails = self.0.borrow().fails.clone();
        match fails.iter().find(|(what, _)| line.starts_with(what)) {
            Some((_, kind)) => Err(broken(*kind)),
            None => Ok(()),
        }
    }

    fn notes(&self, line: &str) {
        let world = &mut *self.0.borrow_mut();
        let mut acts = std::mem::take(&mut world.before);
        for (_, act) in acts.iter_mut().filter(|(when, _)| when == line) {
            act(world);
        }
        acts.retain(|(when, _)| when != line);
        world.before.extend(acts);
        world.log.push(line.to_owned());
    }
}

impl Engine for Fake {
    async fn inspect(&self, id: &ImageId) -> Result<Option<Inspected>, EngineError> {
        self.says(format!("inspect {}", n(id))).await?;
        Ok(self.0.borrow().images.get(id).cloned())
    }
    async fn name_ours(&self, id: &ImageId) -> Result<Reference, EngineError> {
        self.says(format!("name {}", n(id))).await?;
        let ours = Reference::ours(id);
        match self.0.borrow_mut().images.get_mut(id) {
            Some(seen) => seen.ours.insert(ours.clone()),
            None => return Err(broken(Failure::NotFound)),
        };
        Ok(ours)
    }
    /// As a graphdriver engine does: the image goes with its last name.
    async fn drop_name(&self, name: &Reference) -> Result<Dropped, EngineError> {
        self.says(format!("drop {}", short(name))).await?;
        let world = &mut *self.0.borrow_mut();
        if !world.drops.is_empty() {
            return world.drops.remove(0);
        }
        if world.to_nothing.remove(name) {
            return Ok(Dropped::default());
        }
        let mut dropped = Dropped::default();
        let found = world.images.iter_mut().find_map(|(id, seen)| {
            let had = seen.ours.remove(name) || seen.digests.remove(name);
            had.then(|| (id.clone(), nameless(seen)))
        });
        let Some((id, last)) = found else {
            return Err(broken(Failure::NotFound));
        };
        dropped.untagged.push(name.to_string());
        if last {
            world.images.remove(&id);
            dropped.deleted.push(id.to_string());
        }
        Ok(dropped)
    }
    async fn leads(&self, name: &Reference) -> Result<Leads, EngineError> {
        self.says(format!("leads {}", name.familiar())).await?;
        let world = self.0.borrow();
        let mut images = world.images.values();
        let has = |seen: &Inspected| seen.tags.contains(name) || seen.digests.contains(name);
        Ok(if images.any(has) {
            Leads::ToAnImage
        } else if world.to_nothing.contains(name) {
            Leads::ToNothing
        } else {
            Leads::Nowhere
        })
    }
    async fn put_back_tag(&self, id: &ImageId, tag: &Reference) -> Result<(), EngineError> {
        self.says(format!("put back {}", tag.familiar())).await?;
        let world = &mut *self.0.borrow_mut();
        for seen in world.images.values_mut() {
            seen.tags.remove(tag);
        }
        let (image, name) = (id.clone(), tag.clone());
        world.meanwhile.push(ImageEvent {
            at: at(150),
            what: ImageAction::Tag(Claim { image, name }),
        });
        match world.images.get_mut(id) {
            Some(seen) => seen.tags.insert(tag.clone()),
            None => return Err(broken(Failure::NotFound)),
        };
        Ok(())
    }
    async fn put_back_digests(
        &self,
        names: &[Reference],
        descriptor: &Descriptor,
    ) -> Result<(), EngineError> {
        let texts: Vec<String> = names.iter().map(short).collect();
        self.says(format!("put back {}", texts.join(" "))).await?;
        let world = &mut *self.0.borrow_mut();
        match world.images.get_mut(&descriptor.digest) {
            Some(seen) => seen.digests.extend(names.iter().cloned()),
            None => world.to_nothing.extend(names.iter().cloned()),
        }
        Ok(())
    }
    async fn builds(&self) -> Result<Observed<Vec<String>>, EngineError> {
        self.says("builds?".into()).await?;
        Ok(Observed::Known(Vec::new()))
    }
    async fn swarm(&self) -> Result<Swarm, EngineError> {
        self.says("swarm?".into()).await?;
        Ok(self.0.borrow().swarm.clone())
    }
    async fn containers(&self) -> Result<Vec<Container>, EngineError> {
        self.says("containers?".into()).await?;
        Ok(self.0.borrow().containers.clone())
    }
    async fn events(&self, since: DateTime<Utc>) -> Result<Vec<Event>, EngineError> {
        self.says("events?".into()).await?;
        let world = self.0.borrow();
        let from = since - TimeDelta::seconds(1);
        let told = world.events.iter().filter(|event| event.at >= from);
        Ok(told.cloned().collect())
    }
    async fn meanwhile(&self, since: DateTime<Utc>) -> Result<Vec<ImageEvent>, EngineError> {
        self.says("meanwhile?".into()).await?;
        let world = self.0.borrow();
        let told = world.meanwhile.iter().filter(|one| one.at >= since);
        Ok(told.cloned().collect())
    }
    async fn candidates(&self) -> Result<BTreeSet<ImageId>, EngineError> {
        self.says("survey?".into()).await?;
        let world = self.0.borrow();
        let ids = world.images.keys();
        Ok(ids
            .filter(|id| !world.rollbacks.contains(id))
            .cloned()
            .collect())
    }
}

impl Host for Fake {
    fn hold(&mut self) -> Result<(), Vec<Refusal>> {
        if self.0.borrow().held_since.is_some() {
            return Ok(());
        }
        self.notes("hold");
        let mut world = self.0.borrow_mut();
        let begun = world.started.elapsed();
        if match world.locks {
            Locks::None | Locks::Free => false,
            Locks::Theirs => true,
            Locks::TheirsFor(time) => begun < time,
        } {
            return Err(vec![a_lock()]);
        }
        world.held_since = Some(Instant::now());
        Ok(())
    }
    fn held_for(&self) -> Option<Duration> {
        let world = self.0.borrow();
        let held = world.held_since?.elapsed();
        Some(match world.locks {
            Locks::None => Duration::ZERO,
            Locks::Free | Locks::Theirs | Locks::TheirsFor(_) => held,
        })
    }
    fn let_go(&mut self) {
        let mut world = self.0.borrow_mut();
        if let Some(since) = world.held_since.take() {
            world.longest_held = world.longest_held.max(since.elapsed());
            drop(world);
            self.notes("let go");
        }
    }
    fn refusals(&mut self, _: &AtWork) -> Vec<Refusal> {
        self.notes("refusals?");
        self.0.borrow().refusals.clone()
    }
    fn disk(&mut self) -> Observed<Disk> {
        Observed::Known(disk(self.0.borrow().used))
    }
    fn elapsed(&self) -> Duration {
        self.0.borrow().started.elapsed()
    }
    fn now(&self) -> DateTime<Utc> {
        let world = self.0.borrow();
        at(100) + world.started.elapsed() - world.set_back
    }
    fn interrupted(&self) -> bool {
        self.0.borrow().interrupted
    }
    fn was_stopped(&self) -> bool {
        self.0.borrow().stopped
    }
    fn record(&mut self, records: &[Record], durable: bool) -> Result<(), String> {
        for record in records {
            let what = match &record.what {
                RecordKind::Intent { .. } => "intent".to_owned(),
                RecordKind::Restored { .. } => "restored".to_owned(),
                RecordKind::Outcome { result, .. } => format!("{result:?}"),
            };
            self.notes(&format!("{what} {}", n(&record.id)));
        }
        let mut world = self.0.borrow_mut();
        if world.journal_fails {
            return Err("no space left".into());
        }
        world
            .records
            .extend(records.iter().map(|record| (record.clone(), durable)));
        Ok(())
    }
    fn progress(&mut self, _: usize, _: usize) {}
}
