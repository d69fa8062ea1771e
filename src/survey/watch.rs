//! Watches the host during a run: deploy locks (which it also takes), signs of pulls, clocks,
//! disk and signals. It collects what the guards decide on, and decides nothing.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::guard::{Activity, Refusal, held_locks};
use crate::host::deploy_lock::HeldLocks;
use crate::host::pull_signs::Roots;
use crate::host::signals::EndRequest;
use crate::host::{clock, deploy_lock, disk, left_behind, pull_signs};
use crate::memory::clock::Clock;
use crate::memory::ledger::Ledger;
use crate::model::conditions::{
    CausesSince, ClockReading, Cure, Disk, LeftBehind, LockKind, LockReading, LockState, PullSigns,
    Unreadable,
};
use crate::model::{AtWork, EngineFacts, Observed, Store};
use crate::policy::Policy;

/// How long a run waits for deploy locks that others hold, so that a deploy that takes one for
/// milliseconds ends no run. It is part of `limits.max_run`.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// How often such locks are tried meanwhile. The run never queues for a lock: the kernel
/// would give it to the run before a deploy that asks later.
pub(crate) const RETRY: Duration = Duration::from_millis(10);

/// A wait for deploy locks that others hold.
#[derive(Debug, Default)]
pub(crate) struct Wait {
    /// When it began to wait.
    since: Option<tokio::time::Instant>,
}

impl Wait {
    /// Waits a moment. `false` at once where one of these refusals is not worth waiting for, or
    /// after [`PATIENCE`].
    pub(crate) async fn goes_on(&mut self, refusals: &[Refusal]) -> bool {
        let brief = refusals.iter().all(Refusal::may_end_at_any_moment);
        // By the clock: the caller may ask an engine in between.
        let since = *self.since.get_or_insert_with(tokio::time::Instant::now);
        if !brief || since.elapsed() >= PATIENCE {
            return false;
        }
        tokio::time::sleep(RETRY).await;
        true
    }
}

pub struct Watch<'a> {
    policy: &'a Policy,
    /// `None` for Podman: every podman process pulls for itself, into a folder
    /// of its own choice.
    roots: Option<Roots>,
    images: PathBuf,
    held: Option<(HeldLocks, Instant)>,
    started: Instant,
    asked: EndRequest,
}

impl<'a> Watch<'a> {
    pub fn new(policy: &'a Policy, engine: &EngineFacts, asked: EndRequest) -> Self {
        let driver = (engine.store == Store::Graphdriver).then(|| engine.driver.raw().to_owned());
        let images = image_folder(engine, driver.as_deref());
        let roots = (engine.store != Store::Podman).then(|| Roots {
            engine_id: engine.id.raw().to_owned(),
            data_root: engine.data_root.clone(),
            driver,
            containerd_root: engine.containerd_root.clone(),
        });
        Self {
            policy,
            roots,
            images,
            held: None,
            started: clock::monotonic(),
            asked,
        }
    }

    /// `ledger` is that of the last run.
    pub fn activity(&self, now: &ClockReading, ledger: &Ledger, at_work: AtWork) -> Activity {
        Activity {
            at: now.wall,
            clock: Clock::between(ledger.clock(), now),
            locks: with_holders(self.locks()),
            pulls: self.pulls(now),
            at_work,
            causes_since: ledger.causes_since().clone(),
        }
    }

    pub fn asked_to_end(&self) -> EndRequest {
        self.asked.clone()
    }

    /// Counts the time from the start of an earlier watch of this run.
    #[must_use]
    pub fn begun_with(self, first: &Watch<'_>) -> Self {
        Self {
            started: first.started,
            ..self
        }
    }

    /// Time since the watch began, by a clock that nobody sets.
    pub fn ran_for(&self) -> Duration {
        clock::monotonic().saturating_duration_since(self.started)
    }

    /// Takes every deploy lock of the policy, or none. The error has the locks that others
    /// hold, and those whose state is unknown.
    pub fn hold(&mut self) -> Result<(), Vec<LockReading>> {
        if self.held.is_none() {
            let locks = &self.policy.guard.locks;
            let locks: Vec<(PathBuf, LockKind)> =
                locks.iter().map(|l| (l.path.clone(), l.kind)).collect();
            self.held = Some((deploy_lock::hold(&locks)?, clock::monotonic()));
        }
        Ok(())
    }

