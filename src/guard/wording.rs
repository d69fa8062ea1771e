//! Refusals in words: the cause, and what a person can do.

use std::path::PathBuf;

use crate::guard::cause::{Cause, NoRoom};
use crate::guard::refusal::Refusal;
use crate::model::Observed;
use crate::model::conditions::{Cure, LockKind};
use crate::model::text::{escape, escape_path};
use crate::model::time::span;

impl Refusal {
    /// The fact, the limit and its key in the policy, on one line.
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
                let path = escape_path(path);
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
                format!("deploy lock {} {how}{by}{since}{loud}", escape_path(path))
            }
            Cause::Pull { path, sign } => {
                let path = escape_path(path);
                format!("a pull or load is under way: {path} {sign}{loud}")
            }
            Cause::Build(what) => format!("a build is under way: {what}{loud}"),
            Cause::BuildKit { records, downloads } => {
                let what = buildkit(records, downloads);
                format!("a build is under way: {what}{loud}")
            }
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
                let path = escape_path(path);
                format!("cannot tell whether a pull is under way: {path}: {why}{loud}")
            }
            Cause::Disk(why) => no_room(why),
            Cause::CpuPressure { now, limit } => cpu_pressure(now, *limit),
            Cause::Busy { container, label } => {
                let (container, label) = (container.escaped(), escape(label));
                format!(
                    "the container {container} runs and has the label {label} (restore.busy_labels)"
                )
            }
            Cause::PullsLeft {
                registry,
                left,
                wanted,
            } => format!(
                "{registry} allows {left} more pulls, and {wanted} are left to others (restore.min_pulls_left)"
            ),
        }
    }

    /// What a person can do about it.
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
            Cause::Build(_) | Cause::BuildKit { .. } if self.alert => {
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
            | Cause::BuildKit { .. }
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
            Cause::Disk(NoRoom::Unclear(_)) => {
                "let secateur see the engine's data root (engine.data_root); or set disk.start_above_percent and disk.stop_below_percent to 0, which asks for no room but disk.min_free"
            }
            Cause::Disk(_) => "prune first (`secateur plan` shows what would go), or make room",
            Cause::CpuPressure {
                now: Observed::Unknown(_),
                ..
            } => {
                "set restore.max_cpu_pressure to 100, and it is not asked; or start the kernel with psi=1"
            }
            Cause::CpuPressure { .. } | Cause::Busy { .. } => {
                "nothing to do: the next run asks again"
            }
            Cause::PullsLeft { .. } => {
                "nothing to do: a later run goes on once the registry allows more"
            }
        }
    }
}

/// Names one sign of each kind: a build with many steps has dozens.
fn buildkit(records: &[String], downloads: &[(PathBuf, String)]) -> String {
    let others = |count: usize| if count > 1 { " and others" } else { "" };
    let record = records.iter().min().map(|id| {
        let others = others(records.len());
        format!("BuildKit uses the record {id}{others} of its cache")
    });
    let download = downloads.first().map(|(path, how)| {
        let others = others(downloads.len());
        format!("BuildKit downloads {}{others} ({how})", escape_path(path))
    });
    let both: Vec<String> = record.into_iter().chain(download).collect();
    both.join("; ")
}

fn no_room(why: &NoRoom) -> String {
    match why {
        NoRoom::Above {
            path,
            used_percent,
            limit,
        } => format!(
            "the disk of {} is {used_percent:.1} % full, above {limit} % (disk.stop_below_percent): prune first",
            escape_path(path)
        ),
        NoRoom::Below { path, free, limit } => format!(
            "the disk of {} has {free} free, less than {limit} (disk.min_free): prune first",
            escape_path(path)
        ),
        NoRoom::Unclear(why) => format!("cannot tell whether the disk has room: {why}"),
    }
}

fn cpu_pressure(now: &Observed<f64>, limit: f64) -> String {
    match now {
        Observed::Known(now) => format!(
            "tasks wait for a processor for {now:.1} % of the time, more than {limit} % (restore.max_cpu_pressure)"
        ),
        Observed::Unknown(why) => {
            format!("cannot tell how long tasks wait for a processor (/proc/pressure/cpu): {why}")
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
