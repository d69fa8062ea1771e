//! Whether a run may remove anything at all. Decides from what is going on
//! around the images; only it can make a [`Cleared`], and without one nothing
//! is removed. It never waits, never takes a lock by force, and reads "cannot
//! tell" as no.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::activity::{Cure, LockKind, LockSight, LockState, PullSigns, SignState};
use crate::clock::{Clock, span};
use crate::model::{AtWork, Observed, Swarm};
use crate::plan::Plan;
use crate::policy::{Policy, Pulls};
use crate::text::escape;

/// Why a whole run does nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// A deploy lock is held, or it cannot be told.
    DeployLock {
        /// The lock.
        path: PathBuf,
        /// How it is held.
        kind: LockKind,
        /// By whom, fit to print, where known.
        holder: Option<String>,
        /// Since when, where known.
        held_for: Option<TimeDelta>,
        /// Held for longer than `guard.alert_after`.
        alert: bool,
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
    /// A build is under way.
    Build(String),
    /// Swarm is deploying.
    Deploy(String),
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

/// How many kinds of refusals there are; see [`Refusal::KINDS`].
const REFUSALS: usize = 9;

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

    /// As it stands in JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::DeployLock { .. } => "deploy-lock",
            Self::Pull { .. } => "pull",
            Self::Build(_) => "build",
            Self::Deploy(_) => "deploy",
            Self::OtherRun(_) => "other-run",
            Self::Clock(_) => "clock",
            Self::MaxFraction { .. } => "max-fraction",
            Self::EngineInconsistent(_) => "engine-inconsistent",
            Self::SignsUnreadable { .. } => "signs-unreadable",
        }
    }

    /// Whether both speak of one thing, however long after each other: a lock
    /// is held for a moment longer at each look.
    fn same_cause(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::DeployLock { path, kind, .. },
                Self::DeployLock {
                    path: other_path,
                    kind: other_kind,
                    ..
                },
            ) => path == other_path && kind == other_kind,
            (Self::Pull { path, .. }, Self::Pull { path: other, .. })
            | (Self::SignsUnreadable { path, .. }, Self::SignsUnreadable { path: other, .. }) => {
                path == other
            }
            (Self::Clock(_), Self::Clock(_)) => true,
            _ => self == other,
        }
    }

    /// Whether it will not mend itself, so that a person must look.
    pub fn needs_a_person(&self) -> bool {
        match self {
            Self::MaxFraction { .. } => true,
            Self::DeployLock { alert, .. } => *alert,
            Self::Pull { .. }
            | Self::Build(_)
            | Self::Deploy(_)
            | Self::OtherRun(_)
            | Self::Clock(_)
            | Self::EngineInconsistent(_)
            | Self::SignsUnreadable { .. } => false,
        }
    }

    /// Whether it may be over in a moment, so that it is worth waiting for: a
    /// deploy lock that somebody holds, and not for long as far as is known.
    pub fn may_end_at_any_moment(&self) -> bool {
        match self {
            Self::DeployLock { alert, unclear, .. } => !alert && unclear.is_none(),
            Self::Pull { .. }
            | Self::Build(_)
            | Self::Deploy(_)
            | Self::OtherRun(_)
            | Self::Clock(_)
            | Self::MaxFraction { .. }
            | Self::EngineInconsistent(_)
            | Self::SignsUnreadable { .. } => false,
        }
    }

    /// The fact, the limit, the knob: one line for people.
    pub fn message(&self) -> String {
        match self {
            Self::DeployLock {
                path,
                unclear: Some(why),
                ..
            } => {
                format!(
                    "cannot tell whether the deploy lock {} is held: {why}",
                    shown(path)
                )
            }
            Self::DeployLock {
                path,
                kind,
                holder,
                held_for,
                alert,
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
                let since = held_for
                    .map(|time| format!(", for {}", span(time)))
                    .unwrap_or_default();
                let loud = if *alert {
                    ": longer than guard.alert_after, look whether that deploy is alive"
                } else {
                    ""
                };
                format!("deploy lock {} {how}{by}{since}{loud}", shown(path))
            }
            Self::Pull { path, sign } => {
                format!("a pull or load is under way: {} {sign}", shown(path))
            }
            Self::Build(what) => format!("a build is under way: {what}"),
            Self::Deploy(what) => format!("a deploy is under way: {what}"),
            Self::OtherRun(who) => format!("another run is at work: {who}"),
            Self::Clock(why) => format!("the clock cannot be believed: {why}"),
            Self::MaxFraction { remove, all, limit } => {
                format!(
                    "{remove} of {all} images would go, more than {limit} of them (limits.max_fraction)"
                )
            }
            Self::EngineInconsistent(why) => format!("the engine contradicts itself: {why}"),
            Self::SignsUnreadable { path, why, .. } => {
                format!(
                    "cannot tell whether a pull is under way: {}: {why}",
                    shown(path)
                )
            }
        }
    }

    /// The way out, for people.
    pub fn way_out(&self) -> &'static str {
        match self {
            Self::DeployLock {
                unclear: Some(_), ..
            } => {
                "if the next run says so again, fix the lock's path or permissions, or take it out of [[guard.lock]] if no deploy uses it"
            }
            Self::DeployLock { alert: true, .. } => {
                "if its deploy is dead, end what holds the lock (or delete the file, for kind = \"exists\")"
            }
            Self::DeployLock { .. }
            | Self::Build(_)
            | Self::Deploy(_)
            | Self::OtherRun(_)
            | Self::Pull { .. } => "nothing to do: the next run looks again",
            Self::Clock(_) => {
                "check the host's clock (timedatectl); a later run believes it once it is steady"
            }
            Self::MaxFraction { .. } => {
                "read `secateur plan`; if it is right, raise limits.max_fraction"
            }
            Self::EngineInconsistent(_) => "look at the engine's own log (journalctl -u docker)",
            Self::SignsUnreadable { cure, .. } => match cure {
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
            },
        }
    }
}

