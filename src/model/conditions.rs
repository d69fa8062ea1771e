//! What else is going on around the images, as plain values: how full the disk
//! is, who holds a deploy lock, which signs of a pull are there, what the
//! clocks say. The edges (`host`, `engine`) fill these in; `guards` judges
//! them. Nothing here looks at anything, and nothing here decides.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::Bytes;

/// One file system's room, in one unit (bytes or inodes), as `df` counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// What is taken.
    pub used: u64,
    /// What an unprivileged process may still take; what is set aside for root
    /// counts as neither used nor available.
    pub available: u64,
}

impl Room {
    /// Percent used, 0 to 100, the way `df` reckons: used / (used + available).
    /// A file system of size nought is full.
    pub fn used_percent(self) -> f64 {
        let total = self.used as f64 + self.available as f64;
        if total == 0.0 {
            return 100.0;
        }
        self.used as f64 * 100.0 / total
    }
}

/// The file system that holds the images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The folder that was asked about.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Room,
    /// `None` where the file system does not count inodes (btrfs, for one).
    pub inodes: Option<Room>,
}

impl Disk {
    /// Bytes an unprivileged process may still write.
    pub fn free(&self) -> Bytes {
        Bytes(self.bytes.available)
    }

    /// The fuller of the two measures: bytes or inodes, in percent.
    pub fn used_percent(&self) -> f64 {
        let inodes = self.inodes.map_or(0.0, Room::used_percent);
        self.bytes.used_percent().max(inodes)
    }
}

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

/// What a file in the engine's folders says about a pull, load or build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullSign {
    /// The file or folder.
    pub path: PathBuf,
    /// Whether anybody still works on it.
    pub state: SignState,
}

/// Whether anybody still works on a file that a pull made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignState {
    /// Under way: the engine has it open, or it changed a moment ago. The text
    /// says which.
    Live(String),
    /// A build is under way, or has left it behind: nothing tells.
    Build,
    /// Left behind by a pull that is over: not open, and unchanged for `quiet`.
    Stale {
        /// How long it has been unchanged.
        quiet: Duration,
    },
}

/// All signs of pulls, loads and builds that the host's files give.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PullSigns {
    /// In the order of their paths.
    pub signs: Vec<PullSign>,
    /// What could not be read, each with the permission that is missing.
    /// Not empty means: it is not known whether a pull is under way.
    pub unreadable: Vec<Unreadable>,
}

/// A place that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The place.
    pub path: PathBuf,
    /// The system's words.
    pub why: String,
    /// What would make it readable.
    pub cure: Cure,
}

/// What would make a place readable. None of these comes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cure {
    /// A permission.
    Permission,
    /// The engine's own folder, where this program sees it.
    DataRoot,
    /// containerd's own folder, where this program sees it.
    ContainerdRoot,
    /// The folder of the engine's downloads, where it keeps them elsewhere.
    Downloads,
    /// Fewer files.
    Fewer,
    /// Nothing: there is no one place where all its pulls show.
    NoDaemon,
}

/// What spoke against a removal at the last look, by an identity that is the same
/// at each look, and since when it has been seen at every look.
pub type Standing = BTreeMap<String, DateTime<Utc>>;

/// One reading of the host's clocks, taken at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    /// Wall clock.
    pub wall: DateTime<Utc>,
    /// Seconds since boot, time asleep included (`CLOCK_BOOTTIME`).
    pub since_boot_secs: u64,
    /// Changes with every boot (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// The latest that the wall clock had said at any look before this one, as
    /// far as the ledger knows: later than `wall` after it was set back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<DateTime<Utc>>,
    /// Where the wall clock had been on this boot when it was set back, for as
    /// long as it is not there again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_back_from: Option<DateTime<Utc>>,
}
