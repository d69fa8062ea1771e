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
    // The engine restarted with the host and forgot the events that it dated so.
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
    // As it is remembered: the latest of all surveys before.
    let first = clock(20 * 86_400, 5, "a");
    let back = remembered(Some(&first), &clock(0, 5, "b"));
    assert_eq!(back.latest, Some(first.wall));
    let later = remembered(Some(&back), &clock(60, 65, "b"));
    assert_eq!(later.latest, Some(first.wall));
}

#[test]
fn what_came_after_the_clock_was_set_back_is_asked_for_from_before_the_last_survey() {
    let last = clock(10_000, 500, "a");
    for (now, from) in [
        // Nothing was set: the boot clock is read in whole seconds, so one second does not
        // matter.
        (clock(10_060, 560, "a"), 10_000),
        (clock(10_059, 560, "a"), 10_000),
        (clock(20_000, 560, "a"), 10_000),
        // Two hours back, a minute later.
        (clock(2_860, 560, "a"), 2_800),
        // Restarted half a minute ago, with an earlier date.
        (clock(5_000, 30, "b"), 4_970),
        (clock(20_000, 30, "b"), 10_000),
    ] {
        assert_eq!(dated_from(&last, &now), crate::testing::at(from), "{now:?}");
    }
}
