//! The causes that refuse a run. Decides which cause is the same at two surveys, however it is
//! worded at each.

use std::path::PathBuf;

use crate::model::conditions::{Cure, LockKind};
use crate::model::kinds::kinds;
use crate::model::text::Untrusted;
use crate::model::{Bytes, Observed};

#[derive(Debug, Clone, PartialEq)]
pub enum Cause {
    /// A deploy lock is held, or its state is unknown.
    DeployLock {
        path: PathBuf,
        kind: LockKind,
        /// The process, fit to print, where it is known.
        holder: Option<String>,
        /// Why its state is unknown, where it is.
        unclear: Option<String>,
    },
    /// A pull, load or save is under way.
    Pull {
        path: PathBuf,
        /// What the file shows.
        sign: String,
    },
    /// A classic build is under way: its sign, fit to print.
    Build(String),
    /// BuildKit builds. One build has many signs, and they cannot be told apart by build, so
    /// all builds of one moment are one cause.
    BuildKit {
        /// Records of its cache that are in use: their ids, fit to print.
        records: Vec<String>,
        /// Files that it downloads, each with its sign.
        downloads: Vec<(PathBuf, String)>,
    },
    /// Why it is unknown whether the engine builds.
    BuildUnclear(String),
    /// Swarm deploys this service.
    Deploy {
        service: String,
        /// The state of its update and its tasks, fit to print.
        what: String,
    },
    /// Why it is unknown whether Swarm deploys.
    DeployUnclear(String),
    /// Another run of secateur holds the run lock.
    OtherRun(String),
    /// The clock cannot be believed.
    Clock(String),
    /// More would go than `limits.max_fraction`.
    MaxFraction {
        remove: usize,
        all: usize,
        /// `limits.max_fraction`.
        limit: f64,
    },
    /// The engine's answers contradict each other.
    EngineInconsistent(String),
    /// The signs of a pull cannot be read.
    SignsUnreadable {
        path: PathBuf,
        why: String,
        cure: Cure,
    },
    /// Nothing is restored: the disk has no room for more.
    Disk(NoRoom),
    /// Nothing is restored: tasks waited for a processor for this many percent of the last
    /// minute, or that is unknown.
    CpuPressure {
        now: Observed<f64>,
        /// `restore.max_cpu_pressure`.
        limit: f64,
    },
    /// Nothing is restored: a running container has this label.
    Busy {
        container: Untrusted,
        /// As in the policy.
        label: String,
    },
    /// Nothing more is pulled from this registry.
    PullsLeft {
        /// Fit to print.
        registry: String,
        left: u64,
        /// `restore.min_pulls_left`.
        wanted: u32,
    },
}

/// Why the disk has no room for a restored image.
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
    /// Why it is unknown, fit to print.
    Unclear(String),
}

impl Cause {
    /// The key by which runs remember it: the same text for the same thing, however it is
    /// worded at each survey.
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

    /// The identities whose beginning is remembered. BuildKit has one for each record and
    /// download: builds that follow each other use records of their own, so a host that builds
    /// all day has no build that never ends.
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
    /// Kinds that can refuse a prune.
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
