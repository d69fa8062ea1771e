//! The last questions before an image is touched, and under which locks they are asked.
//! It decides when they are asked again, never what is removed.

use chrono::{DateTime, Utc};
use futures_util::future::{OptionFuture, join3, join5};

use crate::decide::plan::Entry;
use crate::engine::{EngineError, Failure, Inspected};
use crate::guard::Cause;
use crate::model::{AtWork, Event};
use crate::prune::outcome::Ending;
use crate::prune::pruning::Pruning;
use crate::prune::traits::{Engine, Host};
use crate::prune::wait::{LONGEST_HELD, TICK};

/// The engine's answers just before one image's turn. Its events are kept in the run.
pub(super) struct Answers {
    pub(super) at_work: AtWork,
    pub(super) image: Result<Option<Inspected>, EngineError>,
}

impl<'a, E: Engine, H: Host> Pruning<'a, E, H> {
    /// Confirms that the last image is gone, takes the deploy locks, and only then inspects
    /// the next image: so nothing is missed that happened before we had the locks. With
    /// the locks held already, all of it is asked at once.
    pub(super) async fn ask(&mut self, entry: &'a Entry) -> Result<Answers, Ending> {
        let locked = self.host.held_for().is_some_and(|held| held < LONGEST_HELD);
        if self.may_go_on().is_ok()
            && locked
            && self.builds_quickly
            && let Some(answers) = self.ask_all_at_once(entry).await?
        {
            return Ok(answers);
        }
        self.confirm_last().await?;
        self.may_go_on()?;
        let engine = self.engine;
        let asked = self.host.elapsed();
        let mut builds = self.patiently(engine.builds()).await?;
        self.builds_quickly = self.host.elapsed().saturating_sub(asked) < TICK;
        self.take_locks().await?;
        while std::mem::take(&mut self.met_a_deploy) {
            self.survey_again().await?;
            self.may_go_on()?;
            // A survey takes long: what was asked before it is old.
            builds = self.patiently(engine.builds()).await?;
            self.take_locks().await?;
        }
        let (now, since) = self.events_to_ask_for();
        let requests = join3(
            engine.swarm(),
            engine.inspect(&entry.image().id),
            engine.events(since),
        );
        let (swarm, image, events) = self.patiently_all(requests).await?;
        let swarm = swarm?;
        self.add_events(events?, now);
        let at_work = AtWork {
            swarm,
            builds,
            ..AtWork::idle()
        };
        Ok(Answers { at_work, image })
    }

    /// `None` where it took long: the answers are old, and the locks may have been let go.
    async fn ask_all_at_once(&mut self, entry: &'a Entry) -> Result<Option<Answers>, Ending> {
        let (engine, asked) = (self.engine, self.host.elapsed());
        let (now, since) = self.events_to_ask_for();
        let last = self.last.as_ref().map(|last| &last.entry.image().id);
        // An image that was pulled or used since the plan, and is not any more, shows that
        // by its events alone.
        let requests = join5(
            OptionFuture::from(last.map(|id| engine.inspect(id))),
            engine.builds(),
            engine.swarm(),
            engine.inspect(&entry.image().id),
            engine.events(since),
        );
        let (last, builds, swarm, image, events) = match self.patiently_all(requests).await {
            Ok(answers) => answers,
            Err(error) => {
                self.confirm(Err(error.clone())).await?;
                return Err(error.into());
            }
        };
        if let Some(last) = last {
            self.confirm(last).await?;
        }
        let took = self.host.elapsed().saturating_sub(asked);
        let quick = took < LONGEST_HELD && self.host.held_for().is_some();
        let (swarm, builds) = (swarm?, builds?);
        self.add_events(events?, now);
        let at_work = AtWork {
            swarm,
            builds,
            ..AtWork::idle()
        };
        Ok(quick.then_some(Answers { at_work, image }))
    }

    /// Now, and since when events are to be asked for.
    pub(super) fn events_to_ask_for(&mut self) -> (DateTime<Utc>, DateTime<Utc>) {
        let (now, steady) = (self.host.now(), self.host.elapsed());
        (now, self.set_back.before(self.events_until, now, steady))
    }

    /// Keeps the events that the engine told when it was asked at this moment.
    pub(super) fn add_events(&mut self, events: Vec<Event>, asked: DateTime<Utc>) {
        self.events_until = self.events_until.max(asked);
        let (now, steady) = (self.host.now(), self.host.elapsed());
        let planned = self.set_back.before(self.plan.now(), now, steady);
        for event in events {
            // The plan knows earlier ones.
            let new = event.at > planned && !self.events.iter().any(|e| e.image == event.image);
            if new {
                self.events.push(event);
            }
        }
    }

    /// The plan is older than what the deploy did: an image may have lost its tag to a new
    /// one and be a rollback now, and not every such step has an event. Only images that
    /// nothing keeps by both surveys are removed.
    async fn survey_again(&mut self) -> Result<(), Ending> {
        let engine = self.engine;
        let now = match self.patiently(engine.candidates()).await {
            Ok(now) => now,
            Err(error) if error.kind == Failure::Contradiction => {
                return Err(self.refused(vec![Cause::EngineInconsistent(error.why).into()]));
            }
            Err(error) => return Err(error.into()),
        };
        self.still_candidates = Some(match self.still_candidates.take() {
            Some(before) => before.intersection(&now).cloned().collect(),
            None => now,
        });
        Ok(())
    }
}
