//! Whether the clocks can be believed. Decides from two readings whether the
//! time between them really passed; ages rest on that. It reads no clock.

use chrono::{DateTime, TimeDelta, Utc};

use crate::activity::ClockReading;

/// Before this no secateur was built: a clock that says so was never set.
const EARLIEST: DateTime<Utc> =
    DateTime::from_timestamp(1_767_225_600, 0).expect("2026-01-01 is a date");

/// What the wall clock may gain on the boot clock between two looks before it
/// counts as a jump: a clock that is set a little late after boot is normal.
const TOLERANCE: TimeDelta = TimeDelta::minutes(5);

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
        /// time adds no age. Never negative.
        shift: TimeDelta,
    },
}

/// Judges the clock by what it said at the last look, if there was one.
pub fn judge(last: Option<&ClockReading>, now: &ClockReading) -> Clock {
    let doubt = last.and_then(|last| doubt(last, now));
    if now.wall < EARLIEST {
        return Clock::Doubtful {
            why: format!("it says {}, so it has not been set", day(now.wall)),
            // A clock that was not set can jump as well.
            shift: doubt.map_or(TimeDelta::zero(), |(_, shift)| shift),
        };
    }
    doubt.map_or(Clock::Sound, |(why, shift)| Clock::Doubtful { why, shift })
}

/// What speaks against the time between two readings, and how much of it did
/// not pass.
fn doubt(last: &ClockReading, now: &ClockReading) -> Option<(String, TimeDelta)> {
    let wall = now.wall - last.wall;
    if wall < TimeDelta::zero() {
        let why = format!(
            "it says {}, and said {} at the last run",
            day(now.wall),
            day(last.wall)
        );
        return Some((why, TimeDelta::zero()));
    }
    if now.boot_id == last.boot_id {
        let awake = now.since_boot_secs.saturating_sub(last.since_boot_secs);
        let gained = wall - TimeDelta::seconds(i64::try_from(awake).unwrap_or(i64::MAX / 1000));
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
            day(last.wall)
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

fn day(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A length of time for people, in its two largest units.
pub fn span(time: TimeDelta) -> String {
    let seconds = time.num_seconds().unsigned_abs();
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let first = parts.iter().position(|(n, _)| *n > 0).unwrap_or(3);
    let shown: Vec<String> = parts
        .iter()
        .skip(first)
        .take(2)
        .filter(|(n, _)| *n > 0)
        .map(|(n, unit)| format!("{n} {unit}"))
        .collect();
    if shown.is_empty() {
        "0 s".to_owned()
    } else {
        shown.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::clock;

    fn shift(last: &ClockReading, now: &ClockReading) -> Option<TimeDelta> {
        match judge(Some(last), now) {
            Clock::Sound => None,
            Clock::Doubtful { shift, .. } => Some(shift),
        }
    }

    #[test]
    fn time_that_passed_on_both_clocks_is_believed() {
        assert_eq!(judge(None, &clock(0, 0, "a")), Clock::Sound);
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
        assert!(matches!(judge(None, &unset), Clock::Doubtful { .. }));
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
    }

    #[test]
    fn a_span_is_shown_in_its_two_largest_units() {
        assert_eq!(span(TimeDelta::seconds(0)), "0 s");
        assert_eq!(span(TimeDelta::seconds(61)), "1 min 1 s");
        assert_eq!(span(TimeDelta::days(14)), "14 d");
        assert_eq!(span(TimeDelta::hours(25)), "1 d 1 h");
    }
}
