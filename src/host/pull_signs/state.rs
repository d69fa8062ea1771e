//! Decides whether one sign is live or stale, from three observations. Pure.

use std::time::Duration;

use chrono::TimeDelta;

use crate::model::conditions::SignState;

/// A sign that changed less than this ago is live, open or not: an engine opens its files one
/// after another, and we may come in between. `now` may be older than the files' dates by as
/// much.
const JUST_NOW: TimeDelta = TimeDelta::seconds(60);

/// How long a sign must be quiet if the engine's open files cannot be seen. An engine gives up
/// a registry's stalled connection sooner.
const QUIET: TimeDelta = TimeDelta::minutes(15);

/// `open_in`: the process that has the sign, or a file below it, open. `engine_seen`:
/// whether the engine's open files can be seen at all; if not, "not open" says nothing.
/// `age`: the time since the last change, negative if that lies in the future.
pub(super) fn state_of(open_in: Option<String>, engine_seen: bool, age: TimeDelta) -> SignState {
    const UNSEEN: &str = "the engine's open files cannot be seen from here";
    if let Some(process) = open_in {
        return SignState::Live(format!("open in {process}"));
    }
    if age <= -JUST_NOW {
        // The clock was set back, and the age says nothing. So a sign that the engine does not
        // have open is stale: a left-over would otherwise block until the clock has caught up,
        // which may take years. Where not even that is known, it blocks.
        return if engine_seen {
            SignState::Stale {
                quiet: Duration::ZERO,
            }
        } else {
            SignState::Live(format!("changed in the future by this clock, and {UNSEEN}"))
        };
    }
    let seconds = age.num_seconds().max(0);
    if age < JUST_NOW {
        return SignState::Live(format!("changed {seconds} s ago"));
    }
    if engine_seen || age >= QUIET {
        return SignState::Stale {
            quiet: age.to_std().unwrap_or_default(),
        };
    }
    SignState::Live(format!("changed {seconds} s ago, and {UNSEEN}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: i64) -> TimeDelta {
        TimeDelta::seconds(count)
    }

    fn is_live(engine_seen: bool, age: TimeDelta) -> bool {
        matches!(state_of(None, engine_seen, age), SignState::Live(_))
    }

    #[test]
    fn what_is_open_is_live_at_any_age() {
        for age in [TimeDelta::days(-9999), seconds(0), TimeDelta::days(9999)] {
            for engine_seen in [false, true] {
                let state = state_of(Some("pid 7 (dockerd)".to_owned()), engine_seen, age);
                assert_eq!(state, SignState::Live("open in pid 7 (dockerd)".to_owned()));
            }
        }
    }

    #[test]
    fn what_changed_just_now_is_live_although_not_open() {
        for engine_seen in [false, true] {
            assert!(is_live(engine_seen, seconds(0)));
            assert!(is_live(engine_seen, seconds(59)));
            assert!(is_live(engine_seen, seconds(-59)));
        }
    }

    #[test]
    fn a_minute_of_quiet_is_enough_if_the_engine_is_seen_not_to_have_it_open() {
        assert!(is_live(true, seconds(59)));
        assert_eq!(
            state_of(None, true, seconds(60)),
            SignState::Stale {
                quiet: Duration::from_secs(60)
            }
        );
    }

    #[test]
    fn where_the_engine_is_not_seen_it_takes_a_quarter_of_an_hour() {
        let SignState::Live(why) = state_of(None, false, seconds(15 * 60 - 1)) else {
            panic!("stale too early");
        };
        assert!(
            why.contains("899 s") && why.contains("cannot be seen"),
            "{why}"
        );
        assert_eq!(
            state_of(None, false, seconds(15 * 60)),
            SignState::Stale {
                quiet: Duration::from_secs(900)
            }
        );
    }

    #[test]
    fn a_change_in_the_future_blocks_only_while_the_engine_is_not_seen() {
        for age in [seconds(-60), TimeDelta::days(-9999)] {
            assert_eq!(
                state_of(None, true, age),
                SignState::Stale {
                    quiet: Duration::ZERO
                }
            );
            assert!(is_live(false, age));
        }
    }
}
