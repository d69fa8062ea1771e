//! Deploy locks, and how they were found.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How a deploy tool says that it is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockKind {
    /// The path is there for as long as the deploy lasts.
    Exists,
    /// The file may stay; the deploy holds `flock(2)` or `fcntl(2)` on it.
    Flock,
}

/// One path that a policy's deploy lock names, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockSight {
    /// The path.
    pub path: PathBuf,
    /// How it is held.
    pub kind: LockKind,
    /// How it was found.
    pub state: LockState,
}

/// How a deploy lock was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockState {
    /// The path is not there.
    Absent,
    /// There, and nobody holds it.
    Free,
    /// A deploy is at work.
    Held {
        /// Who, in words fit to print, where the system tells.
        holder: Option<String>,
        /// Since when, as far as the file's own times can tell: its birth, or
        /// its last change where that is earlier or no birth is kept.
        since: Option<DateTime<Utc>>,
    },
    /// It could not be looked at: neither held nor free, and never read as free.
    CannotTell(String),
}