fn shown(path: &std::path::Path) -> String {
    escape(&path.to_string_lossy())
}

/// One look at what is going on.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// When.
    pub at: DateTime<Utc>,
    /// What the clocks say.
    pub clock: Clock,
    /// All deploy locks of the policy, with the time since which our own
    /// memory has each seen held.
    pub locks: Vec<(LockSight, Option<DateTime<Utc>>)>,
    /// Signs of pulls.
    pub pulls: PullSigns,
    /// What the engine tells of builds and deploys.
    pub at_work: AtWork,
}

/// Everything that speaks against removing anything now.
pub fn refusals(policy: &Policy, look: &Look) -> Vec<Refusal> {
    let mut found = held_locks(policy, look.at, &look.locks);
    found.extend(pulls(policy, &look.pulls));
    found.extend(engine_at_work(&look.at_work));
    if let Clock::Doubtful { why, .. } = &look.clock {
        found.push(Refusal::Clock(why.clone()));
    }
    found
}

/// The deploy locks that speak against removing anything now: of each sight,
/// with the time since which our own memory has seen it held.
pub fn held_locks(
    policy: &Policy,
    now: DateTime<Utc>,
    locks: &[(LockSight, Option<DateTime<Utc>>)],
) -> Vec<Refusal> {
    locks
        .iter()
        .filter_map(|(sight, seen)| lock(policy, now, sight, *seen))
        .collect()
}

/// What speaks against this plan, whatever goes on around it.
fn plan_refusal(policy: &Policy, plan: &Plan) -> Option<Refusal> {
    let (remove, all, limit) = (
        plan.removals().len(),
        plan.entries().len(),
        policy.limits.max_fraction,
    );
    // Just the fraction is allowed, though 100 * 0.29 is a little less than 29.
    let most = all as f64 * limit + 1e-6;
    (remove as f64 > most).then_some(Refusal::MaxFraction { remove, all, limit })
}

/// All that any of these looks, or the plan itself, speaks against; each once,
/// as the last look saw it.
pub fn against(policy: &Policy, looks: &[Look], plan: &Plan) -> Vec<Refusal> {
    let mut found: Vec<Refusal> = Vec::new();
    let all = looks.iter().flat_map(|look| refusals(policy, look));
    for refusal in all.chain(plan_refusal(policy, plan)) {
        match found.iter_mut().find(|other| other.same_cause(&refusal)) {
            Some(other) => *other = refusal,
            None => found.push(refusal),
        }
    }
    found
}

