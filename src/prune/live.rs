//! The host of a run that removes: locks are held, intents are recorded.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::guard::{Cause, Refusal, held_locks, refusals};
use crate::host::clock;
use crate::memory::journal::Record;
use crate::memory::ledger::Ledger;
use crate::memory::state::State;
use crate::model::conditions::Disk;
use crate::model::{AtWork, Observed};
use crate::prune::Host;
use crate::survey::watch::Watch;

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
        self.watch.hold().map_err(|sights| {
            let standing = self.ledger.standing();
            held_locks(self.watch.policy(), self.now(), &sights, standing)
        })
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
        self.watch.is_asked_to_end()
    }

    fn record(&mut self, records: &[Record], durable: bool) -> Result<(), String> {
        self.state
            .record(records, durable)
            .map_err(|fault| fault.message)
    }

    fn progress(&mut self, done: usize, of: usize) {
        if !self.watch.holds_a_lock() {
            (self.on_progress)(done, of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;
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
                watch: Watch::new(&policy, &engine, std::sync::Arc::default()),
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
