//! What a run of verify-cache is doing, for whoever waits for it.

use std::fmt;
use std::time::Duration;

use crate::model::Bytes;

#[derive(Debug, Clone, Copy)]
pub enum Step {
    Asking {
        done: usize,
        of: usize,
    },
    Pulling {
        number: usize,
        of: usize,
    },
    Reading {
        number: usize,
        of: usize,
        bytes: Bytes,
        /// By the engine's list; what is read may be a little more.
        of_bytes: Option<Bytes>,
    },
    Restoring {
        number: usize,
        of: usize,
        done: Bytes,
        /// As far as the engine tells.
        total: Bytes,
        took: Duration,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asking { done, of } => write!(f, "asking registries: {done} of {of} images"),
            Self::Pulling { number, of } => write!(f, "pulling {number} of {of} images"),
            Self::Reading {
                number,
                of,
                bytes,
                of_bytes,
            } => {
                write!(f, "reading {number} of {of} images: {bytes}")?;
                of_bytes.map_or(Ok(()), |all| write!(f, " of {all}"))
            }
            Self::Restoring {
                number,
                of,
                done,
                total,
                took,
            } => {
                write!(
                    f,
                    "bringing back {number} of {of} images: {done} of {total}"
                )?;
                match left(*done, *total, *took) {
                    Some(left) => write!(f, ", {} s left", left.as_secs()),
                    None => Ok(()),
                }
            }
        }
    }
}

/// By the speed so far; `None` while it says little.
fn left(done: Bytes, total: Bytes, took: Duration) -> Option<Duration> {
    let rest = total.0.saturating_sub(done.0);
    let speaks = took >= Duration::from_secs(2) && done.0 > 0 && rest > 0;
    let seconds = took.as_secs_f64() * rest as f64 / done.0 as f64;
    speaks.then(|| Duration::try_from_secs_f64(seconds).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_it_will_take_is_told_once_the_speed_is_known() {
        let step = |done, total, seconds| {
            let step = Step::Restoring {
                number: 3,
                of: 12,
                done: Bytes(done),
                total: Bytes(total),
                took: Duration::from_secs(seconds),
            };
            step.to_string()
        };
        let told = "bringing back 3 of 12 images: 100 B of 400 B, 30 s left";
        assert_eq!(step(100, 400, 10), told);
        for silent in [step(100, 400, 1), step(0, 400, 10), step(400, 400, 10)] {
            assert!(!silent.contains("left"), "{silent}");
        }
    }
}
