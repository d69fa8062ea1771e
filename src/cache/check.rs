//! One answer about one image.

use std::time::Duration;

use serde::Serialize;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The promise is not kept.
    Broken,
    /// The check could not be made: no pass, and no fault of the cache.
    Unknown,
    /// The tag leads to a newer image, upstream or here: no fault.
    Moved,
    /// The promise is kept.
    Ok,
}

impl Status {
    /// Worst first.
    pub const ALL: [Self; 4] = [Self::Broken, Self::Unknown, Self::Moved, Self::Ok];

    /// The word in JSON and in the text.
    pub fn word(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Unknown => "unknown",
            Self::Moved => "moved",
            Self::Ok => "ok",
        }
    }
}

/// What a check asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Is it here, under its name and with its digest?
    Present,
    /// Is every layer here, and does it have its digest?
    Whole,
    /// Does the store outlive a restart, and has it room?
    Lasting,
    /// Does the registry let the deploying user in?
    Authenticated,
    /// Is the registry's digest the one here?
    Current,
    /// Does a deploy's pull fetch no layer?
    Reused,
}

impl Kind {
    /// In the order of the report.
    pub const ALL: [Self; 6] = [
        Self::Present,
        Self::Whole,
        Self::Lasting,
        Self::Authenticated,
        Self::Current,
        Self::Reused,
    ];

    /// The word in JSON and in the text.
    pub fn word(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Whole => "whole",
            Self::Lasting => "lasting",
            Self::Authenticated => "authenticated",
            Self::Current => "current",
            Self::Reused => "reused",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
        self.milliseconds = Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self
    }
}
