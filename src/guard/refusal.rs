//! Why a run does nothing: the causes, their words, and what a person should do.
//! Decides which cause is the same at two looks, and when one has lasted for so
//! long that it will not mend itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::memory::clock::span;
use crate::model::conditions::{Cure, LockKind};
use crate::model::text::escape;

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
    /// A build is under way: what the engine says of it, fit to print.
    Build(String),
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
    /// however it is worded at each look.
    pub fn identity(&self) -> String {
        let kind = self.kind();
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
            Self::BuildUnclear(_)
            | Self::DeployUnclear(_)
            | Self::OtherRun(_)
            | Self::Clock(_)
            | Self::MaxFraction { .. }
            | Self::EngineInconsistent(_) => kind.to_owned(),
        }
    }

    /// As it stands in JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::DeployLock { .. } => "deploy-lock",
            Self::Pull { .. } => "pull",
            Self::Build(_) | Self::BuildUnclear(_) => "build",
            Self::Deploy { .. } | Self::DeployUnclear(_) => "deploy",
            Self::OtherRun(_) => "other-run",
            Self::Clock(_) => "clock",
            Self::MaxFraction { .. } => "max-fraction",
            Self::EngineInconsistent(_) => "engine-inconsistent",
            Self::SignsUnreadable { .. } => "signs-unreadable",
        }
    }
}

/// How many kinds of refusals there are; see [`Refusal::KINDS`].
const REFUSALS: usize = 9;

/// Why a whole run does nothing, and for how long that has been so.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// What speaks against it.
    pub cause: Cause,
    /// Since when, as far as it is known.
    pub since: Option<DateTime<Utc>>,
    /// For how long, as far as it is known.
    pub lasted: Option<TimeDelta>,
    /// For longer than `guard.alert_after`.
    pub alert: bool,
}

impl From<Cause> for Refusal {
    /// One of which nobody knows for how long it has been so.
    fn from(cause: Cause) -> Self {
        Self {
            cause,
            since: None,
            lasted: None,
            alert: false,
        }
    }
}

impl Refusal {
    /// All kinds, in the order of the contract.
    pub const KINDS: [&'static str; REFUSALS] = [
        "deploy-lock",
        "pull",
        "build",
        "deploy",
        "other-run",
        "clock",
        "max-fraction",
        "engine-inconsistent",
        "signs-unreadable",
    ];

    /// One that has been so since a moment, if it is known.
    pub fn lasting(
        cause: Cause,
        since: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        alert_after: Duration,
    ) -> Self {
        let lasted = since.map(|since| (now - since).max(TimeDelta::zero()));
        let alert = lasted
            .and_then(|time| time.to_std().ok())
            .is_some_and(|time| time > alert_after);
        Self {
            cause,
            since,
            lasted,
            alert,
        }
    }

