//! Whether a deploy's pull fetches layers, by the messages of a pull.

use std::time::Duration;

use crate::model::text::escape;

use crate::cache::check::{Check, Kind, Status};
use crate::engine::{End, Pulled};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The registry has the image that is here, as far as is known.
    Nothing,
    /// The tag moved, and --follow allows the new image.
    NewImage,
}

/// `recorded`: milliseconds of the pull when the baseline was recorded.
pub fn check(pulled: &Pulled, expected: Expected, took: Duration, recorded: Option<u64>) -> Check {
    let mut time = shown(took);
    if let Some(recorded) = recorded {
        let recorded = shown(Duration::from_millis(recorded));
        time = format!("{time} ({recorded} when recorded)");
    }
    let answer = |status, message: String| Check::new(Kind::Reused, status, message).took(took);
    let layers = |count: usize| {
        if count == 1 {
            "1 layer".to_owned()
        } else {
            format!("{count} layers")
        }
    };
    let (fetched, here) = (pulled.fetched(), pulled.reused());
    match (&pulled.end, expected) {
        // Without milliseconds: the time of a failed pull is no measure for other pulls.
        (End::Error(why), _) => Check::new(
            Kind::Reused,
            Status::Broken,
            format!("the pull failed after {time}: {}", escape(why)),
        ),
        (End::Silent | End::UpToDate | End::Newer, Expected::NewImage) => answer(
            Status::Moved,
            format!(
                "followed: {} fetched, {} were here, {time}",
                layers(fetched),
                layers(here)
            ),
        ),
        (End::Silent | End::UpToDate | End::Newer, Expected::Nothing) if fetched > 0 => answer(
            Status::Broken,
            format!(
                "a deploy fetched {}, {} were here, {time}",
                layers(fetched),
                layers(here)
            ),
        ),
        (End::Silent | End::UpToDate | End::Newer, Expected::Nothing) => answer(
            Status::Ok,
            format!("a deploy's pull fetched no layer, {time}"),
        ),
    }
}

pub fn shown(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::PullMessage as Message;

    fn pulled(lines: &[(&str, &str)]) -> Pulled {
        let mut pulled = Pulled::default();
        for (id, status) in lines {
            let message = Message {
                id: Some((*id).into()),
                status: Some((*status).into()),
                ..Message::default()
            };
            pulled.take(&message);
        }
        pulled
    }

    fn checked(lines: &[(&str, &str)], expected: Expected) -> Check {
        check(
            &pulled(lines),
            expected,
            Duration::from_millis(20),
            Some(1500),
        )
    }

    #[test]
    fn held_means_that_nothing_was_fetched_and_both_times_are_told() {
        let held = checked(
            &[
                ("a", "Already exists"),
                ("v1", "Status: Image is up to date for x"),
            ],
            Expected::Nothing,
        );
        assert_eq!(held.status, Status::Ok);
        assert!(
            held.message.contains("0.02 s (1.50 s when recorded)"),
            "{}",
            held.message
        );
        assert_eq!(
            checked(&[("a", "Pull complete")], Expected::Nothing).status,
            Status::Broken
        );
    }

    #[test]
    fn a_followed_tag_may_fetch() {
        assert_eq!(
            checked(&[("a", "Pull complete")], Expected::NewImage).status,
            Status::Moved
        );
    }

    #[test]
    fn an_error_in_the_stream_is_broken_and_escaped() {
        let mut failed = Pulled::default();
        failed.take(&Message {
            error: Some("no\u{1b}[31m".into()),
            ..Message::default()
        });
        let check = check(&failed, Expected::Nothing, Duration::ZERO, None);
        assert_eq!(check.status, Status::Broken);
        assert!(!check.message.contains('\u{1b}'));
    }

    #[test]
    fn a_pull_that_failed_has_no_time_to_compare_others_with() {
        let mut failed = Pulled::default();
        failed.end = End::Error("no".into());
        let check = check(&failed, Expected::Nothing, Duration::from_secs(1), None);
        assert_eq!(check.milliseconds, None);
        let fetched = checked(&[("a", "Pull complete")], Expected::Nothing);
        assert_eq!(fetched.milliseconds, Some(20));
    }
}
