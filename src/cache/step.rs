//! The progress of verify-cache.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use crate::engine::Amount;
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
        amount: Amount,
    },
    Reading {
        number: usize,
        of: usize,
        bytes: Bytes,
        /// From the engine's list; the bytes read may be a little more.
        of_bytes: Option<Bytes>,
    },
    Restoring {
        number: usize,
        of: usize,
        amount: Amount,
    },
    ReadingArchive {
        bytes: Bytes,
        of_bytes: Bytes,
    },
    Saving {
        number: usize,
        of: usize,
        bytes: Bytes,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asking { done, of } => write!(f, "asking registries: {done} of {of} images"),
            Self::Pulling { number, of, amount } => {
                write!(f, "pulling {number} of {of} images{}", so_far(*amount))
            }
            Self::Reading {
                number,
                of,
                bytes,
                of_bytes,
            } => {
                write!(f, "reading {number} of {of} images: {bytes}")?;
                of_bytes.map_or(Ok(()), |all| write!(f, " of {all}"))
            }
            Self::Restoring { number, of, amount } => {
                write!(f, "restoring {number} of {of} images{}", so_far(*amount))
            }
            Self::ReadingArchive { bytes, of_bytes } => {
                write!(f, "reading the archive: {bytes} of {of_bytes}")
            }
            Self::Saving { number, of, bytes } => {
                write!(f, "saving {number} of {of} images: {bytes}")
            }
        }
    }
}

/// The progress of a transfer; empty before the engine reports bytes.
fn so_far(amount: Amount) -> String {
    if amount.total == 0 {
        return String::new();
    }
    let (done, total) = (Bytes(amount.done), Bytes(amount.total));
    format!(": {done} of {total}")
}

/// Waits for `work`. `on_amount` is called several times a second with the progress; its error
/// aborts the work.
pub async fn watched<T, E>(
    work: impl Future<Output = T>,
    amount: &Cell<Amount>,
    mut on_amount: impl FnMut(Amount) -> Result<(), E>,
) -> Result<T, E> {
    const TICK: Duration = Duration::from_millis(100);
    let mut work = std::pin::pin!(work);
    loop {
        on_amount(amount.get())?;
        if let Ok(done) = tokio::time::timeout(TICK, &mut work).await {
            return Ok(done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_in_the_same_way_of_a_pull_and_a_restore_once_they_are_known() {
        let (number, of) = (1, 2);
        let told = |done, total| {
            let amount = Amount {
                done,
                total,
                packed: total,
            };
            let pulling = Step::Pulling { number, of, amount };
            let restoring = Step::Restoring { number, of, amount };
            [pulling, restoring].map(|step| step.to_string())
        };
        let images = ["pulling 1 of 2 images", "restoring 1 of 2 images"];
        assert_eq!(told(0, 0), images);
        let bytes = images.map(|it| format!("{it}: 0 B of 2.0 KiB"));
        assert_eq!(told(0, 2048), bytes);
    }
}
