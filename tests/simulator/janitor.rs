//! One run of secateur on the simulated host, with the real survey, decision, guards and prune. At
//! each of its calls others may act, the engine may fail, or the run may be killed.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use secateur::decide::Trust;
use secateur::decide::plan::Verdict;
use secateur::engine::{
    Contents, Descriptor, Dropped, EngineError, Failure, ImageEvent, Inspected, Leads,
};
use secateur::exit::Fault;
use secateur::guard::{self, Activity, Refusal};
use secateur::memory::clock::Clock;
use secateur::memory::journal::Record;
use secateur::memory::ledger::Ledger;
use secateur::memory::state::Remembered;
use secateur::model::conditions::{ClockReading, Disk};
use secateur::model::reference::Reference;
use secateur::model::{AtWork, Container, Event, Image, ImageId, Observed, Store, Swarm};
use secateur::prune::{Engine, Host};
use secateur::survey::{Sources, SurveyError, survey_of};

use crate::engine::Dropping;
use crate::schedule::{Injection, Point, What};
use crate::world::World;

/// The panic payload of a killed run.
pub struct Killed {
    pub power_cut: bool,
}

/// One run and its access to the world.
#[derive(Clone)]
pub struct Meeting {
    world: Rc<RefCell<World>>,
    run: usize,
    /// The start of the host on which it runs.
    boot: u32,
    injections: Rc<Vec<Injection>>,
    /// A bit for each request: whether another run may go on first.
    turns: Rc<RefCell<u64>>,
    ledger: Rc<RefCell<Option<Ledger>>>,
}

/// What is to go wrong with a call.
#[derive(Clone, Copy, Default)]
struct Wrong {
    fails: Option<(Failure, bool)>,
    slow: Option<(Duration, bool)>,
    journal_full: bool,
}

impl Meeting {
    pub fn new(
        world: &Rc<RefCell<World>>,
        run: usize,
        injections: Vec<Injection>,
        turns: u64,
    ) -> Meeting {
        Meeting {
            world: Rc::clone(world),
            run,
            boot: world.borrow().boot,
            injections: Rc::new(injections),
            turns: Rc::new(RefCell::new(turns)),
            ledger: Rc::default(),
        }
    }

