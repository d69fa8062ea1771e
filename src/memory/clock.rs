//! Whether the clocks can be believed. Decides from two readings whether the
//! time between them really passed; ages rest on that. It reads no clock.

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::conditions::ClockReading;
use crate::model::time::{second, span};

/// Before this no secateur was built: a clock that says so was never set.
const EARLIEST: DateTime<Utc> =
    DateTime::from_timestamp(1_767_225_600, 0).expect("2026-01-01 is a date");

/// What the wall clock may gain on the boot clock between two looks before it
/// counts as a jump: a clock that is set a little late after boot is normal.
const TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// What the wall clock may lose on the boot clock before it counts as set back:
/// that one is read in whole seconds.
const SLACK: TimeDelta = TimeDelta::seconds(2);

/// Set back by no more than this, a clock is waited for until it is again where
/// it had been: all that happened meanwhile can be asked for then.
const LONGEST_BACK: TimeDelta = TimeDelta::days(1);

/// Across a reboot nothing but the wall clock tells how long the host was
/// off. Up to this long it is believed.
const LONGEST_OFF: TimeDelta = TimeDelta::days(30);

/// What two readings say of the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clock {
    /// Believed.
    Sound,
    /// Not believed: nothing is removed in this run.
    Doubtful {
        /// In words fit to print.
        why: String,
        /// What remembered dates must be moved forward by, so that the doubtful
        /// time adds no age. Never negative; [`TimeDelta::MAX`]: all ages begin
        /// anew.
        shift: TimeDelta,
    },
}

impl Clock {
    /// What became of the clock between the last reading, if there was one, and this.
    pub fn between(last: Option<&ClockReading>, now: &ClockReading) -> Self {
        let doubt = last.and_then(|last| doubt(last, now));
        if now.wall < EARLIEST {
            return Self::Doubtful {
                why: format!("it says {}, so it has not been set", second(now.wall)),
                // A clock that was not set can jump as well.
                shift: doubt.map_or(TimeDelta::zero(), |(_, shift)| shift),
            };
        }
        doubt.map_or(Self::Sound, |(why, shift)| Self::Doubtful { why, shift })
    }
}

/// This reading, with what later ones must know of those before it.
pub fn remembered(last: Option<&ClockReading>, now: &ClockReading) -> ClockReading {
    let latest = last.map(|last| last.latest.unwrap_or(last.wall).max(last.wall));
    let ahead = last.and_then(|last| set_back_from(last, now));
    ClockReading {
        // Of a clock that was years ahead once, nothing is to be learnt.
        latest: latest.filter(|latest| *latest - now.wall <= LONGEST_OFF),
        set_back_from: ahead.filter(|from| *from - now.wall <= LONGEST_BACK),
        ..now.clone()
    }
}

/// Where the wall clock had been on this boot when it was set back, unless it
/// is there again. The engine dated by it what happened before, and tells
/// nothing that has a date to come.
fn set_back_from(last: &ClockReading, now: &ClockReading) -> Option<DateTime<Utc>> {
    if now.boot_id != last.boot_id {
        // The engine was restarted with the host, and has forgotten all of it.
        return None;
    }
    let untouched = last.wall.checked_add_signed(awake(last, now))?;
    let from = last.set_back_from.map_or(untouched, |at| at.max(untouched));
    (from - now.wall > SLACK).then_some(from)
}

/// What the boot clock says to have passed on one boot.
fn awake(last: &ClockReading, now: &ClockReading) -> TimeDelta {
    let seconds = now.since_boot_secs.saturating_sub(last.since_boot_secs);
    TimeDelta::seconds(i64::try_from(seconds).unwrap_or(i64::MAX / 1000))
}

