//! The live engine and the live host of a run that removes.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::decide::Trust;
use crate::decide::plan::{Plan, Verdict};
use crate::engine::{
    Descriptor, Dropped, EngineError, Failure, Info, Inspected, Leads, Meanwhile, Reader, Remover,
};
use crate::guard::{Cause, Refusal, held_locks, refusals};
use crate::host::signals::AskedToEnd;
use crate::host::{clock, deploy_lock};
use crate::memory::journal::Record;
use crate::memory::ledger::Ledger;
use crate::memory::state::{Memory, State};
use crate::model::conditions::{Disk, LockKind};
use crate::model::reference::Reference;
use crate::model::{AtWork, Container, Event, ImageId, Observed, Swarm};
use crate::policy::Policy;
use crate::prune::aftermath::Claims;
use crate::prune::traits::{Engine, Host};
use crate::survey;
use crate::survey::NoSurvey;
use crate::survey::watch::Watch;

/// An engine that images may be removed from.
pub struct LiveEngine<'a> {
    pub remover: &'a Remover,
    pub info: &'a Info,
    /// Follows which names and containers come while images go.
    pub claims: Claims,
    pub again: Again<'a>,
}

/// What a survey in mid-run goes by, as the first one did.
pub struct Again<'a> {
    pub policy: &'a Policy,
    pub memory: &'a Memory,
    pub trust: Trust,
    pub asked: &'a AskedToEnd,
}

impl Again<'_> {
    async fn survey(&self, reader: &Reader) -> Result<Plan, NoSurvey> {
        let Self {
            policy,
            memory,
            trust,
            asked,
        } = *self;
        // The engine counts anew, because images went since.
        let info = survey::engine(reader, policy).await?;
        let again = survey::survey(reader, info, policy, memory, trust, asked.clone());
        Ok(Box::pin(again).await?.plan)
    }
}

impl Engine for LiveEngine<'_> {
    async fn inspect(&self, id: &ImageId) -> Result<Option<Inspected>, EngineError> {
        self.remover.reader().inspect(id).await
    }

    async fn name_ours(&self, id: &ImageId) -> Result<Reference, EngineError> {
        self.remover.name_ours(id).await
    }

    async fn drop_name(&self, name: &Reference) -> Result<Dropped, EngineError> {
        self.remover.drop_name(name).await
    }

    async fn leads(&self, name: &Reference) -> Result<Leads, EngineError> {
        self.remover.reader().leads(name).await
    }

    async fn put_back_tag(&self, id: &ImageId, tag: &Reference) -> Result<(), EngineError> {
        self.remover.put_back_tag(id, tag).await
    }

    async fn put_back_digests(
        &self,
        names: &[Reference],
        descriptor: &Descriptor,
    ) -> Result<(), EngineError> {
        self.remover.put_back_digests(names, descriptor).await
    }

    async fn builds(&self) -> Result<Observed<Vec<String>>, EngineError> {
        let reader = self.remover.reader();
        // Builds are asked for before each removal.
        self.claims.keep_up(reader, self.info, clock::now()).await;
        reader.builds().await
    }

    async fn swarm(&self) -> Result<Swarm, EngineError> {
        self.remover.reader().swarm(self.info).await
    }

    async fn containers(&self) -> Result<Vec<Container>, EngineError> {
        self.remover.reader().containers(self.info).await
    }

    async fn events(&self, since: DateTime<Utc>) -> Result<Vec<Event>, EngineError> {
        let until = clock::now().max(since);
        let reader = self.remover.reader();
        reader.wanted(self.info, since, until).await
    }

    async fn meanwhile(&self, since: DateTime<Utc>) -> Result<Vec<Meanwhile>, EngineError> {
        let until = clock::now().max(since);
        let reader = self.remover.reader();
        reader.meanwhile(self.info, since, until).await
    }

    async fn candidates(&self) -> Result<BTreeSet<ImageId>, EngineError> {
        let failed = |kind, why| EngineError {
            doing: "survey the host again after a deploy".into(),
            kind,
            why,
        };
        let plan = match self.again.survey(self.remover.reader()).await {
            Ok(plan) => plan,
            Err(NoSurvey::Contradiction(why)) => return Err(failed(Failure::Contradiction, why)),
            Err(NoSurvey::Fault(fault)) => return Err(failed(Failure::Lost, fault.message)),
        };
        let free = plan.entries().iter();
        let free = free.filter(|entry| entry.verdict() != Verdict::Keep);
        Ok(free.map(|entry| entry.image().id.clone()).collect())
    }
}

/// A host with its deploy locks, and with our journal.
pub struct LiveHost<'a> {
    pub watch: Watch<'a>,
    /// Where the journal is.
    pub state: State,
    /// The memory after this run's survey.
    pub ledger: &'a Ledger,
    /// Called with the images that are done, and all of the plan.
    pub on_progress: &'a mut dyn FnMut(usize, usize),
}

impl Host for LiveHost<'_> {
    fn hold(&mut self) -> Result<(), Vec<Refusal>> {
        self.watch.hold().map_err(|sights| {
            let standing = self.ledger.standing();
            held_locks(self.watch.policy(), self.now(), &sights, standing)
        })
    }

    fn name_holders(&self, mut refusals: Vec<Refusal>) -> Vec<Refusal> {
        for refusal in &mut refusals {
            if let Cause::DeployLock {
                path,
                kind: LockKind::Flock,
                holder: holder @ None,
                unclear: None,
            } = &mut refusal.cause
            {
                *holder = deploy_lock::holder(path);
            }
        }
        refusals
    }

    fn held_for(&self) -> Option<Duration> {
        self.watch.held_for()
    }

    fn let_go(&mut self) {
        self.watch.let_go();
    }

    fn refusals(&mut self, at_work: &AtWork) -> Vec<Refusal> {
        match clock::read() {
            Ok(now) => refusals(
                self.watch.policy(),
                &self.watch.activity(&now, self.ledger, at_work.clone()),
            ),
            Err(error) => vec![Cause::Clock(format!("{error:#}")).into()],
        }
    }

    fn disk(&mut self) -> Observed<Disk> {
        self.watch.disk()
    }

    fn elapsed(&self) -> Duration {
        self.watch.ran_for()
    }

    fn now(&self) -> DateTime<Utc> {
        clock::now()
    }

    fn interrupted(&self) -> bool {
        self.watch.asked_to_end().is()
    }

    fn was_stopped(&self) -> bool {
        self.watch.asked_to_end().was_stopped()
    }

    fn record(&mut self, records: &[Record], durable: bool) -> Result<(), String> {
        self.state
            .record(records, durable)
            .map_err(|fault| fault.message)
    }

    fn progress(&mut self, done: usize, of: usize) {
        (self.on_progress)(done, of);
    }
}
