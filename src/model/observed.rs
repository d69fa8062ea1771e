//! What an edge found out, or why it could not.

use serde::{Deserialize, Serialize};

/// Something looked for: either known, or not known and why. Unknown is never
/// read as "no", "none" or "old".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Observed<T> {
    /// Looked at, and this was there.
    Known(T),
    /// Could not be looked at, or made no sense: why, in words fit to print.
    Unknown(String),
}

impl<T> Observed<T> {
    /// The value, where there is one.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }
}
