//! Keeps watch on the host for as long as a run lasts: the deploy locks (and
//! holds them), the signs of pulls, the clocks, the disk, the signals. It
//! collects what `guards` judges, and judges nothing itself.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::activity::{
    ClockReading, Cure, Disk, LockKind, LockSight, PullSigns, Standing, Unreadable,
};
use crate::clock::judge;
use crate::guards::{Cause, Look, Refusal, held_locks, refusals};
use crate::host::lock::Hold;
use crate::host::signs::Roots;
use crate::host::{clock, disk, lock, signs};
use crate::journal::Record;
use crate::ledger::Ledger;
use crate::model::{AtWork, EngineFacts, Observed, Store};
use crate::policy::Policy;
use crate::prune::{Host, PATIENCE, RETRY};
use crate::state::State;

/// What a run watches.
pub struct Watch<'a> {
    policy: &'a Policy,
    /// `None` for Podman: every podman process pulls for itself, into a folder
    /// of its own choice.
    roots: Option<Roots>,
    images: PathBuf,
    hold: Option<(Hold, Instant)>,
    started: Instant,
    interrupted: Arc<AtomicBool>,
}

impl<'a> Watch<'a> {
    /// Watches the host of this engine.
    pub fn new(policy: &'a Policy, engine: &EngineFacts, interrupted: Arc<AtomicBool>) -> Self {
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
            interrupted,
        }
    }

    /// One look around. `ledger` is the memory of the last run.
    pub fn look(&self, now: &ClockReading, ledger: &Ledger, at_work: AtWork) -> Look {
        Look {
            at: now.wall,
            clock: judge(ledger.clock(), now),
            locks: self.locks(),
            pulls: self.pulls(now),
            at_work,
            standing: ledger.standing().clone(),
        }
    }

    /// What says that the run is to end.
    pub fn asked_to_end(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.interrupted)
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
    fn ran_for(&self) -> Duration {
        clock::monotonic().saturating_duration_since(self.started)
    }

    fn pulls(&self, now: &ClockReading) -> PullSigns {
        match &self.roots {
            Some(roots) => signs::look(roots, now),
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
        while waited < PATIENCE
            && self.ran_for() < self.policy.limits.max_run
            && !self.interrupted.load(Ordering::Relaxed)
        {
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
            Some((hold, _)) => hold.lost(),
            None => self
                .policy
                .guard
                .locks
                .iter()
                .flat_map(|l| lock::look(&l.path, l.kind))
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

/// A watch with a state folder to write to, and the ledger of this run.
pub struct Armed<'a> {
    /// What is watched.
    pub watch: Watch<'a>,
    /// Where intents and outcomes go.
    pub state: State,
    /// The memory after this run's look.
    pub ledger: &'a Ledger,
    /// Told how far the run is.
    pub on_progress: &'a mut dyn FnMut(usize, usize),
}

impl Host for Armed<'_> {
    fn hold(&mut self) -> Result<(), Vec<Refusal>> {
        if self.watch.hold.is_some() {
            return Ok(());
        }
        let locks: Vec<(PathBuf, LockKind)> = self
            .watch
            .policy
            .guard
            .locks
            .iter()
            .map(|l| (l.path.clone(), l.kind))
            .collect();
        match lock::hold(&locks) {
            Ok(hold) => {
                self.watch.hold = Some((hold, clock::monotonic()));
                Ok(())
            }
            Err(sights) => {
                let standing = self.ledger.standing();
                Err(held_locks(self.watch.policy, self.now(), &sights, standing))
            }
        }
    }

    fn held_for(&self) -> Option<Duration> {
        let (hold, since) = self.watch.hold.as_ref()?;
        Some(if hold.is_empty() {
            Duration::ZERO
        } else {
            clock::monotonic().saturating_duration_since(*since)
        })
    }

    fn let_go(&mut self) {
        self.watch.hold = None;
    }

    fn refusals(&mut self, at_work: &AtWork) -> Vec<Refusal> {
        match clock::read() {
            Ok(now) => refusals(
                self.watch.policy,
                &self.watch.look(&now, self.ledger, at_work.clone()),
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
        self.watch.interrupted.load(Ordering::Relaxed)
    }

    fn record(&mut self, records: &[Record], durable: bool) -> Result<(), String> {
        self.state
            .record(records, durable)
            .map_err(|fault| fault.message)
    }

    fn progress(&mut self, done: usize, of: usize) {
        let waits = self
            .watch
            .hold
            .as_ref()
            .is_some_and(|(hold, _)| !hold.is_empty());
        if !waits {
            (self.on_progress)(done, of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::inventory;

    #[test]
    fn a_terminal_is_written_to_only_where_no_deploy_waits() {
        let folder = crate::host::folder_of_ours();
        let path = folder.path().join("deploy.lock");
        std::fs::write(&path, "").unwrap();
        let lock = format!("[[guard.lock]]\npath = {path:?}\nkind = \"flock\"\n");
        for (locks, told) in [("[guard]\nlock = []\n", 2), (&*lock, 1)] {
            let text = format!("[age]\nmin_age = \"14d\"\n{locks}");
            let policy = Policy::parse(&text, "test").unwrap();
            let engine = inventory([]).engine;
            let mut count = 0;
            let mut armed = Armed {
                watch: Watch::new(&policy, &engine, Arc::default()),
                state: State::open(folder.path()).unwrap().unwrap(),
                ledger: &Ledger::empty("e"),
                on_progress: &mut |_, _| count += 1,
            };
            armed.hold().unwrap();
            armed.progress(1, 2);
            armed.let_go();
            armed.progress(2, 2);
            drop(armed);
            assert_eq!(count, told, "{locks}");
        }
    }
}
