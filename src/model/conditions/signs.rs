//! Signs of pulls, loads and builds in an engine's folders.

use std::path::PathBuf;
use std::time::Duration;

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