fn lock(
    policy: &Policy,
    now: DateTime<Utc>,
    sight: &LockSight,
    seen: Option<DateTime<Utc>>,
) -> Option<Refusal> {
    let (holder, since, unclear) = match &sight.state {
        LockState::Absent | LockState::Free => return None,
        // A date that is to come says nothing; our own memory does.
        LockState::Held { holder, since } => {
            let since = since.filter(|since| *since <= now).or(seen);
            (holder.clone(), since, None)
        }
        // Unclear for long is as bad as held for long: it gets as loud.
        LockState::CannotTell(why) => (None, seen, Some(why.clone())),
    };
    let held_for = since.map(|since| (now - since).max(TimeDelta::zero()));
    let alert = held_for
        .and_then(|time| time.to_std().ok())
        .is_some_and(|time: Duration| time > policy.guard.alert_after);
    Some(Refusal::DeployLock {
        path: sight.path.clone(),
        kind: sight.kind,
        holder,
        held_for,
        alert,
        unclear,
    })
}

fn pulls(policy: &Policy, signs: &PullSigns) -> Vec<Refusal> {
    let live = signs.signs.iter().filter_map(|sign| match &sign.state {
        SignState::Live(how) => Some(Refusal::Pull {
            path: sign.path.clone(),
            sign: how.clone(),
        }),
        SignState::Build => Some(Refusal::Build(format!("{} is there", shown(&sign.path)))),
        SignState::Stale { .. } => None,
    });
    let unreadable = signs
        .unreadable
        .iter()
        .filter(|_| policy.guard.pulls == Pulls::Require);
    let unreadable = unreadable.map(|place| Refusal::SignsUnreadable {
        path: place.path.clone(),
        why: place.why.clone(),
        cure: place.cure,
    });
    live.chain(unreadable).collect()
}

/// Builds and deploys that the engine itself tells of.
fn engine_at_work(at_work: &AtWork) -> Vec<Refusal> {
    let mut found = Vec::new();
    match &at_work.builds {
        Observed::Known(builds) => found.extend(builds.iter().cloned().map(Refusal::Build)),
        Observed::Unknown(why) => found.push(Refusal::Build(format!("cannot be told: {why}"))),
    }
    match &at_work.swarm {
        Swarm::Manager { under_way, .. } => {
            found.extend(under_way.iter().cloned().map(Refusal::Deploy));
        }
        Swarm::Unreadable(why) => found.push(Refusal::Deploy(format!("cannot be told: {why}"))),
        Swarm::Inactive | Swarm::Worker => {}
    }
    found
}

/// A plan that nothing speaks against. Made here alone, used up by `prune`.
#[derive(Debug)]
pub struct Cleared(Plan);

impl Cleared {
    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.0
    }
}

