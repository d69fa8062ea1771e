//! Since when each cause has refused removals.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

/// Causes that refused removals at the last survey, by [`crate::guard::Cause::identity`], each
/// with the first of the unbroken row of surveys that found it.
pub type CausesSince = BTreeMap<String, DateTime<Utc>>;
