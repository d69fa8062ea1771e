//! Asks the engine about images just before their names are dropped, and takes the deploy locks
//! for that. It decides what must be asked again, never what is removed.

use chrono::{DateTime, Utc};
use futures_util::future::{join_all, join3, join5};

use crate::decide::plan::Entry;
use crate::engine::{EngineError, Failure, Inspected};
use crate::guard::Cause;
use crate::model::{AtWork, Event};
use crate::prune::outcome::Ending;
use crate::prune::pruning::Pruning;
use crate::prune::times::LONGEST_HELD;
use crate::prune::traits::{Engine, Host};
use crate::prune::wait::TICK;

/// The engine's answers just before a turn, except its events: those are in [`Pruning`].
pub(super) struct Answers {
    pub(super) at_work: AtWork,
    /// In the order of the images of the turn.
    pub(super) images: Vec<Result<Option<Inspected>, EngineError>>,
}

impl<'a, E: Engine, H: Host> Pruning<'a, E, H> {
    /// Confirms the images of the last turn, takes the deploy locks, and only then inspects the
    /// next images: so the answers include whatever happened before we had the locks. If the
    /// locks are held already, everything is asked at the same time.
    pub(super) async fn ask(&mut self, entries: &[&'a Entry]) -> Result<Answers, Ending> {
        let locked = self.host.held_for().is_some_and(|held| held < LONGEST_HELD);
        if self.may_go_on().is_ok()
            && !self.met_a_deploy
            && locked
            && self.lists_builds_quickly
            && let Some(answers) = self.ask_all_at_once(entries).await?
        {
            return Ok(answers);
        }
        self.confirm_dropped().await?;
        self.may_go_on()?;
        let engine = self.engine;
        let asked = self.host.elapsed();
        let mut builds = self.wait_for(engine.builds()).await?;
        self.lists_builds_quickly = self.host.elapsed().saturating_sub(asked) < TICK;
        self.take_locks().await?;
        while std::mem::take(&mut self.met_a_deploy) {
            self.survey_again().await?;
            self.may_go_on()?;
            // A survey takes long, so the answer from before it is old.
            builds = self.wait_for(engine.builds()).await?;
            self.take_locks().await?;
        }
        let (now, since) = self.events_to_ask_for();
        let requests = join3(
            engine.swarm(),
            self.inspect_all(entries),
            engine.events(since),
        );
        let (swarm, images, events) = self.wait_for_all(requests).await?;
        let swarm = swarm?;
        self.add_events(events?, now);
        let at_work = AtWork {
            swarm,
            builds,
            ..AtWork::idle()
        };
        Ok(Answers { at_work, images })
    }

    fn inspect_all(
        &self,
        entries: &[&'a Entry],
    ) -> impl Future<Output = Vec<Result<Option<Inspected>, EngineError>>> + use<'a, E, H> {
        let engine = self.engine;
        join_all(entries.iter().map(|entry| engine.inspect(&entry.image.id)))
    }

    /// `None` if it took long: the answers are old, and the locks may have been let go.
    async fn ask_all_at_once(&mut self, entries: &[&'a Entry]) -> Result<Option<Answers>, Ending> {
        let (engine, asked) = (self.engine, self.host.elapsed());
        let (now, since) = self.events_to_ask_for();
        let last: Vec<&Entry> = self.to_confirm.iter().map(|image| image.entry).collect();
        // If an image was pulled or used since the plan and that is over, only events show it.
        let requests = join5(
            self.inspect_all(&last),
            engine.builds(),
            engine.swarm(),
            self.inspect_all(entries),
            engine.events(since),
        );
        let (last, builds, swarm, images, events) = match self.wait_for_all(requests).await {
            Ok(answers) => answers,
            Err(error) => {
                self.confirm(vec![Err(error.clone()); last.len()]).await?;
                return Err(error.into());
            }
        };
        self.confirm(last).await?;
        let took = self.host.elapsed().saturating_sub(asked);
        let quick = took < LONGEST_HELD && self.host.held_for().is_some() && !self.met_a_deploy;
        let (swarm, builds) = (swarm?, builds?);
        self.add_events(events?, now);
        let at_work = AtWork {
            swarm,
            builds,
            ..AtWork::idle()
        };
        Ok(quick.then_some(Answers { at_work, images }))
    }

    /// Now, and since when to ask for events.
    pub(super) fn events_to_ask_for(&mut self) -> (DateTime<Utc>, DateTime<Utc>) {
        (self.host.now(), self.corrected(self.events_until))
    }

    /// Keeps events since the plan. `asked`: when the engine was asked for them.
    pub(super) fn add_events(&mut self, events: Vec<Event>, asked: DateTime<Utc>) {
        self.events_until = self.events_until.max(asked);
        let planned = self.corrected(self.plan.now());
        for event in events {
            // The plan was made with earlier ones.
            let new = event.at > planned && !self.events.iter().any(|e| e.image == event.image);
            if new {
                self.events.push(event);
            }
        }
    }

    /// A deploy may have changed what the plan goes by: an image that lost its tag to a new one
    /// may be a rollback now, and not every such change has an event. From now on, only images
    /// that this survey does not keep either are removed.
    async fn survey_again(&mut self) -> Result<(), Ending> {
        let engine = self.engine;
        let now = match self.wait_for(engine.candidates()).await {
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
