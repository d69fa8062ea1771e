use std::collections::{BTreeMap, BTreeSet};

use std::time::Duration;

use super::*;
use crate::decide::{Trust, decide};
use crate::memory::ledger::Ledger;
use crate::model::conditions::{Cure, LockKind, PullSign, Unreadable};
use crate::model::text::Untrusted;
use crate::model::{Bytes, Deploy};
use crate::testing::{at, clock, image, inventory};

const POLICY: &str = "[age]\nmin_age = \"1s\"\n[guard]\nalert_after = \"60s\"\n";

fn policy(more: &str) -> Policy {
    Policy::parse(&format!("{POLICY}{more}"), "test").unwrap()
}

#[test]
fn one_cause_at_two_surveys_is_one_whatever_else_is_said_of_it() {
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

/// A moment at which nothing goes on.
fn quiet() -> Activity {
    Activity {
        at: at(100),
        clock: Clock::Sound,
        locks: Vec::new(),
        pulls: PullSigns::default(),
        at_work: inventory([]).at_work,
        causes_since: CausesSince::new(),
    }
}

fn with_lock(kind: LockKind, state: LockState, seen: Option<DateTime<Utc>>) -> Activity {
    let mut activity = Activity {
        locks: vec![LockReading {
            path: "/l".into(),
            kind,
            state,
        }],
        ..quiet()
    };
    let what = held_locks(
        &policy(""),
        activity.at,
        &activity.locks,
        &CausesSince::new(),
    );
    let what = what.into_iter().zip(seen);
    activity.causes_since = what.map(|(lock, at)| (lock.cause.identity(), at)).collect();
    activity
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
    let eager = "[age]\nmin_age = \"1s\"\n[disk]\nstart_above_percent = 0\nstop_below_percent = 0";
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
    refusals
        .iter()
        .map(|refusal| refusal.kind().name())
        .collect()
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
fn one_survey_of_several_is_enough_to_refuse() {
    let locked = with_lock(LockKind::Flock, held(None), None);
    let refused = clear(&policy(""), &[locked.clone(), quiet(), locked], plan(1, 2)).unwrap_err();
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
        Activity {
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
    let blind = Activity {
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

fn of_restore() -> impl Iterator<Item = Cause> {
    let unclear = Observed::Unknown("this kernel does not measure it".to_owned());
    let pressure = [Observed::Known(31.5), unclear];
    let pressure = pressure.map(|now| Cause::CpuPressure { now, limit: 20.0 });
    let disk = [
        NoRoom::Above {
            path: "/d".into(),
            used_percent: 76.0,
            limit: 75.0,
        },
        NoRoom::Below {
            path: "/d".into(),
            free: Bytes(1),
            limit: Bytes(2),
        },
        NoRoom::Unclear("EACCES".into()),
    ];
    let busy = Cause::Busy {
        container: Untrusted::new("job"),
        label: "ci.run".into(),
    };
    let left = Cause::PullsLeft {
        registry: "r.example".into(),
        left: 19,
        wanted: 20,
    };
    let disk = disk.map(Cause::Disk).into_iter();
    disk.chain(pressure).chain([busy, left])
}

#[test]
fn every_kind_of_refusal_is_produced_and_says_the_way_out() {
    let manager = AtWork {
        swarm: Swarm::Manager {
            images: vec![],
            under_way: vec![deploy("web", false)],
        },
        builds: Observed::Known(vec!["x".into()]),
        built_here: true,
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
    // Made by a restore.
    all.extend(of_restore().map(Refusal::from));
    let seen: BTreeSet<_> = all.iter().map(Refusal::kind).collect();
    let missing: Vec<_> = RefusalKind::ALL
        .iter()
        .filter(|kind| !seen.contains(*kind))
        .collect();
    assert!(missing.is_empty(), "no test makes {missing:?}");
    // A refusal that lasts too long has another exit code, unless it alerts from the beginning.
    busy.causes_since = causes_since(&policy(""), &busy);
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
        let codes = codes.entry(refusal.kind().name()).or_default();
        if codes.last() != Some(&code.to_string()) {
            codes.push(code.to_string());
        }
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

/// All that can last for ever, at one moment.
fn endless() -> Activity {
    let mut activity = with_lock(LockKind::Flock, held(None), None);
    activity.clock = Clock::Doubtful {
        why: "back".into(),
        shift: TimeDelta::zero(),
    };
    activity.pulls.signs.push(PullSign {
        path: "/s".into(),
        state: SignState::Live("is open".into()),
    });
    activity.pulls.unreadable.push(Unreadable {
        path: "/u".into(),
        why: "EACCES".into(),
        cure: Cure::Permission,
    });
    activity.at_work = AtWork {
        swarm: Swarm::Manager {
            images: vec![],
            under_way: vec![deploy("web", false)],
        },
        builds: Observed::Known(vec!["x".into()]),
        built_here: true,
    };
    activity
}

#[test]
fn whatever_lasts_for_too_long_wants_a_person_and_is_never_left_to_the_next_run() {
    let mut first = endless();
    let fresh = refusals(&policy(""), &first);
    assert_eq!(fresh.len(), 6);
    assert!(!fresh.iter().any(Refusal::needs_a_person));
    first.causes_since = causes_since(&policy(""), &first);
    first.at = at(160);
    assert!(
        !refusals(&policy(""), &first)
            .iter()
            .any(Refusal::needs_a_person),
        "60 s are not longer than 60 s"
    );
    first.at = at(161);
    for refusal in refusals(&policy(""), &first) {
        let (kind, way_out) = (refusal.kind().name(), refusal.way_out());
        assert!(refusal.needs_a_person(), "{kind}");
        assert!(refusal.message().contains("guard.alert_after"), "{kind}");
        assert!(!way_out.contains("nothing to do"), "{kind}: {way_out}");
    }
}

#[test]
fn what_was_not_there_at_one_survey_begins_anew() {
    let mut activity = endless();
    activity.causes_since = causes_since(&policy(""), &quiet());
    activity.at = at(1000);
    assert!(
        !refusals(&policy(""), &activity)
            .iter()
            .any(Refusal::needs_a_person)
    );
}

#[test]
fn time_that_a_clock_gained_by_a_jump_did_not_pass() {
    let mut activity = endless();
    activity.causes_since = causes_since(&policy(""), &activity);
    let jump = TimeDelta::days(10);
    activity.at = at(110) + jump;
    activity.clock = Clock::Doubtful {
        why: "it moved on".into(),
        shift: jump,
    };
    activity.locks.clear();
    let loud: Vec<_> = refusals(&policy(""), &activity)
        .into_iter()
        .filter(Refusal::needs_a_person)
        .map(|refusal| refusal.kind())
        .collect();
    assert_eq!(loud, [RefusalKind::Clock]);
}

#[test]
fn of_very_many_things_those_that_last_longest_are_remembered() {
    let builds = |from: usize, to: usize| {
        let mut activity = quiet();
        activity.at_work.builds = Observed::Known((from..to).map(|n| format!("{n:05}")).collect());
        activity
    };
    let mut activity = builds(5000, 5050);
    let old = causes_since(&policy(""), &activity);
    activity = builds(0, 10_000);
    activity.at = at(200);
    activity.causes_since = old.clone();
    let kept = causes_since(&policy(""), &activity);
    assert_eq!(kept.len(), MOST_CAUSES);
    assert!(old.iter().all(|(what, at)| kept.get(what) == Some(at)));
}

/// A moment at which BuildKit uses these records, and downloads these files.
fn buildkit_with(records: &[&str], downloads: &[&str]) -> Activity {
    let mut activity = quiet();
    activity.at_work.builds = Observed::Known(records.iter().map(ToString::to_string).collect());
    activity.pulls.signs = downloads
        .iter()
        .map(|path| PullSign {
            path: path.into(),
            state: SignState::BuildKit("open in dockerd".into()),
        })
        .collect();
    activity
}

#[test]
fn a_build_is_one_refusal_however_many_signs_it_has_and_hides_nothing_else() {
    let mut busy = buildkit_with(&["b", "a", "c"], &["/x", "/y"]);
    let found = refusals(&policy(""), &busy);
    let text = "a build is under way: BuildKit uses the record a and others of its cache; \
                BuildKit downloads /x and others (open in dockerd)";
    assert_eq!(
        found.iter().map(Refusal::message).collect::<Vec<_>>(),
        [text]
    );
    // Either alone is enough.
    let one = &refusals(&policy(""), &buildkit_with(&["a"], &[]))[0];
    assert!(
        one.message()
            .ends_with("BuildKit uses the record a of its cache")
    );
    assert_eq!(
        kinds(&refusals(&policy(""), &buildkit_with(&[], &["/x"]))),
        ["build"]
    );
    // Two moments of it, a pull beside it, and a classic build.
    for (path, state) in [
        ("/pull", SignState::Live("is open".into())),
        ("/classic", SignState::Build),
    ] {
        let path = path.into();
        busy.pulls.signs.push(PullSign { path, state });
    }
    let moments = [busy.clone(), buildkit_with(&["d"], &[]), busy];
    let found = all_refusals(&policy(""), &moments, &plan(0, 2));
    assert_eq!(kinds(&found), ["pull", "build", "build"]);
}

#[test]
fn a_build_lasts_for_as_long_as_a_record_that_it_uses_and_others_take_no_part() {
    // Another build at each survey.
    let mut activity = buildkit_with(&["a"], &["/x"]);
    activity.causes_since = causes_since(&policy(""), &activity);
    activity = Activity {
        causes_since: activity.causes_since,
        at: at(1000),
        ..buildkit_with(&["b"], &["/y"])
    };
    assert!(!refusals(&policy(""), &activity)[0].needs_a_person());
    // One record stays, beside another that comes and goes.
    activity.causes_since = causes_since(&policy(""), &activity);
    activity = Activity {
        causes_since: activity.causes_since,
        at: at(2000),
        ..buildkit_with(&["b", "c"], &[])
    };
    let found = &refusals(&policy(""), &activity)[0];
    assert!(found.needs_a_person());
    assert_eq!(found.lasted, Some(TimeDelta::seconds(1000)));
    let known = causes_since(&policy(""), &activity);
    let known: Vec<_> = known.iter().map(|(what, at)| (&**what, *at)).collect();
    assert_eq!(
        known,
        [("build record b", at(1000)), ("build record c", at(2000))]
    );
}

#[test]
fn a_service_that_cannot_move_is_no_deploy() {
    let mut activity = quiet();
    activity.at_work.swarm = Swarm::Manager {
        images: vec![],
        under_way: vec![deploy("web", true)],
    };
    assert!(refusals(&policy(""), &activity).is_empty());
}

#[test]
fn what_the_engine_cannot_tell_of_its_work_refuses() {
    let mut activity = quiet();
    activity.at_work.builds = Observed::Unknown("503".into());
    assert_eq!(kinds(&refusals(&policy(""), &activity)), ["build"]);
    activity = quiet();
    activity.at_work.swarm = Swarm::Unreadable("locked".into());
    assert_eq!(kinds(&refusals(&policy(""), &activity)), ["deploy"]);
}
