//! Waits for the engine and for deploy locks. It lets our locks go in time, so that no deploy
//! has to wait for a slow engine.

use std::cell::RefCell;
use std::future::Future;
use std::time::Duration;

use futures_util::future::join_all;

use crate::engine::{EngineError, Failure};
use crate::prune::outcome::Ending;
use crate::prune::pruning::Pruning;
use crate::prune::times::LONGEST_HELD;
use crate::prune::traits::Host;
use crate::survey::watch::Wait;

/// How long the locks stay free before they are taken again, so that a waiting deploy can take
/// them.
const PAUSE: Duration = Duration::from_millis(20);

/// How often signals and locks are checked while the run waits for an answer.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// How long a run that was asked to end waits for its current request. The next run finds out
/// what that request did.
const LONGEST_WAIT_AT_END: Duration = Duration::from_millis(7500);

impl<E, H: Host> Pruning<'_, E, H> {
    /// Takes the deploy locks for the next removal, and waits a moment if others hold them. If
    /// we have held them for long, it lets them go first: else a deploy would wait for the
    /// whole run.
    pub(super) async fn take_locks(&mut self) -> Result<(), Ending> {
        if self
            .host
            .held_for()
            .is_some_and(|held| held >= LONGEST_HELD)
        {
            self.host.let_go();
            tokio::time::sleep(PAUSE).await;
        }
        let mut wait = Wait::default();
        loop {
            let refusals = match self.host.hold() {
                Ok(()) => return Ok(()),
                Err(refusals) => refusals,
            };
            if !wait.goes_on(&refusals).await {
                let named = self.host.name_holders(refusals);
                return Err(self.refused(named));
            }
            self.met_a_deploy = true;
            self.may_go_on()?;
        }
    }

    /// Whether the deploy locks could be taken, if need be after the moment for which a deploy
    /// often has them: names are to be put back even if the run may not go on.
    pub(super) async fn holds_locks(&mut self) -> bool {
        let mut wait = Wait::default();
        while let Err(refusals) = self.host.hold() {
            self.met_a_deploy = true;
            if self.host.interrupted() || !wait.goes_on(&refusals).await {
                return false;
            }
        }
        true
    }

    /// Waits for one request, most often under the deploy locks. If the answer takes long, the
    /// locks are let go: a deploy must not wait for a slow engine. An engine that deletes the
    /// files of a large layer has decided about the name before that. The caller must check
    /// whether the locks are still held. A run that was asked to end stops waiting after
    /// [`LONGEST_WAIT_AT_END`].
    pub(super) async fn wait_for<T>(
        &mut self,
        request: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let longest = LONGEST_HELD.saturating_mul(2);
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
            if now.saturating_sub(since) >= LONGEST_WAIT_AT_END {
                return Err(EngineError {
                    doing: "wait for the engine's answer".into(),
                    kind: Failure::Lost,
                    why: "the run was asked to end".into(),
                });
            }
        }
    }

    /// As [`Self::wait_for`], for several requests at the same time. Each has its own result.
    pub(super) async fn wait_for_all<T>(
        &mut self,
        requests: impl Future<Output = T>,
    ) -> Result<T, EngineError> {
        self.wait_for(async { Ok(requests.await) }).await
    }

    /// As [`Self::wait_for`], for a list of requests at the same time. If the run stops waiting,
    /// the answers that came are returned, and an error for each of the rest.
    pub(super) async fn wait_for_each<T>(
        &mut self,
        requests: impl IntoIterator<Item = impl Future<Output = Result<T, EngineError>>>,
    ) -> Vec<Result<T, EngineError>> {
        let answers = RefCell::new(Vec::new());
        let requests = requests.into_iter().enumerate().map(|(place, request)| {
            answers.borrow_mut().push(None);
            let answers = &answers;
            async move {
                let answer = request.await;
                answers.borrow_mut()[place] = Some(answer);
            }
        });
        let all = self.wait_for_all(join_all(requests)).await;
        let answers = answers.into_inner().into_iter();
        answers
            .filter_map(|answer| answer.or_else(|| all.as_ref().err().cloned().map(Err)))
            .collect()
    }
}
