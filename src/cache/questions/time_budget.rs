//! Limits how long a run waits for registries, so that it always ends with a report.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::registry::Upstream;

/// A registry is given up after this many timeouts in a row.
const IN_A_ROW: u32 = 4;

/// For all registries of a run together. The systemd unit gives a run 30 minutes.
const IN_ALL: Duration = Duration::from_mins(10);

/// Only the time from [`resume`](Self::resume) to [`pause`](Self::pause) counts: between its
/// questions a run may pull for long.
pub struct TimeBudget {
    left: Cell<Duration>,
    since: Cell<Option<Instant>>,
}

impl TimeBudget {
    pub fn new() -> Self {
        Self {
            left: Cell::new(IN_ALL),
            since: Cell::new(None),
        }
    }

    #[cfg(test)]
    pub fn spent() -> Self {
        let budget = Self::new();
        budget.left.set(Duration::ZERO);
        budget
    }

    pub fn resume(&self) {
        self.since.set(Some(Instant::now()));
    }

    pub fn pause(&self) {
        self.left.set(self.left());
        self.since.set(None);
    }

    fn left(&self) -> Duration {
        let waited = self.since.get().map_or(Duration::ZERO, |it| it.elapsed());
        self.left.get().saturating_sub(waited)
    }

    /// Why no more registries are asked.
    pub fn exhausted(&self) -> Option<String> {
        let minutes = IN_ALL.as_secs() / 60;
        self.left()
            .is_zero()
            .then(|| format!("registries were waited for {minutes} minutes in this run"))
    }
}

/// The timeouts in a row of one registry.
#[derive(Default)]
pub struct Timeouts(Cell<u32>);

impl Timeouts {
    pub fn count(&self, upstream: &Upstream) {
        if matches!(upstream, Upstream::TimedOut(_)) {
            self.0.set(self.0.get() + 1);
        } else {
            self.reset();
        }
    }

    /// After a complete answer. A registry that was given up stays so: answers may still be
    /// under way then.
    pub fn reset(&self) {
        if self.0.get() < IN_A_ROW {
            self.0.set(0);
        }
    }

    /// Why this registry is asked no more.
    pub fn given_up(&self) -> Option<String> {
        (self.0.get() >= IN_A_ROW)
            .then(|| format!("not asked: no answer came {IN_A_ROW} times in a row"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_the_time_in_which_registries_are_asked_is_taken_from_the_budget() {
        let budget = TimeBudget::new();
        for _ in 0..2 {
            budget.resume();
            tokio::time::advance(Duration::from_secs(299)).await;
            assert_eq!(budget.exhausted(), None);
            budget.pause();
            tokio::time::advance(IN_ALL).await;
            assert_eq!(budget.exhausted(), None);
        }
        budget.resume();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!(budget.exhausted().unwrap().contains("for 10 minutes"));
        budget.pause();
        assert!(budget.exhausted().is_some(), "it stays so");
    }

    #[test]
    fn only_silence_in_a_row_counts() {
        let silence = Timeouts::default();
        let silent = Upstream::TimedOut("no answer within 20 s".into());
        for _ in 1..IN_A_ROW {
            silence.count(&silent);
        }
        silence.count(&Upstream::Unknown("it answered 503".into()));
        silence.count(&silent);
        assert_eq!(silence.given_up(), None);
        for _ in 1..IN_A_ROW {
            silence.count(&silent);
        }
        assert!(silence.given_up().is_some());
        silence.count(&Upstream::Gone);
        assert!(silence.given_up().is_some(), "it stays so");
    }
}
