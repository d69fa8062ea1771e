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
