//! A fact, or why it is unknown.

use serde::{Deserialize, Serialize};

/// Unknown is never read as "no", "none" or "old".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Observed<T> {
    Known(T),
    /// Why, in words fit to print: it cannot be read, or makes no sense.
    Unknown(String),
}

impl<T> Observed<T> {
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }

    pub fn map<U>(self, what: impl FnOnce(T) -> U) -> Observed<U> {
        match self {
            Self::Known(value) => Observed::Known(what(value)),
            Self::Unknown(why) => Observed::Unknown(why),
        }
    }
}
