//! How far the wall clock was set back during a run. An engine dates its events by that clock,
//! so after a step back new events have dates for which the run has asked already.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// A moment by the wall clock and the monotonic clock, and the longest step back since then.
#[derive(Debug, Clone, Copy)]
pub(super) struct SetBack {
    wall: DateTime<Utc>,
    elapsed: Duration,
    /// The most that the wall clock was ahead of the monotonic clock.
    max_ahead: TimeDelta,
    longest_step: TimeDelta,
}

impl SetBack {
    /// `elapsed`: by the monotonic clock.
    pub(super) fn since(wall: DateTime<Utc>, elapsed: Duration) -> Self {
        Self {
            wall,
            elapsed,
            max_ahead: TimeDelta::zero(),
            longest_step: TimeDelta::zero(),
        }
    }

    /// The date since which to ask for the events after this moment.
    pub(super) fn corrected(
        &mut self,
        moment: DateTime<Utc>,
        wall: DateTime<Utc>,
        elapsed: Duration,
    ) -> DateTime<Utc> {
        let passed = TimeDelta::from_std(elapsed.saturating_sub(self.elapsed));
        let passed = passed.unwrap_or_default();
        let ahead = (wall - self.wall) - passed;
        self.max_ahead = self.max_ahead.max(ahead);
        self.longest_step = self.longest_step.max(self.max_ahead - ahead);
        moment
            .checked_sub_signed(self.longest_step)
            .unwrap_or(moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    #[test]
    fn a_step_back_counts_until_the_end_and_a_step_ahead_never() {
        let secs = Duration::from_secs;
        let mut clock = SetBack::since(at(100), secs(5));
        assert_eq!(clock.corrected(at(100), at(101), secs(6)), at(100));
        assert_eq!(clock.corrected(at(101), at(100), secs(7)), at(99));
        assert_eq!(clock.corrected(at(110), at(113), secs(20)), at(108));
        let mut clock = SetBack::since(at(100), secs(5));
        assert_eq!(clock.corrected(at(100), at(200), secs(6)), at(100));
        assert_eq!(clock.corrected(at(200), at(102), secs(7)), at(101));
    }
}
