//! What spoke against removals before.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

/// What spoke against a removal at the last look, by an identity that is the same
/// at each look, and since when it has been seen at every look.
pub type Standing = BTreeMap<String, DateTime<Utc>>;
