//! Whether a run may remove anything at all. Decides from what is going on
//! around the images; only it can make a [`Cleared`], and without one nothing
//! is removed. It never waits, never takes a lock by force, and reads "cannot
//! tell" as no.

mod refusal;

use chrono::{DateTime, TimeDelta, Utc};

use crate::decide::plan::Plan;
use crate::exit::Exit;
use crate::memory::clock::Clock;
use crate::model::conditions::{LockSight, LockState, PullSigns, SignState, Standing};
use crate::model::{AtWork, Observed, Swarm};
use crate::policy::{Policy, Pulls};

pub use refusal::{Cause, Refusal};

/// One look at what is going on.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// When.
    pub at: DateTime<Utc>,
    /// What the clocks say.
    pub clock: Clock,
    /// All deploy locks of the policy.
    pub locks: Vec<LockSight>,
    /// Signs of pulls.
    pub pulls: PullSigns,
    /// What the engine tells of builds and deploys.
    pub at_work: AtWork,
    /// What our own memory has of earlier looks.
    pub standing: Standing,
}

/// Everything that speaks against removing anything now.
pub fn refusals(policy: &Policy, look: &Look) -> Vec<Refusal> {
    let standing = without_jump(look);
    let mut found = held_locks(policy, look.at, &look.locks, &standing);
    let mut causes = pulls(policy, &look.pulls);
    causes.extend(engine_at_work(&look.at_work));
    if let Clock::Doubtful { why, .. } = &look.clock {
        causes.push(Cause::Clock(why.clone()));
    }
    found.extend(causes.into_iter().map(|cause| {
        let since = standing.get(&cause.identity()).copied();
        Refusal::lasting(cause, since, look.at, policy.guard.alert_after)
    }));
    found
}

/// What our own memory has, less the time that a clock gained which jumped: it did
/// not pass. For how long the clock jumps has nothing else to be told by.
fn without_jump(look: &Look) -> Standing {
    let gained = match &look.clock {
        Clock::Doubtful { shift, .. } => *shift,
        Clock::Sound => TimeDelta::zero(),
    };
    let clock = Cause::Clock(String::new()).identity();
    let moved = |(what, since): (&String, &DateTime<Utc>)| {
        let later = since.checked_add_signed(gained).unwrap_or(look.at);
        let since = if *what == clock { *since } else { later };
        (what.clone(), since.min(look.at))
    };
    look.standing.iter().map(moved).collect()
}

/// What is to be remembered of a look.
pub fn standing(policy: &Policy, look: &Look) -> Standing {
    let mut longest: Vec<(DateTime<Utc>, String)> = refusals(policy, look)
        .into_iter()
        .map(|refusal| {
            let since = refusal.since.unwrap_or(look.at).min(look.at);
            (since, refusal.cause.identity())
        })
        .collect();
    longest.sort();
    longest.truncate(STANDING);
    longest.into_iter().map(|(at, what)| (what, at)).collect()
}

/// So many things are remembered, those that have lasted longest: one of them is
/// enough to refuse, and others choose how many there are.
const STANDING: usize = 100;

/// The deploy locks that speak against removing anything now.
pub fn held_locks(
    policy: &Policy,
    now: DateTime<Utc>,
    locks: &[LockSight],
    standing: &Standing,
) -> Vec<Refusal> {
    locks
        .iter()
        .filter_map(|sight| lock(policy, now, sight, standing))
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
    let cause = Cause::MaxFraction { remove, all, limit };
    (remove as f64 > most).then(|| cause.into())
}

