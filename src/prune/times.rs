//! How long deploys may have to wait for a run.

use std::time::Duration;

/// The deploy locks are let go at the next opportunity after this time, and in any case after
/// twice this time, as the documents promise.
pub(super) const LONGEST_HELD: Duration = Duration::from_secs(1);
