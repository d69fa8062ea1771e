//! The answer of one check.

use std::time::Duration;

use serde::Serialize;

use crate::model::kinds::kinds;

kinds! {
    /// Worst first.
    pub enum Status {
        /// The promise is not kept.
        Broken = "broken",
        /// The check could not be made: neither a pass nor a fault of the cache.
        Unknown = "unknown",
        /// The tag leads to a newer image, in the registry or here: no fault.
        Moved = "moved",
        /// The promise is kept.
        Ok = "ok",
    }
}

kinds! {
    /// The question that a check answers.
    pub enum Kind {
        /// Is the image here, under its name and with its digest?
        Present = "present",
        /// Is every layer here, and does it have its digest?
        Whole = "whole",
        /// Does the store survive a restart?
        Lasting = "lasting",
        /// Is there space for the next deploy?
        Room = "room",
        /// Does the registry accept the deploying user's credentials?
        Authenticated = "authenticated",
        /// Is the registry's digest the one that is here?
        Current = "current",
        /// Does a deploy's pull fetch no layer?
        Reused = "reused",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Check {
    pub kind: Kind,
    pub status: Status,
    /// Fit to print.
    pub message: String,
    /// How long it took, where that is part of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<u64>,
}

impl Check {
    /// `message`: fit to print.
    pub fn new(kind: Kind, status: Status, message: impl Into<String>) -> Self {
        Self {
            kind,
            status,
            message: message.into(),
            milliseconds: None,
        }
    }

    #[must_use]
    pub fn took(mut self, time: Duration) -> Self {
        self.milliseconds = Some(milliseconds(time));
        self
    }
}

pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
