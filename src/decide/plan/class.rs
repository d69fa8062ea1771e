//! The class of an image, and when it was last wanted.

use chrono::{DateTime, Utc};

use crate::model::kinds::kinds;

kinds! {
    /// By its names, and by those that the ledger remembers.
    pub enum Class {
        Tagged = "tagged",
        /// No name at all: a local build that was rebuilt.
        Untagged = "untagged",
        /// A digest reference only; another image has a tag that it had.
        Superseded = "superseded",
        /// A digest reference only, pulled by digest: kept as cache.
        DigestPinned = "digest-pinned",
    }
}

/// What a date says of an image that was wanted then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// The first survey that found it.
    FirstSeen,
    /// The last moment at which it may have had a tag, by the surveys.
    LastTagged,
    /// The last moment at which it may have been in use, by the surveys.
    LastUsed,
    /// The last survey that found a new image built on it.
    BuiltOn,
    Created,
    /// The engine's own date of the last tag set here.
    LastTagTime,
    /// The date of its file in the engine's image database.
    Stored,
}

impl Evidence {
    /// Fit to follow a date.
    pub fn words(self) -> &'static str {
        match self {
            Self::FirstSeen => "first seen here",
            Self::LastTagged => "had a tag up to then",
            Self::LastUsed => "in use up to then",
            Self::BuiltOn => "an image was built on it then",
            Self::Created => "its build date",
            Self::LastTagTime => "last tagged here, by the engine",
            Self::Stored => "stored here, by the date of its file",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unneeded {
    /// The newest date of all evidence.
    pub since: DateTime<Utc>,
    pub evidence: Evidence,
}