    pub fn world(&self) -> RefMut<'_, World> {
        self.world.borrow_mut()
    }

    pub fn remembers(&self, ledger: &Ledger) {
        *self.ledger.borrow_mut() = Some(ledger.clone());
    }

    /// A point that is no call of the program's traits.
    pub fn point(&self, point: Point) {
        self.at(point);
    }

    /// Does everything that is to happen before this call.
    fn at(&self, point: Point) -> Wrong {
        let mut world = self.world();
        if world.boot != self.boot {
            // The power was cut during another run.
            drop(world);
            resume_unwind(Box::new(Killed { power_cut: false }));
        }
        world.tick += 1;
        let nth = world.runs[self.run].calls.entry(point).or_default();
        let now = *nth;
        *nth += 1;
        let mut wrong = Wrong::default();
        for injection in self.injections.iter() {
            let Injection {
                run,
                point: wanted,
                nth,
                what,
            } = *injection;
            if run != self.run || wanted != point || nth != now {
                continue;
            }
            let who = self.run;
            world.tell(|| format!("  run {who}, at {point:?} no. {now}: {what:?}"));
            match what {
                What::Act(action) => {
                    let this = world.runs[self.run].at.clone();
                    world.act(action, this.as_ref());
                }
                What::Kill | What::PowerCut => {
                    world.count(if point == Point::Window {
                        "run killed inside a delete call"
                    } else {
                        "run killed"
                    });
                    if world.runs[self.run].between_intent_and_outcome() {
                        world.count("run killed between intent and outcome");
                    }
                    let power_cut = what == What::PowerCut;
                    drop(world);
                    resume_unwind(Box::new(Killed { power_cut }));
                }
                What::Fail { kind, after } => wrong.fails = Some((kind, after)),
                What::Slow { time, after } => {
                    wrong.slow = Some((Duration::from_millis(time), after));
                }
                What::Terminate => world.runs[self.run].terminated = true,
                What::JournalFull => wrong.journal_full = true,
            }
        }
        world.forget_returned();
        world.check_remembered(self.run);
        if world.down > 0 && is_request(point) {
            world.down -= 1;
            wrong.fails = Some((Failure::Lost, false));
        }
        drop(world);
        self.tell(point);
        wrong
    }

    fn tell(&self, point: Point) {
        let run = self.run;
        self.world().tell(|| format!("  run {run}: {point:?}"));
    }

    /// Lets another run go on, or another request of this run.
    async fn gives_way(&self) {
        let turn = {
            let mut turns = self.turns.borrow_mut();
            *turns = turns.rotate_left(1);
            *turns & 1 == 1
        };
        if turn {
            tokio::task::yield_now().await;
        }
    }

    /// One request: first others act, then it may fail, then it does its work.
    async fn call<T>(
        &self,
        point: Point,
        work: impl FnOnce(&mut World) -> Result<T, Failure>,
    ) -> Result<T, EngineError> {
        self.gives_way().await;
        let wrong = self.at(point);
        wrong.before(point).await?;
        let done = work(&mut self.world()).map_err(|kind| error(point, kind));
        self.gives_way().await;
        wrong.after(point).await?;
        done
    }

    /// The drop itself. `let_go_before`: the run sent the request without the locks.
    async fn drops(&self, name: &Reference, let_go_before: bool) -> Result<Dropped, EngineError> {
        let wrong = self.at(Point::DropName);
        wrong.before(Point::DropName).await?;
        let (held, begun) = {
            let mut world = self.world();
            let (id, now) = (world.engine.holder(name).cloned(), world.moment());
            let id = id.filter(|id| !world.engine.images[id].without_content);
            if let Some(id) = &id {
                world.check_drop(self.run, id, name, !let_go_before);
            }
            let begun = world.engine.begin_drop(now, name);
            if begun.is_ok() {
                world.engine.by_run();
            }
            (id, begun)
        };
        let dropping = begun.map_err(|kind| {
            self.world().count("drop refused by the engine");
            error(Point::DropName, kind)
        })?;
        if let Dropping::Decided(id, ..) = &dropping {
            self.world().runs[self.run].at = Some(id.clone());
            self.at(Point::Window);
            self.gives_way().await;
        }
        let dropped = {
            let mut world = self.world();
            let lost = match &dropping {
                Dropping::Decided(id, ..) => {
                    world.engine.images.get(id).map(|image| image.tags.clone())
                }
                Dropping::Done(_) => None,
            };
            let Some(dropped) = world.engine.end_drop(dropping) else {
                return Err(error(Point::DropName, Failure::Lost));
            };
            let answer_lost = matches!(wrong.fails, Some((_, true)));
            match &held {
                Some(id) => {
                    world.record_untied(self.run, name, id, &dropped);
                    let lost = lost.unwrap_or_default();
                    world.check_removal(self.run, name, &dropped, &lost, answer_lost);
                }
                None => world.count("a name that leads to nothing dropped"),
            }
            dropped
        };
        self.gives_way().await;
        wrong.after(Point::DropName).await?;
        Ok(dropped)
    }

    fn activity_of(&self, now: &ClockReading, ledger: &Ledger, at_work: AtWork) -> Activity {
        let world = self.world();
        let readings = world.lock_readings(self.run);
        Activity {
            at: now.wall,
            clock: Clock::between(ledger.clock(), now),
            locks: readings,
            causes_since: ledger.causes_since().clone(),
            pulls: world.signs(),
            at_work,
        }
    }
}

impl Wrong {
    async fn before(&self, point: Point) -> Result<(), EngineError> {
        self.happens(point, false).await
    }

    async fn after(&self, point: Point) -> Result<(), EngineError> {
        self.happens(point, true).await
    }

