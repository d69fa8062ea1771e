//! Readings of the clocks.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One reading of the host's clocks, taken at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    pub wall: DateTime<Utc>,
    /// Seconds since boot, time asleep included (`CLOCK_BOOTTIME`).
    pub since_boot_secs: u64,
    /// Changes with every boot (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// The latest reading of the wall clock at any survey before, as far as the ledger
    /// knows: later than `wall` after the clock was set back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<DateTime<Utc>>,
    /// What the wall clock said on this boot when it was set back, until it says so
    /// again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_back_from: Option<DateTime<Utc>>,
}
