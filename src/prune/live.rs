//! The live engine and the live host of a run that removes.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::decide::Trust;
use crate::decide::plan::{Plan, Verdict};
use crate::engine::{
    Descriptor, Dropped, EngineError, Failure, ImageEvent, Info, Inspected, Leads, Reader, Remover,
};
use crate::guard::{Cause, Refusal, held_locks, refusals};
use crate::host::signals::EndRequest;
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
use crate::survey::SurveyError;
use crate::survey::watch::Watch;

/// The engine of a real run.
pub struct LiveEngine<'a> {
    pub remover: &'a Remover,
    pub info: &'a Info,
    /// Collects which names and images others give, pull or load meanwhile.
    pub claims: Claims,
    pub again: Again<'a>,
}

/// What a second survey in the same run is made with: the same as the first.
pub struct Again<'a> {
    pub policy: &'a Policy,
    pub memory: &'a Memory,
    pub trust: Trust,
    pub asked: &'a EndRequest,
}

impl Again<'_> {
    async fn survey(&self, reader: &Reader) -> Result<Plan, SurveyError> {
        let Self {
            policy,
            memory,
            trust,
            asked,
        } = *self;
        // Asked again, because the engine's count of its images has changed.
        let info = survey::on_this_host(reader.info().await?, policy);
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
        self.claims.count_drop();
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
        // Here, because builds are asked for before each turn.
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

    async fn meanwhile(&self, since: DateTime<Utc>) -> Result<Vec<ImageEvent>, EngineError> {
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
            Err(SurveyError::Contradiction(why)) => {
                return Err(failed(Failure::Contradiction, why));
            }
            Err(SurveyError::Fault(fault)) => return Err(failed(Failure::Lost, fault.message)),
        };
        let free = plan.entries().iter();
        let free = free.filter(|entry| entry.verdict != Verdict::Keep);
        Ok(free.map(|entry| entry.image.id.clone()).collect())
    }
}

/// The host of a real run, with its deploy locks and our journal.
pub struct LiveHost<'a> {
    pub watch: Watch<'a>,
    pub state: State,
    /// The memory after this run's survey.
    pub ledger: &'a Ledger,
    /// Called with the number of images that had their turn, and of all removals of the plan.
    pub on_progress: &'a mut dyn FnMut(usize, usize),
}

impl Host for LiveHost<'_> {
    fn hold(&mut self) -> Result<(), Vec<Refusal>> {
        self.watch.hold().map_err(|readings| {
            let causes_since = self.ledger.causes_since();
            held_locks(self.watch.policy(), self.now(), &readings, causes_since)
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
            Err(fault) => vec![Cause::Clock(fault.message).into()],
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