    async fn happens(&self, point: Point, now: bool) -> Result<(), EngineError> {
        if let Some((time, after)) = self.slow
            && after == now
        {
            tokio::time::sleep(time).await;
        }
        match self.fails {
            Some((kind, after)) if after == now => Err(error(point, kind)),
            _ => Ok(()),
        }
    }
}

fn error(point: Point, kind: Failure) -> EngineError {
    EngineError {
        doing: format!("{point:?}"),
        kind,
        why: format!("{kind:?}"),
    }
}

fn is_request(point: Point) -> bool {
    use Point as P;
    matches!(
        point,
        P::ListImages
            | P::ListContainers
            | P::ListSwarm
            | P::ListBuilds
            | P::Events
            | P::Inspect
            | P::Swarm
            | P::Builds
            | P::InspectAgain
            | P::NameOurs
            | P::DropName
            | P::PutBack
            | P::Leads
            | P::Containers
            | P::EventsAgain
            | P::Meanwhile
    )
}

impl Sources for Meeting {
    fn clock(&self) -> Result<ClockReading, Fault> {
        self.at(Point::Clock);
        let mut world = self.world();
        let (reading, steady) = (world.clock(), world.steady());
        world.runs[self.run].clock = Some((reading.clone(), steady));
        Ok(reading)
    }

    fn activity(&self, now: &ClockReading, ledger: &Ledger, at_work: AtWork) -> Activity {
        self.at(Point::Activity);
        self.activity_of(now, ledger, at_work)
    }

    async fn contents(&self) -> Result<Contents, EngineError> {
        let images = self.call(Point::ListImages, |world| Ok(world.engine.list()));
        let containers = self.call(Point::ListContainers, |world| {
            Ok(world.engine.container_list())
        });
        let swarm = self.call(Point::ListSwarm, |world| Ok(world.swarm()));
        let builds = self.call(Point::ListBuilds, |world| Ok(world.builds_in_use()));
        let (images, containers, swarm, builds) =
            futures_util::future::join4(images, containers, swarm, builds).await;
        Ok(Contents {
            images: images?,
            containers: containers?,
            at_work: AtWork {
                swarm: swarm?,
                builds: builds?,
                built_here: false,
            },
        })
    }

    async fn events(
        &self,
        since: Option<DateTime<Utc>>,
        until: DateTime<Utc>,
    ) -> Result<Vec<Event>, EngineError> {
        let run = self.run;
        self.call(Point::Events, |world| {
            let Some(since) = since else {
                return Ok(Vec::new());
            };
            world.record_events(run);
            let since = (since - chrono::TimeDelta::seconds(1)).min(until);
            let events = world.engine.events.iter().map(|happened| &happened.event);
            Ok(events
                .filter(|event| event.at >= since && event.at <= until)
                .cloned()
                .collect())
        })
        .await
    }

    async fn inspect(&self, id: &ImageId) -> Result<Option<Inspected>, EngineError> {
        self.world().runs[self.run].at = Some(id.clone());
        self.call(Point::Inspect, |world| Ok(world.engine.look(id)))
            .await
    }

    fn stored(&self, image: &Image) -> Option<DateTime<Utc>> {
        let world = self.world();
        let stored = world
            .engine
            .images
            .get(&image.id)
            .and_then(|stored| stored.came);
        stored.filter(|_| world.setting.store == Store::Graphdriver && image.is_dangling())
    }

    fn disk(&self) -> Observed<Disk> {
        self.at(Point::Disk);
        self.world().disk()
    }
}

impl Engine for Meeting {
    async fn inspect(&self, id: &ImageId) -> Result<Option<Inspected>, EngineError> {
        self.world().runs[self.run].at = Some(id.clone());
        self.call(Point::InspectAgain, |world| Ok(world.engine.look(id)))
            .await
    }

    async fn name_ours(&self, id: &ImageId) -> Result<Reference, EngineError> {
        let (run, ours) = (self.run, Reference::ours(id));
        self.world().runs[run].at = Some(id.clone());
        let asked_under_lock = self.world().runs[run].holds.is_some();
        self.call(Point::NameOurs, |world| {
            world.check_naming(run, id, asked_under_lock);
            let now = world.moment();
            world.engine.tag(now, id, &ours)?;
            // Real engines have this event, but secateur ignores events with its own names.
            world.engine.events.pop_back();
            world.count("our own name given");
            Ok(ours.clone())
        })
        .await
    }

