//! Moments and lengths of time in words.

use chrono::{DateTime, TimeDelta, Utc};

/// `2026-11-21 03:00 UTC`, rounded down, so that a moment in the past never reads as one in the
/// future.
pub fn minute(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// `2026-11-21 03:00:07 UTC`.
pub fn second(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// As [`minute`], rounded up: the first full minute at which something may happen.
pub fn next_minute(at: DateTime<Utc>) -> String {
    let over = at.timestamp().rem_euclid(60);
    let left = TimeDelta::seconds((60 - over) % 60);
    minute(at.checked_add_signed(left).unwrap_or(at))
}

/// A length of time in its two largest units: `1 d 1 h`.
pub fn span(time: TimeDelta) -> String {
    let seconds = time.num_seconds().unsigned_abs();
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let shown: Vec<String> = parts
        .iter()
        .skip_while(|(n, _)| *n == 0)
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

/// The time since `then`, as a [`span`].
pub fn ago(then: DateTime<Utc>, now: DateTime<Utc>) -> String {
    span((now - then).max(TimeDelta::zero()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    #[test]
    fn the_last_of_all_dates_can_be_shown() {
        let shown = minute(DateTime::<Utc>::MAX_UTC);
        assert!(shown.contains("262142"), "{shown}");
        assert_eq!(next_minute(at(1)), minute(at(60)));
        assert_eq!(minute(at(59)), next_minute(at(0)));
    }

    #[test]
    fn a_span_is_shown_in_its_two_largest_units() {
        assert_eq!(span(TimeDelta::seconds(0)), "0 s");
        assert_eq!(span(TimeDelta::seconds(61)), "1 min 1 s");
        assert_eq!(span(TimeDelta::days(14)), "14 d");
        assert_eq!(span(TimeDelta::hours(25)), "1 d 1 h");
    }
}