/// What speaks against the time between two readings, and how much of it did
/// not pass.
fn doubt(last: &ClockReading, now: &ClockReading) -> Option<(String, TimeDelta)> {
    let wall = now.wall - last.wall;
    if let Some(from) = set_back_from(last, now) {
        let (until, back) = (second(from), from - now.wall);
        return Some(if back > LONGEST_BACK {
            let why = format!("it was set back from {until}, so all ages begin anew");
            (why, TimeDelta::MAX)
        } else {
            let gained = wall - awake(last, now);
            let why = format!("it was set back, and is waited for until it says {until} again");
            (why, gained.max(TimeDelta::zero()))
        });
    }
    if wall < TimeDelta::zero() {
        let why = format!(
            "it says {}, and said {} at the last run",
            second(now.wall),
            second(last.wall)
        );
        return Some((why, TimeDelta::zero()));
    }
    if now.boot_id == last.boot_id {
        let gained = wall - awake(last, now);
        if gained > TOLERANCE {
            let why = format!(
                "since the last run it moved on by {}, the time since boot by {}",
                span(wall),
                span(wall - gained)
            );
            return Some((why, gained));
        }
    } else if last.latest.is_some_and(|latest| latest > last.wall) {
        // It may be right again, or be wrong still: across a reboot nothing
        // tells how much of this passed.
        let why = format!(
            "the host was restarted, and before that it said {}, earlier than once before",
            second(last.wall)
        );
        return Some((why, wall));
    } else if wall > LONGEST_OFF {
        let why = format!(
            "the host was restarted, and the last run is {} ago by it",
            span(wall)
        );
        return Some((why, wall));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::clock;

    fn shift(last: &ClockReading, now: &ClockReading) -> Option<TimeDelta> {
        match Clock::between(Some(last), now) {
            Clock::Sound => None,
            Clock::Doubtful { shift, .. } => Some(shift),
        }
    }

    #[test]
    fn time_that_passed_on_both_clocks_is_believed() {
        assert_eq!(Clock::between(None, &clock(0, 0, "a")), Clock::Sound);
        assert_eq!(shift(&clock(0, 0, "a"), &clock(86_400, 86_400, "a")), None);
        assert_eq!(
            shift(&clock(0, 0, "a"), &clock(86_400 + 299, 86_400, "a")),
            None
        );
    }

    #[test]
    fn time_asleep_counts_because_the_boot_clock_counts_it() {
        assert_eq!(
            doubt(
                &clock(0, 100, "a"),
                &clock(9 * 86_400, 9 * 86_400 + 100, "a")
            ),
            None
        );
    }

    #[test]
    fn a_jump_forward_is_doubted_and_adds_no_age() {
        assert_eq!(
            shift(&clock(0, 0, "a"), &clock(3600, 60, "a")),
            Some(TimeDelta::seconds(3540))
        );
    }

    #[test]
    fn a_clock_that_went_back_or_was_never_set_is_doubted() {
        assert_eq!(
            shift(&clock(10, 10, "a"), &clock(9, 11, "a")),
            Some(TimeDelta::zero())
        );
        let unset = ClockReading {
            wall: DateTime::UNIX_EPOCH,
            ..clock(0, 0, "a")
        };
        assert!(matches!(
            Clock::between(None, &unset),
            Clock::Doubtful { .. }
        ));
    }

    #[test]
    fn a_clock_that_was_set_back_is_waited_for_until_it_is_where_it_was() {
        // An hour ahead; set right after half an hour.
        let ahead = clock(3600, 0, "a");
        let right = clock(1800, 1800, "a");
        assert_eq!(shift(&ahead, &right), Some(TimeDelta::zero()));
        let right = remembered(Some(&ahead), &right);
        assert_eq!(right.set_back_from, Some(crate::testing::at(5400)));
        let later = clock(5397, 5397, "a");
        assert_eq!(shift(&right, &later), Some(TimeDelta::zero()));
        let later = remembered(Some(&right), &later);
        let there = clock(5400, 5400, "a");
        assert_eq!(shift(&later, &there), None);
        assert_eq!(remembered(Some(&later), &there).set_back_from, None);
        // The engine went with the host, and what it had dated so.
        assert_eq!(shift(&later, &clock(5398, 5, "b")), None);
    }

    #[test]
    fn seconds_that_are_not_whole_are_no_step_back() {
        let second = clock(0, 0, "a");
        assert_eq!(shift(&second, &clock(58, 60, "a")), None);
        assert_eq!(shift(&second, &clock(57, 60, "a")), Some(TimeDelta::zero()));
    }

    #[test]
    fn a_clock_that_was_set_back_by_days_begins_all_ages_anew_and_is_believed_then() {
        let ahead = clock(10 * 86_400, 0, "a");
        let right = clock(60, 60, "a");
        assert_eq!(shift(&ahead, &right), Some(TimeDelta::MAX));
        let right = remembered(Some(&ahead), &right);
        assert_eq!(shift(&right, &clock(120, 120, "a")), None);
    }

    #[test]
    fn what_is_gained_while_a_clock_is_waited_for_adds_no_age() {
        let back = ClockReading {
            set_back_from: Some(crate::testing::at(7200)),
            ..clock(0, 0, "a")
        };
        let gained = Some(TimeDelta::seconds(3540));
        assert_eq!(shift(&back, &clock(3600, 60, "a")), gained);
    }

    #[test]
    fn a_clock_that_was_years_ahead_once_is_no_reason_at_each_reboot() {
        let ahead = clock(300 * 86_400, 5, "a");
        let right = remembered(Some(&ahead), &clock(0, 5, "b"));
        assert_eq!(right.latest, None);
        assert_eq!(shift(&right, &clock(3600, 5, "c")), None);
    }

    #[test]
    fn a_clock_that_was_never_set_adds_no_age_when_it_jumps() {
        let years = |n: i64| clock(-n * 365 * 86_400, 10, "a");
        assert_eq!(
            shift(&years(20), &years(10)),
            Some(TimeDelta::days(10 * 365))
        );
    }

    #[test]
    fn across_a_reboot_a_month_off_is_believed_and_ten_years_are_not() {
        let days = |n: i64| clock(n * 86_400, 5, "b");
        assert_eq!(shift(&clock(0, 0, "a"), &days(30)), None);
        assert_eq!(
            shift(&clock(0, 0, "a"), &days(3650)),
            Some(TimeDelta::days(3650))
        );
    }

    #[test]
    fn a_clock_that_was_set_back_adds_no_age_when_it_is_right_again_after_a_reboot() {
        let late = ClockReading {
            latest: Some(crate::testing::at(20 * 86_400)),
            ..clock(0, 5, "b")
        };
        let right = clock(20 * 86_400, 5, "c");
        assert_eq!(shift(&late, &right), Some(TimeDelta::days(20)));
        let caught_up = ClockReading {
            latest: Some(late.wall),
            ..late
        };
        assert_eq!(shift(&caught_up, &right), None);
        // As it is remembered: the latest of all looks before.
        let first = clock(20 * 86_400, 5, "a");
        let back = remembered(Some(&first), &clock(0, 5, "b"));
        assert_eq!(back.latest, Some(first.wall));
        let later = remembered(Some(&back), &clock(60, 65, "b"));
        assert_eq!(later.latest, Some(first.wall));
    }
}