    async fn drop_name(&self, name: &Reference) -> Result<Dropped, EngineError> {
        let let_go_before = self.world().runs[self.run].holds.is_none();
        self.gives_way().await;
        let dropped = self.world().engine.holder(name).cloned();
        if dropped.is_some() {
            self.world().runs[self.run].at = dropped;
        }
        {
            let mut world = self.world();
            world.runs[self.run].dropping += 1;
            if world.runs[self.run].dropping > 1 {
                world.count("several drops under way");
            }
        }
        let dropped = self.drops(name, let_go_before).await;
        self.world().runs[self.run].dropping -= 1;
        dropped
    }

    async fn leads(&self, name: &Reference) -> Result<Leads, EngineError> {
        self.call(Point::Leads, |world| Ok(world.engine.leads(name)))
            .await
    }

    async fn put_back_tag(&self, id: &ImageId, tag: &Reference) -> Result<(), EngineError> {
        let run = self.run;
        // The run could see who had it before this call.
        let elsewhere = self.world().led_elsewhere(run, id, tag);
        self.call(Point::PutBack, |world| {
            world.check_put_back(run, id, tag, elsewhere);
            world.record_given(run, id, tag);
            world.engine.tag(world.moment(), id, tag)?;
            world.engine.by_run();
            world.forget_returned();
            Ok(())
        })
        .await
    }

    async fn put_back_digests(
        &self,
        names: &[Reference],
        descriptor: &Descriptor,
    ) -> Result<(), EngineError> {
        let (run, id) = (self.run, &descriptor.digest);
        self.call(Point::PutBack, |world| {
            for name in names {
                world.check_put_back(run, id, name, false);
                world.engine.load_index(world.moment(), id, name);
                world.engine.by_run();
            }
            world.forget_returned();
            Ok(())
        })
        .await
    }

    async fn builds(&self) -> Result<Observed<Vec<String>>, EngineError> {
        let run = self.run;
        self.call(Point::Builds, |world| {
            world.runs[run].asked_builds = world.tick;
            Ok(world.builds_in_use())
        })
        .await
    }

    async fn swarm(&self) -> Result<Swarm, EngineError> {
        let run = self.run;
        self.call(Point::Swarm, |world| {
            world.runs[run].asked_swarm = world.tick;
            Ok(world.swarm())
        })
        .await
    }

    async fn containers(&self) -> Result<Vec<Container>, EngineError> {
        self.call(Point::Containers, |world| Ok(world.engine.container_list()))
            .await
    }

    async fn events(&self, since: DateTime<Utc>) -> Result<Vec<Event>, EngineError> {
        let run = self.run;
        self.call(Point::EventsAgain, |world| {
            let until = world.wall();
            let since = (since - chrono::TimeDelta::seconds(1)).min(until);
            let events = world.engine.events.iter().map(|happened| &happened.event);
            let new = events.filter(|event| event.at >= since && event.at <= until);
            let new: Vec<Event> = new.cloned().collect();
            world.record_wanted(run, &new);
            world.runs[run].heard = world.steady();
            Ok(new)
        })
        .await
    }

    async fn meanwhile(&self, since: DateTime<Utc>) -> Result<Vec<ImageEvent>, EngineError> {
        self.call(Point::Meanwhile, |world| {
            let until = world.wall();
            let done = world.engine.done.iter();
            let done = done.filter(|one| one.at >= since && one.at <= until);
            Ok(done.cloned().collect())
        })
        .await
    }

    async fn candidates(&self) -> Result<BTreeSet<ImageId>, EngineError> {
        candidates(self).await.map_err(|why| match why {
            SurveyError::Contradiction(_) => error(Point::ListImages, Failure::Contradiction),
            SurveyError::Fault(_) => error(Point::ListImages, Failure::Lost),
        })
    }
}

