//! Signs of pulls, loads and builds in an engine's folders.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullSign {
    /// A file or folder.
    pub path: PathBuf,
    pub state: SignState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignState {
    /// The engine has the file open, or it changed a moment ago. The text says which.
    Live(String),
    /// The same of a file that only BuildKit makes, while it downloads a base image.
    BuildKit(String),
    /// A classic build is running or left it behind; the two cannot be told apart.
    Build,
    /// Left behind by a pull that is over: not open, and unchanged for `quiet`.
    Stale { quiet: Duration },
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PullSigns {
    /// In the order of their paths.
    pub signs: Vec<PullSign>,
    /// If this is not empty, a pull may be running unseen.
    pub unreadable: Vec<Unreadable>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    pub path: PathBuf,
    pub why: String,
    pub cure: Cure,
}

impl Unreadable {
    pub fn new(path: impl Into<PathBuf>, why: impl Into<String>, cure: Cure) -> Self {
        Self {
            path: path.into(),
            why: why.into(),
            cure,
        }
    }
}

/// What a person must change to make a place readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cure {
    Permission,
    /// A view of the engine's own folder.
    DataRoot,
    /// A view of containerd's own folder.
    ContainerdRoot,
    /// A view of the folder that the engine downloads to.
    Downloads,
    /// Fewer files in it.
    Fewer,
    /// Nothing: without a daemon there is no one place where all pulls show.
    NoDaemon,
}
