//! A run that is killed at any of its system calls, or for which any of them
//! fails, on a live engine: what it leaves can be read, and the next run brings
//! all to its end. Which faults are tried, `SECATEUR_FAULTS` says (`tests/long
//! crash` tries all).

mod faults;
mod host;
mod verdict;

use crate::support::NOTHING;
use crate::support::strace::Call;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;

use self::faults::{FAULTS, Fault, KILL_AT_CHANGES, KILL_AT_REQUESTS, KILL_AT_WRITES, Tampered};
use self::host::Host;
use self::verdict::Left;
use crate::lab::{Kind, Registry};

/// The calls at which a fault is tried.
struct Points {
    left: BTreeSet<Call>,
    /// Also those that were tried, or are: name and number.
    known: BTreeSet<(String, usize)>,
}

impl Points {
    /// Threads may make calls of the same name and number: the first to come to it meets the fault.
    fn of(calls: Vec<Call>) -> Points {
        let mut known = BTreeSet::new();
        let left = calls.into_iter();
        let left = left.filter(|call| known.insert((call.name.clone(), call.number)));
        Points {
            left: left.collect(),
            known,
        }
    }

    /// After the last of a name, the one that only a run that waits more often comes to.
    fn count_on(&mut self, call: Call) {
        let later = |(name, number): &(String, usize)| *name == call.name && *number > call.number;
        if call.name.starts_with("open") || self.known.iter().any(later) {
            return;
        }
        let number = call.number + 1;
        self.known.insert((call.name.clone(), number));
        self.left.insert(Call { number, ..call });
    }
}

/// Counts how runs ended; -1: by a signal.
type Codes = BTreeMap<i32, usize>;

/// One run for each call, shared out among the hosts; each is then judged. Runs differ by a few
/// calls, by how often they wait: of those, each is counted up until a run does not come to it.
fn sweep<L: Ord + Send>(
    hosts: &[Host],
    fault: Fault,
    judge: impl Fn(&Host, &Tampered) -> L + Sync,
) -> BTreeMap<L, usize> {
    hosts[0].again();
    let calls = faults::calls(&hosts[0].secateur, fault);
    let points = Mutex::new(Points::of(calls));
    let points = || points.lock().expect("no panic");
    let counted = points().left.len();
    let seen = Mutex::new((BTreeMap::new(), Codes::new()));
    let next = || points().left.pop_first();
    let work = |host: &Host| {
        while let Some(call) = next() {
            host.again();
            let run = faults::prune(&host.secateur, fault, &call);
            match catch_unwind(AssertUnwindSafe(|| judge(host, &run))) {
                Ok(state) if run.hit.is_some() => {
                    points().count_on(call);
                    let mut seen = seen.lock().expect("no panic");
                    *seen.0.entry(state).or_default() += 1;
                    *seen.1.entry(run.ran.code).or_default() += 1;
                }
                Ok(_) => {}
                Err(panic) => {
                    points().left.clear();
                    eprintln!("{} at {call:?}: {run:?}", fault.what);
                    resume_unwind(panic);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for host in hosts {
            scope.spawn(|| work(host));
        }
    });
    let (seen, codes) = seen.into_inner().expect("no panic");
    let runs: usize = seen.values().sum();
    println!(
        "{}: {runs} calls, {} states left; runs by exit code: {codes:?}",
        fault.what,
        seen.len()
    );
    // But for a few, by how often runs wait.
    let most = counted - counted / 10;
    assert!(runs >= most && runs > 0, "{runs} of {counted} calls");
    seen
}

/// Fails unless runs were cut off at each stage.
fn came_everywhere(seen: &BTreeMap<Left, usize>) {
    type Stage = (&'static str, fn(&Left) -> bool);
    let stages: [Stage; 8] = [
        ("before anything", |left| !left.ledger_is_new),
        ("in the write of the ledger", |left| left.temporary_file),
        ("before an intent", |left| {
            left.ledger_is_new && !left.intents
        }),
        ("before a removal", |left| left.intents && left.gone == 0),
        ("with our name given", |left| left.our_name),
        // One outcome more than images went: of the intent that was open before.
        ("between a removal and its outcome", |left| {
            left.gone > 0 && left.gone == left.outcomes
        }),
        ("between two removals", |left| {
            left.gone == 1 && left.outcomes == 2
        }),
        ("after all", |left| left.gone == 3 && left.outcomes == 4),
    ];
    for (stage, is_it) in stages {
        assert!(seen.keys().any(is_it), "no run ended {stage}: {seen:#?}");
    }
}

/// The faults that the long command asks for, or this one.
fn wanted(one: Fault) -> Vec<Fault> {
    let Ok(wanted) = std::env::var("SECATEUR_FAULTS") else {
        return vec![one];
    };
    let is_wanted = |fault: &Fault| wanted.split_whitespace().any(|name| name == fault.what);
    FAULTS.into_iter().filter(is_wanted).collect()
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn wherever_a_run_is_cut_off_its_state_reads_and_the_next_run_ends_its_work() {
    let registry = Registry::start();
    let hosts = [
        Host::new(&registry, Kind::Overlay28),
        Host::new(&registry, Kind::Overlay28),
    ];
    for fault in wanted(KILL_AT_CHANGES) {
        let seen = sweep(&hosts, fault, |host, run| {
            let left = verdict::after(host, run);
            if !host.is_untouched() {
                verdict::after_the_next_run(host);
            }
            left
        });
        if fault.what == "KILL" {
            came_everywhere(&seen);
        }
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_run_that_is_killed_while_it_sets_files_aside_loses_none_of_them() {
    let registry = Registry::start();
    let mut host = Host::new(&registry, Kind::Overlay28);
    host.with_files_to_set_aside();
    let seen = sweep(&[host], KILL_AT_WRITES, |host, _| {
        let aside = verdict::set_aside(host);
        host.secateur.prune(0);
        assert_eq!(verdict::set_aside(host), verdict::Aside::ALL);
        assert_eq!(host.secateur.open_intents(), NOTHING);
        aside
    });
    // Neither, the one, the other, both, and what is between.
    assert!(seen.len() >= 5, "{seen:?}");
}

/// On the containerd store names are dropped one by one, and put back where the image is to
/// stay by then.
#[test]
#[ignore = "needs the lab: run tests/run"]
fn wherever_a_run_of_the_containerd_store_is_cut_off_the_next_run_removes_or_puts_back() {
    let registry = Registry::start();
    let hosts = [
        Host::new(&registry, Kind::Containerd28),
        Host::new(&registry, Kind::Containerd28),
    ];
    for fault in wanted(KILL_AT_REQUESTS) {
        let seen = sweep(&hosts, fault, |host, run| {
            verdict::after(host, run);
            let untied = verdict::is_untied(host);
            if !host.is_untouched() {
                verdict::after_a_run_that_keeps(host);
                verdict::after_the_next_run(host);
            }
            untied
        });
        println!(
            "{}: {seen:?} runs left the image without its name",
            fault.what
        );
        if fault.what == "KILL" {
            assert!(seen.contains_key(&true), "none while its name was away");
        }
    }
}