/// Images that nothing keeps, by a new survey with this run's own ledger.
async fn candidates(meeting: &Meeting) -> Result<BTreeSet<ImageId>, SurveyError> {
    let (facts, policy, ledger) = {
        let world = meeting.world();
        let ledger = meeting.ledger.borrow();
        let ledger = ledger.clone().expect("a run has a ledger");
        (world.facts(), world.policy.clone(), ledger)
    };
    let remembered = Remembered {
        ledger: &ledger,
        intended: &BTreeMap::default(),
        resisting: &BTreeSet::default(),
    };
    let seen = Box::pin(survey_of(
        meeting,
        &facts,
        &policy,
        remembered,
        Trust::OwnMemory,
    ))
    .await?;
    meeting.world().count("survey after a deploy in mid-run");
    let free = seen.plan.entries().iter();
    let free = free.filter(|entry| entry.verdict != Verdict::Keep);
    Ok(free.map(|entry| entry.image.id.clone()).collect())
}

impl Host for Meeting {
    fn hold(&mut self) -> Result<(), Vec<Refusal>> {
        if self.world().runs[self.run].holds.is_some() {
            return Ok(());
        }
        self.at(Point::Hold);
        let mut world = self.world();
        let held = guard::held_locks(
            &world.policy,
            world.wall(),
            &world.lock_readings(self.run),
            &secateur::model::conditions::CausesSince::new(),
        );
        if !held.is_empty() {
            return Err(held);
        }
        let steady = world.steady();
        world.runs[self.run].holds = Some(steady);
        if world.setting.lock.is_some() {
            world.lock.run = Some(self.run);
        }
        Ok(())
    }

    fn held_for(&self) -> Option<Duration> {
        let world = self.world();
        let since = world.runs[self.run].holds?;
        if world.setting.lock.is_none() {
            return Some(Duration::ZERO);
        }
        Some(Duration::from_millis(
            u64::try_from(world.steady() - since).unwrap_or(0),
        ))
    }

    fn let_go(&mut self) {
        if self.world().runs[self.run].holds.is_none() {
            return;
        }
        let held = self.held_for().unwrap_or_default();
        let mut world = self.world();
        if held > Duration::from_millis(2100) {
            world.violated(format!("a deploy lock was held for {held:?}"));
        }
        world.runs[self.run].holds = None;
        if world.lock.run == Some(self.run) {
            world.lock_was_let_go();
        }
        drop(world);
        self.at(Point::LetGo);
    }

    fn refusals(&mut self, at_work: &AtWork) -> Vec<Refusal> {
        self.at(Point::Refusals);
        let now = {
            let mut world = self.world();
            world.runs[self.run].asked_refusals = world.tick;
            world.clock()
        };
        let ledger = self.ledger.borrow();
        let ledger = ledger.as_ref().expect("a run has a ledger");
        let activity = self.activity_of(&now, ledger, at_work.clone());
        guard::refusals(&self.world().policy, &activity)
    }

    fn disk(&mut self) -> Observed<Disk> {
        self.at(Point::Disk);
        self.world().disk()
    }

    fn elapsed(&self) -> Duration {
        let world = self.world();
        Duration::from_millis(
            u64::try_from(world.steady() - world.runs[self.run].begun).unwrap_or(0),
        )
    }

    fn now(&self) -> DateTime<Utc> {
        self.world().wall()
    }

    fn interrupted(&self) -> bool {
        self.world().runs[self.run].terminated
    }

    fn was_stopped(&self) -> bool {
        false
    }

    fn record(&mut self, records: &[Record], durable: bool) -> Result<(), String> {
        let wrong = self.at(Point::Record);
        if wrong.journal_full || wrong.fails.is_some() {
            self.world().runs[self.run].journal_failed = true;
            return Err("no space left".into());
        }
        self.world().writes(self.run, records, durable);
        self.at(Point::Recorded);
        Ok(())
    }

    fn progress(&mut self, _: usize, _: usize) {}
}
