//! Whether the host's images are what the next deploy will want: present,
//! whole, on storage that lasts, with credentials that are taken, current, and
//! reused. Decides what each look means (`ok`, `broken`, `moved`, `unknown`)
//! and what all of them mean together. Nothing is changed here but where
//! `--redeploy` asks the engine to pull, and nothing is ever removed.
//!
//! | question | module |
//! |---|---|
//! | which images are promised | [`promise`], [`baseline`] |
//! | are they here, and if not, since when | [`present`], [`gone`] |
//! | is every layer what it says | [`tar`], [`layers`], [`blobs`] |
//! | will they be here tomorrow | [`lasting`] |
//! | does the deploy get in | [`credentials`], [`registry`] |
//! | what does the registry have | [`ask`], [`patience`], [`registry`], [`current`] |
//! | does a deploy fetch anything | [`redeploy`], [`reused`] |
//! | all together | [`outcome`], [`run`] |

pub mod checks;
pub mod credentials;
pub mod outcome;
pub mod promise;
pub mod registry;
pub mod run;

use serde::Serialize;

/// What a look found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The promise is not kept.
    Broken,
    /// It could not be looked at: no pass, and no fault of the cache.
    Unknown,
    /// Upstream, or a tag here, went on to something newer: no fault.
    Moved,
    /// The promise is kept.
    Ok,
}

impl Status {
    /// All, worst first.
    pub const ALL: [Self; 4] = [Self::Broken, Self::Unknown, Self::Moved, Self::Ok];

    /// As it stands in JSON and in the text.
    pub fn word(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Unknown => "unknown",
            Self::Moved => "moved",
            Self::Ok => "ok",
        }
    }
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It is here, under its name and with its digest.
    Present,
    /// Every layer is here and is what it says.
    Whole,
    /// It lies on storage that outlives a restart, and that has room.
    Lasting,
    /// The deploying user gets in at its registry.
    Authenticated,
    /// The registry's digest is the one here.
    Current,
    /// A deploy's pull fetches no layer.
    Reused,
}

impl Kind {
    /// All, in the order of the report.
    pub const ALL: [Self; 6] = [
        Self::Present,
        Self::Whole,
        Self::Lasting,
        Self::Authenticated,
        Self::Current,
        Self::Reused,
    ];

    /// As it stands in JSON and in the text.
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

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub kind: Kind,
    /// What came of it.
    pub status: Status,
    /// In words fit to print.
    pub message: String,
    /// How long it took, where that is part of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<u64>,
}

impl Check {
    /// An answer; the message must be fit to print.
    pub fn new(kind: Kind, status: Status, message: impl Into<String>) -> Self {
        Self {
            kind,
            status,
            message: message.into(),
            milliseconds: None,
        }
    }

    /// With the time that it took.
    #[must_use]
    pub fn took(mut self, time: std::time::Duration) -> Self {
        self.milliseconds = Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self
    }
}
