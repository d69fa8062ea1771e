//! The speed of a transfer, and how long the rest takes.

use std::mem::{Discriminant, discriminant};
use std::time::{Duration, Instant};

use crate::cache::step::Step;
use crate::model::Bytes;

/// The time after which a speed is shown.
const SPEAKS: Duration = Duration::from_secs(1);

/// Of the current step with the current image.
#[derive(Debug, Default)]
pub(crate) struct Speed {
    since: Option<((Discriminant<Step>, usize), Instant)>,
}

impl Speed {
    /// Fit to follow the step's words; empty for a step without bytes.
    pub(crate) fn of(&mut self, step: Step, now: Instant) -> String {
        let (number, bytes, of_bytes) = match step {
            Step::Reading {
                number,
                bytes,
                of_bytes,
                ..
            } => (number, bytes, of_bytes),
            Step::Pulling { number, amount, .. } | Step::Restoring { number, amount, .. } => {
                (number, Bytes(amount.done), Some(Bytes(amount.total)))
            }
            Step::Saving { number, bytes, .. } => (number, bytes, None),
            Step::ReadingArchive { bytes, of_bytes } => (0, bytes, Some(of_bytes)),
            Step::Asking { .. } => {
                self.since = None;
                return String::new();
            }
        };
        let doing = (discriminant(&step), number);
        let same = self.since.filter(|(did, _)| *did == doing);
        let (_, since) = *self.since.insert(same.unwrap_or((doing, now)));
        let took = now.saturating_duration_since(since);
        let Some(each) = per_second(bytes, took) else {
            return String::new();
        };
        let left = of_bytes.map(|all| all.0.saturating_sub(bytes.0));
        let left = left
            .filter(|left| *left > 0)
            .map(|left| left.div_ceil(each.0));
        let left = left.map_or_else(String::new, |seconds| format!(", {seconds} s left"));
        format!(", {each}/s{left}")
    }
}

/// `None` before [`SPEAKS`].
fn per_second(bytes: Bytes, took: Duration) -> Option<Bytes> {
    let milliseconds = u64::try_from(took.as_millis()).ok()?;
    let each = bytes.0.saturating_mul(1000).checked_div(milliseconds)?;
    (took >= SPEAKS && each > 0).then_some(Bytes(each))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_of_one_image_and_the_time_that_the_rest_of_it_takes_are_told() {
        const MIB: u64 = 1 << 20;
        let step = |number, mib| Step::Reading {
            number,
            of: 2,
            bytes: Bytes(mib * MIB),
            of_bytes: Some(Bytes(100 * MIB)),
        };
        let began = crate::host::clock::monotonic();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut speed = Speed::default();
        assert_eq!(speed.of(step(1, 0), at(0)), "");
        assert_eq!(speed.of(step(1, 20), at(2)), ", 10.0 MiB/s, 8 s left");
        assert_eq!(speed.of(step(1, 100), at(5)), ", 20.0 MiB/s");
        // The next image begins anew.
        assert_eq!(speed.of(step(2, 1), at(5)), "");
        assert_eq!(speed.of(step(2, 30), at(8)), ", 10.0 MiB/s, 7 s left");
        // So does what is done with it next.
        let saving = |mib| Step::Saving {
            number: 2,
            of: 2,
            bytes: Bytes(mib * MIB),
        };
        assert_eq!(speed.of(saving(0), at(9)), "");
        assert_eq!(speed.of(saving(4), at(11)), ", 2.0 MiB/s");
        let asking = Step::Asking { done: 1, of: 2 };
        assert_eq!(speed.of(asking, at(12)), "");
    }
}
