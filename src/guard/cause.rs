//! What can speak against removing anything. Decides which cause is the same at
//! two surveys, however it is worded at each.

use std::path::PathBuf;

use crate::model::conditions::{Cure, LockKind};
use crate::model::kinds::kinds;
use crate::model::text::Untrusted;
use crate::model::{Bytes, Observed};

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
    /// Nothing is brought back: the disk has no room for more.
    Disk(NoRoom),
    /// Nothing is brought back: tasks wait for a processor for so many percent of a minute,
    /// or that cannot be told.
    CpuPressure {
        now: Observed<f64>,
        /// `restore.max_cpu_pressure`.
        limit: f64,
    },
    /// Nothing is brought back: a running container has this label.
    Busy {
        container: Untrusted,
        /// As the policy has it.
        label: String,
    },
    /// Nothing more is brought from this registry.
    PullsLeft {
        /// Fit to print.
        registry: String,
        left: u64,
        /// `restore.min_pulls_left`.
        wanted: u32,
    },
}

/// Why a disk has no room for more, before anything is brought.
#[derive(Debug, Clone, PartialEq)]
pub enum NoRoom {
    /// Fuller than a prune leaves it.
    Above {
        path: PathBuf,
        used_percent: f64,
        /// `disk.stop_below_percent`.
        limit: f64,
    },
    Below {
        path: PathBuf,
        free: Bytes,
        /// `disk.min_free`.
        limit: Bytes,
    },
    /// It cannot be told, and why: fit to print.
    Unclear(String),
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
            | Self::EngineInconsistent(_)
            | Self::Disk(_)
            | Self::CpuPressure { .. } => kind.to_owned(),
            Self::Busy { container, .. } => format!("{kind} {}", container.raw()),
            Self::PullsLeft { registry, .. } => format!("{kind} {registry}"),
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
            Self::Disk(_) => RefusalKind::Disk,
            Self::CpuPressure { .. } => RefusalKind::CpuPressure,
            Self::Busy { .. } => RefusalKind::Busy,
            Self::PullsLeft { .. } => RefusalKind::PullsLeft,
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
        Disk = "disk",
        CpuPressure = "cpu-pressure",
        Busy = "busy",
        PullsLeft = "pulls-left",
    }
}

impl RefusalKind {
    /// Those that a prune may meet.
    pub fn of_prune() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|kind| !kind.is_of_restore())
    }

    /// Whether only `verify-cache --restore` is refused because of it.
    fn is_of_restore(self) -> bool {
        match self {
            Self::Disk | Self::CpuPressure | Self::Busy | Self::PullsLeft => true,
            Self::DeployLock
            | Self::Pull
            | Self::Build
            | Self::Deploy
            | Self::OtherRun
            | Self::Clock
            | Self::MaxFraction
            | Self::EngineInconsistent
            | Self::SignsUnreadable => false,
        }
    }
}
