//! Whether the clocks can be believed. Decides from two readings whether the time between them
//! really passed, because ages depend on that. It reads no clock.

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::conditions::ClockReading;
use crate::model::time::{second, span};

/// No secateur was built before this date, so a clock before it was never set.
const EARLIEST: DateTime<Utc> =
    DateTime::from_timestamp(1_767_225_600, 0).expect("2026-01-01 is a date");

/// What the wall clock may gain on the boot clock between two surveys before it
/// counts as a jump: a clock that is set a little late after boot is normal.
const TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// What the wall clock may lose on the boot clock, which is read in whole seconds,
/// before it counts as set back.
const SLACK: TimeDelta = TimeDelta::seconds(2);

/// A clock that was set back by at most this much is waited for until it is back where it was:
/// then everything that happened meanwhile can be asked for.
const LONGEST_BACK: TimeDelta = TimeDelta::days(1);

/// Across a reboot only the wall clock tells how long the host was off. It is believed up to
/// this long.
const LONGEST_OFF: TimeDelta = TimeDelta::days(30);

/// What two readings say of the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clock {
    Sound,
    /// Nothing is removed in this run.
    Doubtful {
        /// Fit to print.
        why: String,
        /// Remembered dates move forward by this, so that the doubtful time adds no
        /// age. Never negative; [`TimeDelta::MAX`]: all ages begin anew.
        shift: TimeDelta,
    },
}

impl Clock {
    /// Compares this reading with the last one, if there was one.
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

/// This reading, with what later readings need from earlier ones.
pub fn remembered(last: Option<&ClockReading>, now: &ClockReading) -> ClockReading {
    let latest = last.map(|last| last.latest.unwrap_or(last.wall).max(last.wall));
    let ahead = last.and_then(|last| set_back_from(last, now));
    ClockReading {
        // A reading years ahead says nothing.
        latest: latest.filter(|latest| *latest - now.wall <= LONGEST_OFF),
        set_back_from: ahead.filter(|from| *from - now.wall <= LONGEST_BACK),
        ..now.clone()
    }
}

/// The wall time at which the clock was set back on this boot, unless the clock has reached it
/// again. The engine dated earlier events by it, and reports no event whose date is in the
/// future.
fn set_back_from(last: &ClockReading, now: &ClockReading) -> Option<DateTime<Utc>> {
    if now.boot_id != last.boot_id {
        // The engine was restarted with the host and has forgotten its events.
        return None;
    }
    let untouched = last.wall.checked_add_signed(awake(last, now))?;
    let from = last.set_back_from.map_or(untouched, |at| at.max(untouched));
    (from - now.wall > SLACK).then_some(from)
}

/// The earliest date that an engine may have given to events since the last reading: before
/// that reading if the wall clock was set back since. Across a reboot it is the boot, because
/// the engine forgot what was before.
pub fn dated_from(last: &ClockReading, now: &ClockReading) -> DateTime<Utc> {
    let passed = if now.boot_id == last.boot_id {
        awake(last, now)
    } else {
        seconds(now.since_boot_secs)
    };
    let from = now.wall.checked_sub_signed(passed);
    from.filter(|from| last.wall - *from > SLACK)
        .unwrap_or(last.wall)
}

/// The time that passed on one boot by the boot clock.
fn awake(last: &ClockReading, now: &ClockReading) -> TimeDelta {
    seconds(now.since_boot_secs.saturating_sub(last.since_boot_secs))
}

fn seconds(count: u64) -> TimeDelta {
    TimeDelta::seconds(i64::try_from(count).unwrap_or(i64::MAX / 1000))
}

/// Why the time between two readings is doubted, and how much of it did not pass.
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
        // The clock may be right again or still wrong: across a reboot nothing tells how much
        // of this time passed.
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
mod tests;