    /// How long deploys may have waited for the locks that we hold: zero where there is no lock
    /// file, `None` where the locks are not held.
    pub fn held_for(&self) -> Option<Duration> {
        let (locks, since) = self.held.as_ref()?;
        Some(if locks.keeps_nobody_waiting() {
            Duration::ZERO
        } else {
            clock::monotonic().saturating_duration_since(*since)
        })
    }

    pub fn let_go(&mut self) {
        self.held = None;
    }

    pub fn policy(&self) -> &'a Policy {
        self.policy
    }

    fn pulls(&self, now: &ClockReading) -> PullSigns {
        match &self.roots {
            Some(roots) => pull_signs::read(roots, now),
            None => PullSigns {
                signs: Vec::new(),
                unreadable: vec![Unreadable {
                    path: self.images.clone(),
                    why: "any podman process may be pulling into it, and nothing tells of all"
                        .to_owned(),
                    cure: Cure::NoDaemon,
                }],
            },
        }
    }

    /// Waits a moment for deploy locks that others held at one of these moments. If all become
    /// free, corrects `activities` and answers true.
    pub async fn wait_for_locks(&self, activities: &mut [Activity]) -> bool {
        let held = |activity: &Activity| {
            held_locks(
                self.policy,
                activity.at,
                &activity.locks,
                &activity.causes_since,
            )
        };
        let mut in_the_way: Vec<Refusal> = activities.iter().flat_map(held).collect();
        if in_the_way.is_empty() {
            return false;
        }
        let mut wait = Wait::default();
        while self.ran_for() < self.policy.limits.max_run
            && !self.asked.is()
            && wait.goes_on(&in_the_way).await
        {
            let readings = self.locks();
            in_the_way = held_locks(self.policy, clock::now(), &readings, &CausesSince::new());
            if in_the_way.is_empty() {
                for activity in activities {
                    activity.locks.clone_from(&readings);
                }
                return true;
            }
        }
        false
    }

    /// All deploy locks of the policy; while the run holds them, those that it lost.
    fn locks(&self) -> Vec<LockReading> {
        match &self.held {
            Some((held, _)) => held.not_held(),
            None => self
                .policy
                .guard
                .locks
                .iter()
                .flat_map(|l| deploy_lock::read(&l.path, l.kind))
                .collect(),
        }
    }

    /// Images of stores that this engine used before. None for Podman, whose store each command
    /// chooses.
    pub fn left_behind(&self) -> Vec<LeftBehind> {
        self.roots.as_ref().map_or_else(Vec::new, left_behind::read)
    }

    /// The file system that holds the images.
    pub fn disk(&self) -> Observed<Disk> {
        disk::read(&self.images).map_or_else(
            |error| Observed::Unknown(format!("{error:#}")),
            Observed::Known,
        )
    }
}

fn with_holders(mut readings: Vec<LockReading>) -> Vec<LockReading> {
    for LockReading { path, kind, state } in &mut readings {
        if let (LockKind::Flock, LockState::Held { holder, .. }) = (&*kind, state) {
            *holder = deploy_lock::holder(path);
        }
    }
    readings
}

/// The folder of the layers: the driver's own folder may be on another file system than
/// the data root. A folder that is missing or may not be read counts as on its parent's
/// file system.
fn image_folder(engine: &EngineFacts, driver: Option<&str>) -> PathBuf {
    let root = engine.containerd_root.as_ref().unwrap_or(&engine.data_root);
    let own = driver
        .map(|driver| root.join(driver))
        .filter(|folder| folder.is_dir());
    let hidden = |folder: &&Path| {
        std::fs::metadata(folder).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    };
    own.unwrap_or_else(|| {
        let seen = root.ancestors().find(|folder| !hidden(folder));
        seen.unwrap_or(root).to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_after_its_patience_however_long_the_caller_asks_in_between() {
        let (mut wait, mut asked) = (Wait::default(), 0);
        while wait.goes_on(&[]).await {
            tokio::time::sleep(Duration::from_secs(1)).await;
            asked += 1;
        }
        assert_eq!(asked, 3);
    }
}
