//! Whether the disk needs space, and how much is enough.

use crate::model::Bytes;
use crate::model::conditions::{Disk, Usage};

/// What the disk must have before a run that frees space stops.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// Bytes and inodes used, at most; 0 is never reached.
    pub percent: Option<f64>,
    pub free: Option<Bytes>,
}

impl Target {
    /// Every candidate goes.
    pub const NEVER: Self = Self {
        percent: Some(0.0),
        free: None,
    };

    /// Bytes to free until it is reached; `None` where bytes do not tell (inodes, or no lower
    /// threshold).
    pub fn missing(&self, disk: &Disk) -> Option<Bytes> {
        let Usage { used, available } = disk.bytes;
        let by_percent = match self.percent {
            None => 0,
            Some(0.0) => return None,
            Some(percent) => {
                let few = |inodes: Usage| inodes.used_percent() <= percent;
                if !disk.inodes.is_none_or(few) {
                    return None;
                }
                let allowed = (used as f64 + available as f64) * percent / 100.0;
                // Rounded up: not to be above the threshold.
                let above = (used as f64 - allowed).max(0.0).ceil();
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "0 or more, at most a u64"
                )]
                let above = above as u64;
                above
            }
        };
        let by_free = self.free.map_or(0, |free| free.0.saturating_sub(available));
        Some(Bytes(by_percent.max(by_free)))
    }

    /// Whether no disk ever has enough, so that every candidate goes.
    pub fn is_never_reached(&self) -> bool {
        self.percent == Some(0.0)
    }

    /// Whether a run that frees space can stop.
    pub fn is_reached(&self, disk: &Disk) -> bool {
        self.missing(disk) == Some(Bytes(0))
    }
}

/// Whether the disk needs space.
#[derive(Debug, Clone, PartialEq)]
pub enum Pressure {
    Asked {
        /// The thresholds that were crossed, fit to print.
        why: String,
        /// Bytes to free at least; `None`: see [`Target::missing`].
        wanted: Option<Bytes>,
        until: Target,
    },
    Room {
        /// Fit to print.
        why: String,
    },
    /// Why it is unknown how full it is.
    Unknown(String),
}
