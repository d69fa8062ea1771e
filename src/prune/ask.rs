//! What is asked before an image is touched, and under which locks. It decides
//! how long anything is waited for, and lets the deploy locks go rather than
//! keep a deploy waiting; never what is removed.

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::decide::plan::Entry;
use crate::guard::{Cause, Refusal};
use crate::model::{AtWork, Event};
use crate::prune::{
    Before, Ending, Engine, EngineError, Failure, Host, LAST_PATIENCE, LONGEST_HOLD, PAUSE,
    Pruning, TICK, lost,
};
use crate::survey::watch::{PATIENCE, RETRY};

impl<'a, E: Engine, H: Host> Pruning<'a, E, H> {
    /// Sees that the last image is gone, that nothing speaks against going on,
    /// takes the deploy locks, and then looks at the next image: so nothing
    /// that happened before we had the locks is missed. With the locks held
    /// already, all of it is asked at once.
    pub(super) async fn get_ready(&mut self, entry: &'a Entry) -> Result<Before, Ending> {
        let locked = self.host.held_for().is_some_and(|held| held < LONGEST_HOLD);
        if self.may_go_on().is_ok()
            && locked
            && self.builds_quickly
            && let Some(before) = self.ask_all(entry).await?
        {
            return Ok(before);
        }
        self.confirm_last().await?;
        self.may_go_on()?;
        let engine = self.engine;
        let asked = self.host.elapsed();
        let builds = self.patiently(engine.builds()).await.map_err(lost)?;
        self.builds_quickly = self.host.elapsed().saturating_sub(asked) < TICK;
        self.take_locks().await?;
        while std::mem::take(&mut self.met_a_deploy) {
            self.survey_again().await?;
            self.take_locks().await?;
        }
        let (now, from) = self.when_asked();
        let look = futures_util::future::join3(
            engine.swarm(),
            engine.look(&entry.image().id),
            engine.happened(from),
        );
        let (swarm, seen, happened) = self.patiently(ok(look)).await.map_err(lost)?;
        let swarm = swarm.map_err(lost)?;
        self.learn(happened.map_err(lost)?, now);
        let at_work = AtWork { swarm, builds };
        Ok(Before { at_work, seen })
    }

    /// Now, and from when on is asked for what happened.
    fn when_asked(&mut self) -> (DateTime<Utc>, DateTime<Utc>) {
        let (now, steady) = (self.host.now(), self.host.elapsed());
        (now, self.set_back.before(self.told_until, now, steady))
    }

    /// What the engine told when it was asked at this moment.
    fn learn(&mut self, events: Vec<Event>, now: DateTime<Utc>) {
        self.told_until = self.told_until.max(now);
        let steady = self.host.elapsed();
        let planned = self
            .set_back
            .before(self.plan.now(), self.host.now(), steady);
        for event in events {
            // The plan knows what came before it.
            let new = event.at > planned && !self.happened.iter().any(|e| e.image == event.image);
            if new {
                self.happened.push(event);
            }
        }
    }

    /// `None` where it took long: what was seen is old, and the locks may have been
    /// let go.
    async fn ask_all(&mut self, entry: &'a Entry) -> Result<Option<Before>, Ending> {
        let (engine, asked) = (self.engine, self.host.elapsed());
        let (now, from) = self.when_asked();
        let last = self.last.as_ref().map(|last| &last.entry.image().id);
        let last_look = futures_util::future::OptionFuture::from(last.map(|id| engine.look(id)));
        // What was pulled or used since the plan, and is not any more, shows in no
        // look at the image.
        let all = futures_util::future::join5(
            last_look,
            engine.builds(),
            engine.swarm(),
            engine.look(&entry.image().id),
            engine.happened(from),
        );
        let (last, builds, swarm, seen, happened) = match self.patiently(ok(all)).await {
            Ok(answers) => answers,
            Err(error) => {
                self.confirm(Err(error.clone())).await?;
                return Err(lost(error));
            }
        };
        if let Some(last) = last {
            self.confirm(last).await?;
        }
        let took = self.host.elapsed().saturating_sub(asked);
        let quick = took < LONGEST_HOLD && self.host.held_for().is_some();
        let (swarm, builds) = (swarm.map_err(lost)?, builds.map_err(lost)?);
        self.learn(happened.map_err(lost)?, now);
        let at_work = AtWork { swarm, builds };
        Ok(quick.then_some(Before { at_work, seen }))
    }

    /// The plan is older than what that deploy did: it may have given away the tag of an
    /// image that is a rollback now, and no event tells of each. Only what goes by both
    /// is removed.
    async fn survey_again(&mut self) -> Result<(), Ending> {
        let engine = self.engine;
        let now = match self.patiently(engine.candidates()).await {
            Ok(now) => now,
            Err(error) if error.kind == Failure::Contradiction => {
                return Err(self.refused(vec![Cause::EngineInconsistent(error.why).into()]));
            }
            Err(error) => return Err(lost(error)),
        };
        self.still_candidates = Some(match self.still_candidates.take() {
            Some(before) => before.intersection(&now).cloned().collect(),
            None => now,
        });
        Ok(())
    }

    /// Holds the deploy locks for the next removal, and waits a moment for those
    /// of others. Now and then they are let go, or a deploy that waits would wait
    /// for the whole run.
    pub(super) async fn take_locks(&mut self) -> Result<(), Ending> {
        if self
            .host
            .held_for()
            .is_some_and(|held| held >= LONGEST_HOLD)
        {
            self.host.let_go();
            tokio::time::sleep(PAUSE).await;
        }
        let mut waited = Duration::ZERO;
        loop {
            let refusals = match self.host.hold() {
                Ok(()) => return Ok(()),
                Err(refusals) => refusals,
            };
            let brief = refusals.iter().all(Refusal::may_end_at_any_moment);
            if !brief || waited >= PATIENCE {
                return Err(self.refused(refusals));
            }
            self.met_a_deploy = true;
            self.may_go_on()?;
            tokio::time::sleep(RETRY).await;
            waited += RETRY;
        }
    }

    /// One request, most often under the deploy locks. If the answer takes long,
    /// the locks are let go, for a deploy must not wait for a slow engine, nor
    /// for the files of a large layer (about the name an engine decides first);
    /// who goes on afterwards must look whether they are held. A run that was
    /// asked to end does not wait for ever either.
    pub(super) async fn patiently<T>(
        &mut self,
        request: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let longest = LONGEST_HOLD.saturating_mul(2);
        let mut request = std::pin::pin!(request);
        loop {
            let left = self
                .host
                .held_for()
                .map_or(TICK, |held| longest.saturating_sub(held).min(TICK));
            if let Ok(answer) = tokio::time::timeout(left, &mut request).await {
                return answer;
            }
            if self.host.held_for().is_some_and(|held| held >= longest) {
                self.host.let_go();
            }
            if !self.host.interrupted() {
                continue;
            }
            let now = self.host.elapsed();
            let since = *self.asked_to_end.get_or_insert(now);
            if now.saturating_sub(since) >= LAST_PATIENCE {
                return Err(EngineError {
                    doing: "wait for the engine's answer".into(),
                    kind: Failure::Lost,
                    why: "the run was asked to end".into(),
                });
            }
        }
    }
}

/// Answers that fail one by one, as one that does not.
pub(super) async fn ok<T>(answers: impl Future<Output = T>) -> Result<T, EngineError> {
    Ok(answers.await)
}
