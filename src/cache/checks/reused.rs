//! Whether a deploy's pull would fetch anything. Decides from the pull's
//! stream: held means that no layer came over the line. It pulls nothing.

use std::time::Duration;

use crate::model::text::escape;

use crate::cache::{Check, Kind, Status};
use crate::engine::{End, Pulled};

/// What was known before the pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Upstream has what is here, as far as is known.
    Same,
    /// The tag went on, and --follow asks for the new one.
    Moved,
}

/// The answer for one pull; `first`: how long one took when the baseline was
/// recorded.
pub fn judge(pulled: &Pulled, before: Before, took: Duration, first: Option<u64>) -> Check {
    let mut time = shown(took);
    if let Some(first) = first {
        time = format!(
            "{time} ({} when recorded)",
            shown(Duration::from_millis(first))
        );
    }
    let check = |status, message: String| Check::new(Kind::Reused, status, message).took(took);
    let layers = |count: usize| {
        if count == 1 {
            "1 layer".to_owned()
        } else {
            format!("{count} layers")
        }
    };
    let (fetched, here) = (pulled.fetched(), pulled.reused());
    match (&pulled.end, before) {
        // Without its time, which says nothing of how long a pull takes.
        (End::Error(why), _) => Check::new(
            Kind::Reused,
            Status::Broken,
            format!("the pull failed after {time}: {}", escape(why)),
        ),
        (End::Silent | End::UpToDate | End::Newer, Before::Moved) => check(
            Status::Moved,
            format!(
                "followed: {} fetched, {} were here, {time}",
                layers(fetched),
                layers(here)
            ),
        ),
        (End::Silent | End::UpToDate | End::Newer, Before::Same) if fetched > 0 => check(
            Status::Broken,
            format!(
                "a deploy fetched {}, {} were here, {time}",
                layers(fetched),
                layers(here)
            ),
        ),
        (End::Silent | End::UpToDate | End::Newer, Before::Same) => check(
            Status::Ok,
            format!("a deploy's pull fetched no layer, {time}"),
        ),
    }
}

fn shown(time: Duration) -> String {
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

    fn judged(lines: &[(&str, &str)], before: Before) -> Check {
        judge(
            &pulled(lines),
            before,
            Duration::from_millis(20),
            Some(1500),
        )
    }

    #[test]
    fn held_means_that_nothing_was_fetched_and_both_times_are_told() {
        let held = judged(
            &[
                ("a", "Already exists"),
                ("v1", "Status: Image is up to date for x"),
            ],
            Before::Same,
        );
        assert_eq!(held.status, Status::Ok);
        assert!(
            held.message.contains("0.02 s (1.50 s when recorded)"),
            "{}",
            held.message
        );
        assert_eq!(
            judged(&[("a", "Pull complete")], Before::Same).status,
            Status::Broken
        );
    }

    #[test]
    fn a_followed_tag_may_fetch() {
        assert_eq!(
            judged(&[("a", "Pull complete")], Before::Moved).status,
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
        let check = judge(&failed, Before::Same, Duration::ZERO, None);
        assert_eq!(check.status, Status::Broken);
        assert!(!check.message.contains('\u{1b}'));
    }

    #[test]
    fn a_pull_that_failed_has_no_time_to_compare_others_with() {
        let mut failed = Pulled::default();
        failed.end = End::Error("no".into());
        let check = judge(&failed, Before::Same, Duration::from_secs(1), None);
        assert_eq!(check.milliseconds, None);
        let fetched = judged(&[("a", "Pull complete")], Before::Same);
        assert_eq!(fetched.milliseconds, Some(20));
    }
}
