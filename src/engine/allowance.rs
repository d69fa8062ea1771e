//! Limits on the length of an answer and on the memory for what is kept of it.

use std::cell::Cell;

use crate::engine::info::Info;

/// Longest list in bytes, plus [`LONGEST_ITEM`] for each image and container that the engine
/// counts: 100,000 images with a kilobyte of labels each.
const LONGEST_LIST: usize = 96 << 20;

/// Longest item of a list in bytes: an image with a bill of materials in its labels. All its
/// containers and events carry them, too.
pub(super) const LONGEST_ITEM: usize = 4 << 20;

/// Events that an engine remembers.
const EVENTS: usize = 256;

/// Bytes that one survey may keep, whatever the engine counts. Decision, ledger and report take
/// some three times as much again.
const KEPT: usize = 8 << 20;

/// Bytes that it may also keep for each image and container that the engine counts.
const KEPT_EACH: usize = 8 << 10;

/// Bytes that it may keep at most, even if the engine counts billions.
const KEPT_AT_MOST: usize = 384 << 20;

/// How much one survey may still keep. All of its lists share one, because they are read at the
/// same time.
#[derive(Debug)]
pub(super) struct Allowance {
    left: Cell<usize>,
    of: usize,
    /// Bytes of each list, at most. Length alone takes no memory, and long labels make a list
    /// long.
    pub(super) longest: usize,
}

impl Allowance {
    pub(super) fn of(info: &Info) -> Self {
        let counted = info.images.saturating_add(info.containers);
        let counted = usize::try_from(counted).unwrap_or(0);
        Self {
            longest: LONGEST_LIST.saturating_add(counted.saturating_mul(LONGEST_ITEM)),
            ..Self::bytes(KEPT.saturating_add(counted.saturating_mul(KEPT_EACH)))
        }
    }

    /// For events, whose number does not grow with the images.
    pub(super) fn of_events(info: &Info) -> Self {
        Self {
            longest: EVENTS * LONGEST_ITEM,
            ..Self::of(info)
        }
    }

    fn bytes(bytes: usize) -> Self {
        let of = bytes.min(KEPT_AT_MOST);
        Self {
            left: Cell::new(of),
            of,
            longest: LONGEST_LIST,
        }
    }

    pub(super) fn take(&self, bytes: usize) -> Result<(), String> {
        match self.left.get().checked_sub(bytes) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(format!(
                "what it lists takes more than {} MiB of memory, which is out of proportion to \
                 the images and containers that GET /info counts",
                self.of >> 20
            )),
        }
    }
}

pub(super) trait Weighed {
    /// About how many bytes of memory it takes.
    fn weight(&self) -> usize;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_weighed_against_what_the_engine_counts() {
        let allowance = Allowance::bytes(1 << 20);
        assert_eq!(allowance.take(1 << 19), Ok(()));
        assert_eq!(allowance.take(1 << 19), Ok(()), "all of it");
        assert!(allowance.take(1).unwrap_err().contains("1 MiB"));
        assert_eq!(Allowance::bytes(usize::MAX).of, KEPT_AT_MOST);
    }
}
