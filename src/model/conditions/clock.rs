//! One reading of the clocks.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One reading of the host's clocks, taken at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    /// Wall clock.
    pub wall: DateTime<Utc>,
    /// Seconds since boot, time asleep included (`CLOCK_BOOTTIME`).
    pub since_boot_secs: u64,
    /// Changes with every boot (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// The latest that the wall clock had said at any look before this one, as
    /// far as the ledger knows: later than `wall` after it was set back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<DateTime<Utc>>,
    /// Where the wall clock had been on this boot when it was set back, for as
    /// long as it is not there again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_back_from: Option<DateTime<Utc>>,
}