/// All that any of these looks, or the plan itself, speaks against; each once,
/// as the last look saw it.
pub fn against(policy: &Policy, looks: &[Look], plan: &Plan) -> Vec<Refusal> {
    let mut found: Vec<Refusal> = Vec::new();
    let all = looks.iter().flat_map(|look| refusals(policy, look));
    for refusal in all.chain(plan_refusal(policy, plan)) {
        let same = |other: &&mut Refusal| other.cause.identity() == refusal.cause.identity();
        match found.iter_mut().find(same) {
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
    standing: &Standing,
) -> Option<Refusal> {
    // Unclear for long is as bad as held for long: it gets as loud.
    let (holder, dated, unclear) = match &sight.state {
        LockState::Absent | LockState::Free => return None,
        LockState::Held { holder, since } => (holder.clone(), *since, None),
        LockState::CannotTell(why) => (None, None, Some(why.clone())),
    };
    let cause = Cause::DeployLock {
        path: sight.path.clone(),
        kind: sight.kind,
        holder,
        unclear,
    };
    // A date that is to come says nothing; our own memory does.
    let dated = dated.filter(|since| *since <= now);
    let since = dated.or_else(|| standing.get(&cause.identity()).copied());
    let after = policy.guard.alert_after;
    Some(Refusal::lasting(cause, since, now, after))
}

fn pulls(policy: &Policy, signs: &PullSigns) -> Vec<Cause> {
    let live = signs.signs.iter().filter_map(|sign| match &sign.state {
        SignState::Live(how) => Some(Cause::Pull {
            path: sign.path.clone(),
            sign: how.clone(),
        }),
        SignState::Build => {
            let path = crate::model::text::escape(&sign.path.to_string_lossy());
            Some(Cause::Build(format!("{path} is there")))
        }
        SignState::Stale { .. } => None,
    });
    let unreadable = signs
        .unreadable
        .iter()
        .filter(|_| policy.guard.pulls == Pulls::Require);
    let unreadable = unreadable.map(|place| Cause::SignsUnreadable {
        path: place.path.clone(),
        why: place.why.clone(),
        cure: place.cure,
    });
    live.chain(unreadable).collect()
}

/// Builds and deploys that the engine itself tells of.
fn engine_at_work(at_work: &AtWork) -> Vec<Cause> {
    let mut found = Vec::new();
    match &at_work.builds {
        Observed::Known(builds) => found.extend(builds.iter().cloned().map(Cause::Build)),
        Observed::Unknown(why) => found.push(Cause::BuildUnclear(why.clone())),
    }
    match &at_work.swarm {
        Swarm::Manager { under_way, .. } => {
            let moving = under_way.iter().filter(|deploy| !deploy.stuck);
            found.extend(moving.map(|deploy| Cause::Deploy {
                service: deploy.service.raw().to_owned(),
                what: deploy.what.clone(),
            }));
        }
        Swarm::Unreadable(why) => found.push(Cause::DeployUnclear(why.clone())),
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

/// The exit code of a refusal: the loudest of its reasons.
pub fn exit(refusals: &[Refusal]) -> Exit {
    let inconsistent = refusals
        .iter()
        .any(|refusal| matches!(refusal.cause, Cause::EngineInconsistent(_)));
    if inconsistent {
        Exit::Engine
    } else if refusals.iter().any(Refusal::needs_a_person) {
        Exit::NeedsAPerson
    } else {
        Exit::RefusedForNow
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use std::time::Duration;

    use super::*;
    use crate::decide::{Trust, decide};
    use crate::memory::ledger::Ledger;
    use crate::model::Deploy;
    use crate::model::conditions::{Cure, LockKind, PullSign, Unreadable};
    use crate::model::text::Untrusted;
    use crate::testing::{at, clock, image, inventory};

    const POLICY: &str = "[age]\nmin_age = \"1s\"\n[guard]\nalert_after = \"60s\"\n";

    fn policy(more: &str) -> Policy {
        Policy::parse(&format!("{POLICY}{more}"), "test").unwrap()
    }

    #[test]
    fn one_cause_at_two_looks_is_one_whatever_else_is_said_of_it() {
        let lock = |path: &str, kind, holder: &str| Cause::DeployLock {
            path: path.into(),
            kind,
            holder: Some(holder.into()),
            unclear: None,
        };
        let pull = |path: &str, sign: &str| Cause::Pull {
            path: path.into(),
            sign: sign.into(),
        };
        let unreadable = |path: &str, why: &str| Cause::SignsUnreadable {
            path: path.into(),
            why: why.into(),
            cure: Cure::Permission,
        };
        let deploy = |service: &str, what: &str| Cause::Deploy {
            service: service.into(),
            what: what.into(),
        };
        let same = |one: Cause, other: Cause| one.identity() == other.identity();
        let flock = LockKind::Flock;
        assert!(same(lock("/a", flock, "x"), lock("/a", flock, "y")));
        assert!(!same(lock("/a", flock, "x"), lock("/b", flock, "x")));
        assert!(!same(
            lock("/a", flock, "x"),
            lock("/a", LockKind::Exists, "x")
        ));
        assert!(same(pull("/a", "x"), pull("/a", "y")));
        assert!(!same(pull("/a", "x"), pull("/b", "x")));
        assert!(same(unreadable("/a", "x"), unreadable("/a", "y")));
        assert!(!same(unreadable("/a", "x"), pull("/a", "x")));
        assert!(same(deploy("web", "task a"), deploy("web", "task b")));
        assert!(!same(deploy("web", "x"), deploy("db", "x")));
        assert!(same(Cause::Clock("1 s".into()), Cause::Clock("2 s".into())));
    }

    /// A look at which nothing goes on.
    fn quiet() -> Look {
        Look {
            at: at(100),
            clock: Clock::Sound,
            locks: Vec::new(),
            pulls: PullSigns::default(),
            at_work: inventory([]).at_work,
            standing: Standing::new(),
        }
    }

    fn with_lock(kind: LockKind, state: LockState, seen: Option<DateTime<Utc>>) -> Look {
        let mut look = Look {
            locks: vec![LockSight {
                path: "/l".into(),
                kind,
                state,
            }],
            ..quiet()
        };
        let what = held_locks(&policy(""), look.at, &look.locks, &Standing::new());
        let what = what.into_iter().zip(seen);
        look.standing = what.map(|(lock, at)| (lock.cause.identity(), at)).collect();
        look
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
        let manager = AtWork {
            swarm: Swarm::Manager {
                images: vec![],
                under_way: vec![deploy("web", false)],
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
        busy.at_work = manager;
        let mut all = clear(&policy(""), &[busy.clone()], plan(2, 2)).unwrap_err();
        // Made where the run lock is taken and where the engine is read.
        all.push(Cause::OtherRun("pid 1".into()).into());
        all.push(Cause::EngineInconsistent("none of 3".into()).into());
        let seen: BTreeSet<_> = all.iter().map(Refusal::kind).collect();
        let missing: Vec<_> = Refusal::KINDS
            .iter()
            .filter(|kind| !seen.contains(*kind))
            .collect();
        assert!(missing.is_empty(), "no test makes {missing:?}");
        // What lasts for too long ends otherwise, but what is loud from the beginning.
        busy.standing = standing(&policy(""), &busy);
        busy.at = at(1000);
        all.extend(refusals(&policy(""), &busy));
        let other = Cause::OtherRun("pid 1".into());
        all.push(Refusal::lasting(
            other,
            Some(at(0)),
            at(1000),
            Duration::from_secs(60),
        ));
        let page = include_str!("../../docs/refusals.md");
        let mut codes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for refusal in &all {
            assert!(!refusal.message().is_empty() && !refusal.way_out().is_empty());
            let code = exit(std::slice::from_ref(refusal)) as u8;
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

    fn deploy(service: &str, stuck: bool) -> Deploy {
        Deploy {
            service: Untrusted::new(service),
            what: "update is updating".into(),
            stuck,
        }
    }

    /// All that can last for ever, at one look.
    fn endless() -> Look {
        let mut look = with_lock(LockKind::Flock, held(None), None);
        look.clock = Clock::Doubtful {
            why: "back".into(),
            shift: TimeDelta::zero(),
        };
        look.pulls.signs.push(PullSign {
            path: "/s".into(),
            state: SignState::Live("is open".into()),
        });
        look.pulls.unreadable.push(Unreadable {
            path: "/u".into(),
            why: "EACCES".into(),
            cure: Cure::Permission,
        });
        look.at_work = AtWork {
            swarm: Swarm::Manager {
                images: vec![],
                under_way: vec![deploy("web", false)],
            },
            builds: Observed::Known(vec!["build record x is in use".into()]),
        };
        look
    }

    #[test]
    fn whatever_lasts_for_too_long_wants_a_person_and_is_never_left_to_the_next_run() {
        let mut first = endless();
        let fresh = refusals(&policy(""), &first);
        assert_eq!(fresh.len(), 6);
        assert!(!fresh.iter().any(Refusal::needs_a_person));
        first.standing = standing(&policy(""), &first);
        first.at = at(160);
        assert!(
            !refusals(&policy(""), &first)
                .iter()
                .any(Refusal::needs_a_person),
            "60 s are not longer than 60 s"
        );
        first.at = at(161);
        for refusal in refusals(&policy(""), &first) {
            let (kind, way_out) = (refusal.kind(), refusal.way_out());
            assert!(refusal.needs_a_person(), "{kind}");
            assert!(refusal.message().contains("guard.alert_after"), "{kind}");
            assert!(!way_out.contains("nothing to do"), "{kind}: {way_out}");
        }
    }

    #[test]
    fn what_was_not_there_at_one_look_begins_anew() {
        let mut look = endless();
        look.standing = standing(&policy(""), &quiet());
        look.at = at(1000);
        assert!(
            !refusals(&policy(""), &look)
                .iter()
                .any(Refusal::needs_a_person)
        );
    }

    #[test]
    fn time_that_a_clock_gained_by_a_jump_did_not_pass() {
        let mut look = endless();
        look.standing = standing(&policy(""), &look);
        let jump = TimeDelta::days(10);
        look.at = at(110) + jump;
        look.clock = Clock::Doubtful {
            why: "it moved on".into(),
            shift: jump,
        };
        look.locks.clear();
        let loud: Vec<_> = refusals(&policy(""), &look)
            .into_iter()
            .filter(Refusal::needs_a_person)
            .map(|refusal| refusal.kind())
            .collect();
        assert_eq!(loud, ["clock"]);
    }

    #[test]
    fn of_very_many_things_those_that_last_longest_are_remembered() {
        let builds = |from: usize, to: usize| {
            let mut look = quiet();
            look.at_work.builds = Observed::Known((from..to).map(|n| format!("{n:05}")).collect());
            look
        };
        let mut look = builds(5000, 5050);
        let old = standing(&policy(""), &look);
        look = builds(0, 10_000);
        look.at = at(200);
        look.standing = old.clone();
        let kept = standing(&policy(""), &look);
        assert_eq!(kept.len(), STANDING);
        assert!(old.iter().all(|(what, at)| kept.get(what) == Some(at)));
    }

    #[test]
    fn a_service_that_cannot_move_is_no_deploy() {
        let mut look = quiet();
        look.at_work.swarm = Swarm::Manager {
            images: vec![],
            under_way: vec![deploy("web", true)],
        };
        assert!(refusals(&policy(""), &look).is_empty());
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
