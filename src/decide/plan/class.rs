//! What kind of image it is, and when it was last wanted.

use chrono::{DateTime, Utc};

/// What kind of image it is, by its names and our memory of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Tagged,
    /// No name at all: a local build that was rebuilt.
    Untagged,
    /// A digest reference only, and a tag that it was seen with is another
    /// image's now.
    Superseded,
    /// A digest reference only, pulled by digest: kept as cache.
    DigestPinned,
}

impl Class {
    pub fn name(self) -> &'static str {
        match self {
            Self::Tagged => "tagged",
            Self::Untagged => "untagged",
            Self::Superseded => "superseded",
            Self::DigestPinned => "digest-pinned",
        }
    }
}

/// What showed that an image was wanted at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// The first look that found it here.
    FirstSeen,
    /// The last moment at which it may have had a tag, as far as was seen.
    LastTagged,
    /// The last moment at which it may have been in use, as far as was seen.
    LastUsed,
    /// The last moment at which an image came that was built on it.
    BuiltOn,
    /// Its build date.
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

/// The newest moment at which any evidence says that the image was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unneeded {
    /// That moment.
    pub since: DateTime<Utc>,
    /// What says so.
    pub evidence: Evidence,
}
