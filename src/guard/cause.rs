//! What can speak against removing anything. Decides which cause is the same at
//! two surveys, however it is worded at each.

use std::path::PathBuf;

use crate::model::conditions::{Cure, LockKind};
use crate::model::kinds::kinds;

/// What speaks against removing anything.
#[derive(Debug, Clone, PartialEq)]
pub enum Cause {
    /// A deploy lock is held, or it cannot be told.
    DeployLock {
        /// The lock.
        path: PathBuf,
        /// How it is held.
        kind: LockKind,
        /// By whom, fit to print, where known.
        holder: Option<String>,
        /// Why it cannot be told, where it cannot.
        unclear: Option<String>,
    },
    /// A pull, load or save is under way.
    Pull {
        /// The file that shows it.
        path: PathBuf,
        /// What it shows.
        sign: String,
    },
    /// A classic build is under way: what shows it, fit to print.
    Build(String),
    /// BuildKit builds. One build has many signs, and nothing tells which of them belong
    /// to one, so all builds of one moment are one cause.
    BuildKit {
        /// Records of its cache that are in use: their ids, fit to print.
        records: Vec<String>,
        /// Files that it downloads, and what shows that.
        downloads: Vec<(PathBuf, String)>,
    },
    /// Whether the engine builds cannot be told, and why.
    BuildUnclear(String),
    /// Swarm deploys this service.
    Deploy {
        /// The service.
        service: String,
        /// What its update and its tasks do, fit to print.
        what: String,
    },
    /// Whether Swarm deploys cannot be told, and why.
    DeployUnclear(String),
    /// Another run of secateur is at work.
    OtherRun(String),
    /// The clock cannot be believed.
    Clock(String),
    /// More would go than `limits.max_fraction`.
    MaxFraction {
        /// Images that would go.
        remove: usize,
        /// All images.
        all: usize,
        /// The limit.
        limit: f64,
    },
    /// The engine's answers contradict each other.
    EngineInconsistent(String),
    /// The signs of a pull cannot be read.
    SignsUnreadable {
        /// Where.
        path: PathBuf,
        /// Why.
        why: String,
        /// What would help.
        cure: Cure,
    },
}

impl Cause {
    /// What is remembered of it between runs: the same text for the same thing,
    /// however it is worded at each survey.
    pub fn identity(&self) -> String {
        let kind = self.kind().name();
        match self {
            Self::DeployLock {
                path, kind: how, ..
            } => {
                let how = match how {
                    LockKind::Flock => "flock",
                    LockKind::Exists => "exists",
                };
                format!("{kind} {how} {}", path.to_string_lossy())
            }
            Self::Pull { path, .. } | Self::SignsUnreadable { path, .. } => {
                format!("{kind} {}", path.to_string_lossy())
            }
            Self::Build(record) => format!("{kind} {record}"),
            Self::Deploy { service, .. } => format!("{kind} {service}"),
            Self::BuildKit { .. } => format!("{kind} buildkit"),
            Self::BuildUnclear(_)
            | Self::DeployUnclear(_)
            | Self::OtherRun(_)
            | Self::Clock(_)
            | Self::MaxFraction { .. }
            | Self::EngineInconsistent(_) => kind.to_owned(),
        }
    }

    /// The things of which since when is remembered, by identity, where they are not the
    /// cause itself: of builds that follow each other each uses records of its own, so a
    /// host that builds all day has no build that never ends.
    pub fn parts(&self) -> Vec<String> {
        let Self::BuildKit { records, downloads } = self else {
            return vec![self.identity()];
        };
        let kind = self.kind().name();
        let records = records.iter().map(|id| format!("{kind} record {id}"));
        let downloads = downloads
            .iter()
            .map(|(path, _)| format!("{kind} {}", path.to_string_lossy()));
        records.chain(downloads).collect()
    }

    /// Which kind of cause it is.
    pub fn kind(&self) -> RefusalKind {
        match self {
            Self::DeployLock { .. } => RefusalKind::DeployLock,
            Self::Pull { .. } => RefusalKind::Pull,
            Self::Build(_) | Self::BuildKit { .. } | Self::BuildUnclear(_) => RefusalKind::Build,
            Self::Deploy { .. } | Self::DeployUnclear(_) => RefusalKind::Deploy,
            Self::OtherRun(_) => RefusalKind::OtherRun,
            Self::Clock(_) => RefusalKind::Clock,
            Self::MaxFraction { .. } => RefusalKind::MaxFraction,
            Self::EngineInconsistent(_) => RefusalKind::EngineInconsistent,
            Self::SignsUnreadable { .. } => RefusalKind::SignsUnreadable,
        }
    }
}

kinds! {
    /// A cause without its particulars. The state folder remembers these names, too.
    pub enum RefusalKind {
        DeployLock = "deploy-lock",
        Pull = "pull",
        Build = "build",
        Deploy = "deploy",
        OtherRun = "other-run",
        Clock = "clock",
        MaxFraction = "max-fraction",
        EngineInconsistent = "engine-inconsistent",
        SignsUnreadable = "signs-unreadable",
    }
}
