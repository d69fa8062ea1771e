//! How long a run waits for the engine and for deploy locks, and that no deploy has to
//! wait for a slow engine.

use std::future::Future;
use std::time::Duration;

use crate::engine::{EngineError, Failure};
use crate::guard::Refusal;
use crate::prune::outcome::Ending;
use crate::prune::pruning::Pruning;
use crate::prune::traits::Host;
use crate::survey::watch::{PATIENCE, RETRY};

/// The deploy locks are let go after this time at the next opportunity, and after twice
/// this time whatever the engine does: that is what the documents promise.
pub(super) const LONGEST_HELD: Duration = Duration::from_secs(1);

/// How long the locks are left alone then, so that a deploy that waits can take them.
const PAUSE: Duration = Duration::from_millis(20);

/// How often signals and locks are looked after while an engine's answer is awaited.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// How long a run that was asked to end waits for the request that it is in. The next run
/// finds out what that request did.
const LAST_PATIENCE: Duration = Duration::from_millis(7500);

impl<E, H: Host> Pruning<'_, E, H> {
    /// Takes the deploy locks for the next removal, and waits a moment for those of
    /// others. Now and then the locks are let go, or a deploy would wait for the whole run.
    pub(super) async fn take_locks(&mut self) -> Result<(), Ending> {
        if self
            .host
            .held_for()
            .is_some_and(|held| held >= LONGEST_HELD)
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
                let named = self.host.name_holders(refusals);
                return Err(self.refused(named));
            }
            self.met_a_deploy = true;
            self.may_go_on()?;
            tokio::time::sleep(RETRY).await;
            waited += RETRY;
        }
    }

    /// Sends one request, most often under the deploy locks. If the answer takes long, the
    /// locks are let go: a deploy must not wait for a slow engine, nor for the files of a
    /// large layer, about whose name the engine has decided before. The caller must check
    /// whether the locks are still held. A run that was asked to end does not wait for ever.
    pub(super) async fn patiently<T>(
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
            if now.saturating_sub(since) >= LAST_PATIENCE {
                return Err(EngineError {
                    doing: "wait for the engine's answer".into(),
                    kind: Failure::Lost,
                    why: "the run was asked to end".into(),
                });
            }
        }
    }

    /// The same for several requests at once, whose answers fail one by one.
    pub(super) async fn patiently_all<T>(
        &mut self,
        requests: impl Future<Output = T>,
    ) -> Result<T, EngineError> {
        self.patiently(async { Ok(requests.await) }).await
    }
}
