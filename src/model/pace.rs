//! The slowest pace of a transfer that is still waited for.

use std::time::Duration;

/// A transfer that is slower is given up.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The longest time between two pieces.
    pub pause: Duration,
    /// Bytes a second from the first piece on, so that a trickle ends.
    pub slowest: u64,
}

impl Pace {
    /// How long the next piece may take after `bytes` in the time `took`.
    pub fn left(self, bytes: u64, took: Duration) -> Duration {
        let by_now = self.pause + Duration::from_secs(bytes / self.slowest);
        by_now.saturating_sub(took).min(self.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_trickles_is_given_up() {
        let pause = Duration::from_secs(60);
        let pace = Pace {
            pause,
            slowest: 64 << 10,
        };
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        assert_eq!(pace.left(0, minutes(0)), pause);
        assert_eq!(
            pace.left(3600, minutes(60)),
            Duration::ZERO,
            "a byte a second"
        );
        assert_eq!(pace.left(10 << 30, minutes(60)), pause, "3 MiB a second");
        assert_eq!(pace.left(10 << 30, minutes(60 * 48)), Duration::ZERO);
    }
}
