//! How far the wall clock was set back during a run. An engine dates its events by that
//! clock, so events after such a step have dates that were asked for already.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// A moment by both clocks, and the longest step back since.
#[derive(Debug, Clone, Copy)]
pub(super) struct SetBack {
    wall: DateTime<Utc>,
    steady: Duration,
    /// How far ahead of the steady clock it was at most.
    ahead: TimeDelta,
    most: TimeDelta,
}

impl SetBack {
    /// `steady`: by a clock that nobody sets.
    pub(super) fn since(wall: DateTime<Utc>, steady: Duration) -> Self {
        Self {
            wall,
            steady,
            ahead: TimeDelta::zero(),
            most: TimeDelta::zero(),
        }
    }

    /// Since when to ask for the events after this moment.
    pub(super) fn before(
        &mut self,
        moment: DateTime<Utc>,
        wall: DateTime<Utc>,
        steady: Duration,
    ) -> DateTime<Utc> {
        let passed = TimeDelta::from_std(steady.saturating_sub(self.steady));
        let passed = passed.unwrap_or_default();
        let ahead = (wall - self.wall) - passed;
        self.ahead = self.ahead.max(ahead);
        self.most = self.most.max(self.ahead - ahead);
        moment.checked_sub_signed(self.most).unwrap_or(moment)
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
        assert_eq!(clock.before(at(100), at(101), secs(6)), at(100));
        assert_eq!(clock.before(at(101), at(100), secs(7)), at(99));
        assert_eq!(clock.before(at(110), at(113), secs(20)), at(108));
        let mut clock = SetBack::since(at(100), secs(5));
        assert_eq!(clock.before(at(100), at(200), secs(6)), at(100));
        assert_eq!(clock.before(at(200), at(102), secs(7)), at(101));
    }
}