/// Clears a plan that nothing speaks against.
pub fn clear(policy: &Policy, looks: &[Look], plan: Plan) -> Result<Cleared, Vec<Refusal>> {
    let found = against(policy, looks, &plan);
    if found.is_empty() {
        Ok(Cleared(plan))
    } else {
        Err(found)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::activity::{PullSign, Unreadable};
    use crate::decide::{Trust, decide};
    use crate::ledger::Ledger;
    use crate::testing::{at, clock, image, inventory};

    const POLICY: &str = "[age]\nmin_age = \"1s\"\n[guard]\nalert_after = \"60s\"\n";

    fn policy(more: &str) -> Policy {
        Policy::parse(&format!("{POLICY}{more}"), "test").unwrap()
    }

    #[test]
    fn one_cause_at_two_looks_is_one_whatever_else_is_said_of_it() {
        let lock = |path: &str, held| Refusal::DeployLock {
            path: path.into(),
            kind: LockKind::Flock,
            holder: None,
            held_for: Some(TimeDelta::seconds(held)),
            alert: false,
            unclear: None,
        };
        let pull = |path: &str, sign: &str| Refusal::Pull {
            path: path.into(),
            sign: sign.into(),
        };
        let unreadable = |path: &str, why: &str| Refusal::SignsUnreadable {
            path: path.into(),
            why: why.into(),
            cure: crate::activity::Cure::Permission,
        };
        let jump = |why: &str| Refusal::Clock(why.into());
        assert!(lock("/a", 1).same_cause(&lock("/a", 2)));
        assert!(!lock("/a", 1).same_cause(&lock("/b", 1)));
        assert!(pull("/a", "x").same_cause(&pull("/a", "y")));
        assert!(!pull("/a", "x").same_cause(&pull("/b", "x")));
        assert!(unreadable("/a", "x").same_cause(&unreadable("/a", "y")));
        assert!(!unreadable("/a", "x").same_cause(&pull("/a", "x")));
        assert!(jump("1 s").same_cause(&jump("2 s")));
    }

    /// A look at which nothing goes on.
    fn quiet() -> Look {
        Look {
            at: at(100),
            clock: Clock::Sound,
            locks: Vec::new(),
            pulls: PullSigns::default(),
            at_work: inventory([]).at_work,
        }
    }

    fn with_lock(kind: LockKind, state: LockState, seen: Option<DateTime<Utc>>) -> Look {
        Look {
            locks: vec![(
                LockSight {
                    path: "/l".into(),
                    kind,
                    state,
                },
                seen,
            )],
            ..quiet()
        }
    }

    fn held(since: Option<DateTime<Utc>>) -> LockState {
        LockState::Held {
            holder: None,
            since,
        }
    }

    /// A plan that removes this many of so many images.
    fn plan(remove: u64, all: u64) -> Plan {
        let mut host = inventory((0..all).map(image));
        for image in host
            .images
            .values_mut()
            .skip(usize::try_from(remove).unwrap())
        {
            image.tags.insert("keep:1".parse().unwrap());
        }
        let ledger = Ledger::empty("e").observe(&host, &clock(0, 0, "a"), TimeDelta::zero());
        host.taken_at = at(50);
        let ledger = ledger.observe(&host, &clock(50, 50, "a"), TimeDelta::zero());
        let eager =
            "[age]\nmin_age = \"1s\"\n[disk]\nstart_above_percent = 0\nstop_below_percent = 0";
        let plan = decide(
            &Policy::parse(eager, "t").unwrap(),
            &host,
            &ledger,
            Trust::OwnMemory,
        );
        assert_eq!(plan.removals().len() as u64, remove);
        plan
    }

    fn kinds(refusals: &[Refusal]) -> Vec<&'static str> {
        refusals.iter().map(Refusal::kind).collect()
    }

    #[test]
    fn a_date_of_a_lock_that_is_to_come_does_not_hide_how_long_it_was_seen_held() {
        let held = with_lock(LockKind::Exists, held(Some(at(5000))), Some(at(10)));
        assert!(refusals(&policy(""), &held)[0].needs_a_person());
    }

    #[test]
    fn a_quiet_host_is_cleared() {
        assert!(clear(&policy(""), &[quiet()], plan(1, 2)).is_ok());
        let free = with_lock(LockKind::Flock, LockState::Free, None);
        assert!(
            clear(&policy(""), &[free], plan(1, 2)).is_ok(),
            "a lock file that nobody holds"
        );
        let absent = with_lock(LockKind::Exists, LockState::Absent, None);
        assert!(clear(&policy(""), &[absent], plan(1, 2)).is_ok());
    }

    #[test]
    fn one_look_of_several_is_enough_to_refuse() {
        let locked = with_lock(LockKind::Flock, held(None), None);
        let refused =
            clear(&policy(""), &[locked.clone(), quiet(), locked], plan(1, 2)).unwrap_err();
        assert_eq!(kinds(&refused), ["deploy-lock"], "and it is said once");
    }

    #[test]
    fn a_lock_that_cannot_be_told_is_not_free() {
        let unclear = with_lock(LockKind::Flock, LockState::CannotTell("EIO".into()), None);
        let refused = refusals(&policy(""), &unclear);
        assert_eq!(kinds(&refused), ["deploy-lock"]);
        assert!(refused[0].message().contains("EIO"));
    }

    #[test]
    fn a_lock_gets_loud_when_it_is_held_for_too_long() {
        let loud = |state, seen| {
            refusals(&policy(""), &with_lock(LockKind::Exists, state, seen))[0].needs_a_person()
        };
        assert!(
            !loud(held(Some(at(40))), None),
            "60 s are not longer than 60 s"
        );
        assert!(loud(held(Some(at(39))), None));
        assert!(loud(held(None), Some(at(39))), "by our own memory");
        assert!(!loud(held(None), None), "nobody knows for how long");
        assert!(!loud(held(Some(at(500))), None), "since a moment to come");
        assert!(loud(LockState::CannotTell("EIO".into()), Some(at(0))));
    }

    #[test]
    fn a_stale_sign_refuses_nothing_and_a_live_one_does() {
        let with = |state| {
            let signs = vec![PullSign {
                path: "/s".into(),
                state,
            }];
            Look {
                pulls: PullSigns {
                    signs,
                    unreadable: vec![],
                },
                ..quiet()
            }
        };
        let live = with(SignState::Live("is open".into()));
        assert_eq!(kinds(&refusals(&policy(""), &live)), ["pull"]);
        let stale = with(SignState::Stale {
            quiet: Duration::from_secs(90),
        });
        assert!(refusals(&policy(""), &stale).is_empty());
    }

    #[test]
    fn signs_that_cannot_be_read_refuse_unless_the_policy_goes_on_without() {
        let unreadable = vec![Unreadable {
            path: "/s".into(),
            why: "EACCES".into(),
            cure: Cure::Permission,
        }];
        let blind = Look {
            pulls: PullSigns {
                signs: vec![],
                unreadable,
            },
            ..quiet()
        };
        assert_eq!(
            kinds(&refusals(&policy("pulls = \"require\""), &blind)),
            ["signs-unreadable"]
        );
        assert!(refusals(&policy("pulls = \"best-effort\""), &blind).is_empty());
    }

    #[test]
    fn more_than_the_fraction_is_refused_and_just_the_fraction_is_not() {
        let limit = policy("[limits]\nmax_fraction = 0.5");
        assert!(clear(&limit, &[quiet()], plan(2, 4)).is_ok());
        let refused = clear(&limit, &[quiet()], plan(3, 4)).unwrap_err();
        assert_eq!(kinds(&refused), ["max-fraction"]);
        assert!(refused[0].needs_a_person());
        let limit = policy("[limits]\nmax_fraction = 0.29");
        assert!(clear(&limit, &[quiet()], plan(29, 100)).is_ok());
        assert!(clear(&limit, &[quiet()], plan(30, 100)).is_err());
    }

    #[test]
    fn every_kind_of_refusal_is_produced_and_says_the_way_out() {
        let manager = |under_way: Vec<String>| AtWork {
            swarm: Swarm::Manager {
                images: vec![],
                under_way,
            },
            builds: Observed::Known(vec!["build record x is in use".into()]),
        };
        let mut busy = with_lock(LockKind::Exists, held(None), None);
        busy.clock = Clock::Doubtful {
            why: "back".into(),
            shift: TimeDelta::zero(),
        };
        busy.pulls.signs.push(PullSign {
            path: "/s".into(),
            state: SignState::Live("is open".into()),
        });
        busy.pulls.unreadable.push(Unreadable {
            path: "/u".into(),
            why: "EACCES".into(),
            cure: Cure::Permission,
        });
        busy.at_work = manager(vec!["service web: update is paused".into()]);
        let mut all = clear(&policy(""), &[busy], plan(2, 2)).unwrap_err();
        // Made where the run lock is taken and where the engine is read.
        all.push(Refusal::OtherRun("pid 1".into()));
        all.push(Refusal::EngineInconsistent("none of 3".into()));
        let seen: BTreeSet<_> = all.iter().map(Refusal::kind).collect();
        let missing: Vec<_> = Refusal::KINDS
            .iter()
            .filter(|kind| !seen.contains(*kind))
            .collect();
        assert!(missing.is_empty(), "no test makes {missing:?}");
        // A lock that is held for too long ends otherwise.
        let old = with_lock(LockKind::Exists, held(Some(at(0))), None);
        all.extend(refusals(&policy(""), &old));
        let page = include_str!("../docs/refusals.md");
        let mut codes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for refusal in &all {
            assert!(!refusal.message().is_empty() && !refusal.way_out().is_empty());
            let code = crate::outcome::refused(std::slice::from_ref(refusal)) as u8;
            codes
                .entry(refusal.kind())
                .or_default()
                .push(code.to_string());
        }
        for (kind, codes) in codes {
            let row = format!("| [{kind}](#{kind}) | {} |", codes.join(", then "));
            assert!(page.contains(&row), "docs/refusals.md: {row}");
        }
    }

    #[test]
    fn what_the_engine_cannot_tell_of_its_work_refuses() {
        let mut look = quiet();
        look.at_work.builds = Observed::Unknown("503".into());
        assert_eq!(kinds(&refusals(&policy(""), &look)), ["build"]);
        look = quiet();
        look.at_work.swarm = Swarm::Unreadable("locked".into());
        assert_eq!(kinds(&refusals(&policy(""), &look)), ["deploy"]);
    }
}

/// Nothing else is at work on the images: no deploy, build or pull. Made here
/// alone; without one, `verify-cache --redeploy` pulls nothing.
#[derive(Debug)]
pub struct Undisturbed(());

/// Finds that nothing is at work, or says all that is.
pub fn undisturbed(policy: &Policy, look: &Look) -> Result<Undisturbed, Vec<Refusal>> {
    let found = refusals(policy, look);
    if found.is_empty() {
        Ok(Undisturbed(()))
    } else {
        Err(found)
    }
}
