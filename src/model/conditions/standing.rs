//! How long something has spoken against removals.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

/// What spoke against removals at the last survey, by an identity that is the same at
/// each survey, and since when every survey has found it.
pub type Standing = BTreeMap<String, DateTime<Utc>>;
