//! Deploy locks and their states.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How a deploy tool says that it is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockKind {
    /// The path exists for as long as the deploy lasts.
    Exists,
    /// The file may stay; the deploy holds `flock(2)` or `fcntl(2)` on it.
    Flock,
}

/// One path that a deploy lock of the policy names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockReading {
    pub path: PathBuf,
    pub kind: LockKind,
    pub state: LockState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockState {
    Absent,
    /// The file is there, and nobody holds its lock.
    Free,
    Held {
        /// The process, fit to print, where the system knows it.
        holder: Option<String>,
        /// By the file's own times: its birth, or its last change where that is earlier or no
        /// birth is kept.
        since: Option<DateTime<Utc>>,
    },
    /// Why the state is unknown. Never read as free.
    CannotTell(String),
}
