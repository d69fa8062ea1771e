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
    /// The latest wall time at any earlier survey, as far as the ledger knows. It is later than
    /// `wall` after the clock was set back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<DateTime<Utc>>,
    /// The wall time on this boot just before the clock was set back; `None` once the clock has
    /// reached it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_back_from: Option<DateTime<Utc>>,
}