    /// As it stands in JSON.
    pub fn kind(&self) -> &'static str {
        self.cause.kind()
    }

    /// Whether it will not mend itself, so that a person must look.
    pub fn needs_a_person(&self) -> bool {
        matches!(self.cause, Cause::MaxFraction { .. }) || self.alert
    }

    /// Whether it may be over in a moment, so that it is worth waiting for: a
    /// deploy lock that somebody holds, and not for long as far as is known.
    pub fn may_end_at_any_moment(&self) -> bool {
        match &self.cause {
            Cause::DeployLock { unclear, .. } => !self.alert && unclear.is_none(),
            Cause::Pull { .. }
            | Cause::Build(_)
            | Cause::BuildUnclear(_)
            | Cause::Deploy { .. }
            | Cause::DeployUnclear(_)
            | Cause::OtherRun(_)
            | Cause::Clock(_)
            | Cause::MaxFraction { .. }
            | Cause::EngineInconsistent(_)
            | Cause::SignsUnreadable { .. } => false,
        }
    }

    /// The fact, the limit, the knob: one line for people.
    pub fn message(&self) -> String {
        let time = self.lasted.filter(|_| self.alert).map(span);
        let loud = time.map(|time| format!(", for {time}: longer than guard.alert_after"));
        let loud = loud.unwrap_or_default();
        match &self.cause {
            Cause::DeployLock {
                path,
                unclear: Some(why),
                ..
            } => {
                let path = shown(path);
                format!("cannot tell whether the deploy lock {path} is held: {why}{loud}")
            }
            Cause::DeployLock {
                path,
                kind,
                holder,
                unclear: None,
            } => {
                let how = match kind {
                    LockKind::Exists => "is there",
                    LockKind::Flock => "is held",
                };
                let by = holder
                    .as_ref()
                    .map(|who| format!(" by {who}"))
                    .unwrap_or_default();
                let since = self
                    .lasted
                    .map(|time| format!(", for {}", span(time)))
                    .unwrap_or_default();
                let loud = if self.alert {
                    ": longer than guard.alert_after, look whether that deploy is alive"
                } else {
                    ""
                };
                format!("deploy lock {} {how}{by}{since}{loud}", shown(path))
            }
            Cause::Pull { path, sign } => {
                let path = shown(path);
                format!("a pull or load is under way: {path} {sign}{loud}")
            }
            Cause::Build(what) => format!("a build is under way: {what}{loud}"),
            Cause::BuildUnclear(why) => {
                format!("cannot tell whether a build is under way: {why}{loud}")
            }
            Cause::Deploy { service, what } => {
                let service = escape(service);
                format!("a deploy is under way: service {service}: {what}{loud}")
            }
            Cause::DeployUnclear(why) => {
                format!("cannot tell whether a deploy is under way: {why}{loud}")
            }
            Cause::OtherRun(who) => format!("another run is at work: {who}{loud}"),
            Cause::Clock(why) => format!("the clock cannot be believed: {why}{loud}"),
            Cause::MaxFraction { remove, all, limit } => {
                format!(
                    "{remove} of {all} images would go, more than {limit} of them (limits.max_fraction)"
                )
            }
            Cause::EngineInconsistent(why) => format!("the engine contradicts itself: {why}"),
            Cause::SignsUnreadable { path, why, .. } => {
                let path = shown(path);
                format!("cannot tell whether a pull is under way: {path}: {why}{loud}")
            }
        }
    }

    /// The way out, for people.
    pub fn way_out(&self) -> &'static str {
        const LATER: &str = "nothing to do: the next run looks again";
        match &self.cause {
            Cause::DeployLock {
                unclear: Some(_), ..
            } => {
                "if the next run says so again, fix the lock's path or permissions, or take it out of [[guard.lock]] if no deploy uses it"
            }
            Cause::DeployLock { .. } if self.alert => {
                "if its deploy is dead, end what holds the lock (or delete the file, for kind = \"exists\")"
            }
            Cause::Pull { .. } if self.alert => {
                "see which process has that file open (fuser -v FILE, as root); if none pulls, loads or saves any more, restart the engine when that does no harm"
            }
            Cause::Build(_) if self.alert => {
                "if nothing builds any more (docker ps, docker buildx ls), restart the engine when that does no harm"
            }
            Cause::Deploy { .. } if self.alert => {
                "see what holds it up (docker service ps --no-trunc SERVICE), then let it end, go back (docker service update --rollback SERVICE) or remove the service"
            }
            Cause::OtherRun(_) if self.alert => {
                "see what that process does: let it go on (kill -CONT PID) or end it (kill PID); the lock goes with it"
            }
            Cause::DeployLock { .. }
            | Cause::Build(_)
            | Cause::Deploy { .. }
            | Cause::OtherRun(_)
            | Cause::Pull { .. } => LATER,
            Cause::BuildUnclear(_) => {
                "if the next run says so again, look at the engine's own log (journalctl -u docker)"
            }
            Cause::DeployUnclear(_) => {
                "look at this node's swarm (docker info): a locked one wants `docker swarm unlock`, one that is lost `docker swarm leave`"
            }
            Cause::Clock(_) => {
                "check the host's clock (timedatectl); a later run believes it once it is steady"
            }
            Cause::MaxFraction { .. } => {
                "read `secateur plan`; if it is right, raise limits.max_fraction"
            }
            Cause::EngineInconsistent(_) => "look at the engine's own log (journalctl -u docker)",
            Cause::SignsUnreadable { cure, .. } => way_to_read(*cure),
        }
    }
}

fn way_to_read(cure: Cure) -> &'static str {
    match cure {
        Cure::Permission => {
            "this does not mend itself: run as root; a unit that does needs CapabilityBoundingSet=CAP_DAC_READ_SEARCH (systemctl edit secateur), one with User= AmbientCapabilities=CAP_DAC_READ_SEARCH, too; or let guard.pulls = \"best-effort\" go on without"
        }
        Cure::DataRoot => {
            "this does not mend itself: mount the engine's data root where secateur runs (read-only is enough), and name it in engine.data_root if it is at another path there; or let guard.pulls = \"best-effort\" go on without"
        }
        Cure::ContainerdRoot => {
            "this does not mend itself: secateur looks where /etc/containerd/config.toml has its root; if containerd's is elsewhere, make this path a link to it (in a container: mount it, and that file)"
        }
        Cure::Downloads => {
            "this does not mend itself: make that folder a link to the one that DOCKER_TMPDIR names; or let guard.pulls = \"best-effort\" go on without"
        }
        Cure::Fewer => {
            "this does not mend itself: delete what was left there, while the engine is stopped; or let guard.pulls = \"best-effort\" go on without"
        }
        Cure::NoDaemon => {
            "this does not mend itself: secateur only plans for Podman; check an image with `secateur plan --explain ID`, then `podman image rm ID`"
        }
    }
}

fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy())
}
