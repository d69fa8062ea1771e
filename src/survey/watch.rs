//! Keeps watch on the host for as long as a run lasts: the deploy locks (and
//! holds them), the signs of pulls, the clocks, the disk, the signals. It
//! collects what `guards` judges, and judges nothing itself.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::guard::{Look, Refusal, held_locks};
use crate::host::deploy_lock::HeldLocks;
use crate::host::pull_signs::Roots;
use crate::host::signals::AskedToEnd;
use crate::host::{clock, deploy_lock, disk, pull_signs};
use crate::memory::clock::Clock;
use crate::memory::ledger::Ledger;
use crate::model::conditions::{
    ClockReading, Cure, Disk, LockKind, LockSight, PullSigns, Standing, Unreadable,
};
use crate::model::{AtWork, EngineFacts, Observed, Store};
use crate::policy::Policy;

/// How long a run waits for deploy locks that others hold: a deploy that takes
/// one for milliseconds, however often, ends no run. It is part of
/// `limits.max_run`.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// How often such locks are tried meanwhile. Never queued for: the kernel would
/// give them to us before a deploy that asks later.
pub(crate) const RETRY: Duration = Duration::from_millis(10);

/// What a run watches.
pub struct Watch<'a> {
    policy: &'a Policy,
    /// `None` for Podman: every podman process pulls for itself, into a folder
    /// of its own choice.
    roots: Option<Roots>,
    images: PathBuf,
    hold: Option<(HeldLocks, Instant)>,
    started: Instant,
    asked: AskedToEnd,
}

impl<'a> Watch<'a> {
    /// Watches the host of this engine.
    pub fn new(policy: &'a Policy, engine: &EngineFacts, asked: AskedToEnd) -> Self {
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
            hold: None,
            started: clock::monotonic(),
            asked,
        }
    }

    /// One look around. `ledger` is the memory of the last run.
    pub fn look(&self, now: &ClockReading, ledger: &Ledger, at_work: AtWork) -> Look {
        Look {
            at: now.wall,
            clock: Clock::between(ledger.clock(), now),
            locks: self.locks(),
            pulls: self.pulls(now),
            at_work,
            standing: ledger.standing().clone(),
        }
    }

    /// What says that the run is to end.
    pub fn asked_to_end(&self) -> AskedToEnd {
        self.asked.clone()
    }

    /// The same, of a run that began with another.
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

    /// Takes every deploy lock of the policy, or none: then those that others
    /// hold, and those of which that cannot be told.
    pub fn hold(&mut self) -> Result<(), Vec<LockSight>> {
        if self.hold.is_none() {
            let locks = &self.policy.guard.locks;
            let locks: Vec<(PathBuf, LockKind)> =
                locks.iter().map(|l| (l.path.clone(), l.kind)).collect();
            self.hold = Some((deploy_lock::hold(&locks)?, clock::monotonic()));
        }
        Ok(())
    }

    /// How long the locks have been held; nought where the policy names none.
    pub fn held_for(&self) -> Option<Duration> {
        let (hold, since) = self.hold.as_ref()?;
        Some(if hold.is_empty() {
            Duration::ZERO
        } else {
            clock::monotonic().saturating_duration_since(*since)
        })
    }

    /// Lets all locks go.
    pub fn let_go(&mut self) {
        self.hold = None;
    }

    /// The policy whose guards are watched for.
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

    /// Waits a moment for deploy locks that others held in one of these looks. Where
    /// all are free meanwhile, the looks say so, and it is true.
    pub async fn wait_for_locks(&self, looks: &mut [Look]) -> bool {
        let held = |look: &Look| held_locks(self.policy, look.at, &look.locks, &look.standing);
        let in_the_way: Vec<Refusal> = looks.iter().flat_map(held).collect();
        if in_the_way.is_empty() || !in_the_way.iter().all(Refusal::may_end_at_any_moment) {
            return false;
        }
        let mut waited = Duration::ZERO;
        while waited < PATIENCE && self.ran_for() < self.policy.limits.max_run && !self.asked.is() {
            let sights = self.locks();
            let now = clock::now();
            if held_locks(self.policy, now, &sights, &Standing::new()).is_empty() {
                for look in looks {
                    look.locks.clone_from(&sights);
                }
                return true;
            }
            tokio::time::sleep(RETRY).await;
            waited += RETRY;
        }
        false
    }

    /// Every deploy lock of the policy; while we hold them, those that we lost.
    fn locks(&self) -> Vec<LockSight> {
        match &self.hold {
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

    /// The file system that holds the images.
    pub fn disk(&self) -> Observed<Disk> {
        disk::read(&self.images).map_or_else(
            |error| Observed::Unknown(format!("{error:#}")),
            Observed::Known,
        )
    }
}

/// Where the layers themselves are: the driver's own folder may be another
/// file system than the data root. One that is not there (or may not be looked
/// into) is taken to lie on its parent's.
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
