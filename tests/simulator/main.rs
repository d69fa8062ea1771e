//! Searches for counter-examples: random decisions, and whole simulated hosts on which anybody may
//! act between any two calls of a real run.
//!
//! `SECATEUR_DECISIONS` and `SECATEUR_INTERLEAVINGS` set how many; the default is small.
//! `SECATEUR_SEED` sets the first seed.

// engine.rs is also in tests/engines. Each of the two programs uses only parts of it.
#![allow(dead_code)]

mod checks;
mod decisions;
mod engine;
mod janitor;
mod naive;
mod names;
mod others;
mod runs;
mod schedule;
mod values;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use decisions::Counts;

fn number(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number"))
    })
}

/// Calls `work` on every core with the numbers from `first` on, until it returns false.
fn on_every_core<T: Default + Send>(
    first: u64,
    work: impl Fn(u64, &mut T) -> bool + Sync,
    merge: impl Fn(&mut T, T) + Sync,
) -> T {
    let next = AtomicU64::new(first);
    let all = Mutex::new(T::default());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let mut mine = T::default();
                while work(next.fetch_add(1, Ordering::Relaxed), &mut mine) {}
                merge(&mut all.lock().expect("no thread panics here"), mine);
            });
        }
    });
    all.into_inner().expect("no thread panics here")
}

#[test]
fn every_decision_is_what_a_naive_reading_allows_and_less_knowledge_keeps_more() {
    let wanted = number("SECATEUR_DECISIONS", 3_000);
    let base = decisions::policies();
    let first = number("SECATEUR_SEED", 1);
    let failed: Mutex<Option<u64>> = Mutex::new(None);
    let so_far = AtomicU64::new(0);
    // Each seed is one history, with one decision at each of its surveys.
    let work = |seed: u64, counts: &mut Counts| {
        let before = counts.decisions;
        let drawn = decisions::draw(seed, &base);
        if decisions::check(&drawn, seed, counts).is_err() {
            let mut failed = failed.lock().expect("no thread panics here");
            *failed = Some(failed.map_or(seed, |other| other.min(seed)));
        }
        let made = counts.decisions - before;
        so_far.fetch_add(made, Ordering::Relaxed) + made < wanted
            && failed.lock().expect("no thread panics here").is_none()
    };
    let counts = on_every_core(first, work, |all: &mut Counts, mine| all.add(&mine));
    if let Some(seed) = failed.into_inner().expect("no thread panics here") {
        let (drawn, why) = decisions::shrink(decisions::draw(seed, &base), seed);
        panic!(
            "seed {seed} (SECATEUR_SEED), after {} decisions: {why}\n{}",
            counts.decisions,
            decisions::show(&drawn)
        );
    }
    println!("decisions: {counts:?}");
    let seen: Vec<&str> = counts.kept.keys().copied().collect();
    let missing: Vec<_> = secateur::decide::plan::KeepKind::ALL
        .iter()
        .filter(|kind| !seen.contains(&kind.name()))
        .collect();
    assert!(missing.is_empty(), "no decision has {missing:?}");
    assert!(counts.removals > 0 && counts.held_back > 0, "{counts:?}");
}

/// Each of these must happen at least once, or the simulation proves nothing.
const MUST_HAPPEN: [&str; 50] = [
    "candidate",
    "image removed",
    "image skipped",
    "image failed",
    "our own name given",
    "several drops under way",
    "a left name of ours dropped",
    "drop refused by the engine",
    "a tag lost inside a delete call",
    "an image removed after its digest references",
    "a tag went along with a digest reference",
    "a name put back",
    "collateral reported",
    "removal unconfirmed",
    "gone in the end",
    "intent of a killed run resolved",
    "run killed",
    "run killed inside a delete call",
    "run killed between intent and outcome",
    "run: pruned",
    "run: nothing to remove",
    "run: stopped by a refusal",
    "run: out of time",
    "run: interrupted",
    "run: engine lost",
    "run: surprised",
    "run: journal lost",
    "run: no survey, the engine failed",
    "refused: deploy-lock",
    "refused: pull",
    "refused: build",
    "refused: deploy",
    "refused: other-run",
    "refused: clock",
    "refused: max-fraction",
    "refused: engine-inconsistent",
    "refused: signs-unreadable",
    "others: tagged",
    "others: pulled",
    "others: pulled what is here",
    "others: deployed",
    "others: deploy waited for the lock",
    "others: container created",
    "others: container created by tag and digest",
    "others: service task started",
    "others: a service never comes to rest",
    "others: engine restarted",
    "others: another engine",
    "others: ledger damaged",
    "others: reboot",
];

type Counted = std::collections::BTreeMap<&'static str, u64>;

fn plays(
    case: &schedule::Case,
    base: &[secateur::policy::Policy],
    with_story: bool,
) -> runs::Played {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(runs::play(case, base, with_story))
}

/// The smallest history that still breaks an invariant.
fn shrunk(case: schedule::Case, base: &[secateur::policy::Policy]) -> schedule::Case {
    let mut best = case;
    loop {
        let all = schedule::smaller(&best).into_iter();
        let found = all
            .into_iter()
            .find(|case| plays(case, base, false).violation.is_some());
        match found {
            Some(smaller) => best = smaller,
            None => return best,
        }
    }
}

#[test]
fn whatever_the_interleaving_of_a_run_and_the_others_nothing_wanted_goes() {
    let wanted = number("SECATEUR_INTERLEAVINGS", 300);
    let base = decisions::policies();
    let first = number("SECATEUR_SEED", 1);
    let failed: Mutex<Option<u64>> = Mutex::new(None);
    let work = |seed: u64, counts: &mut Counted| {
        let enough = seed >= first + wanted;
        if enough || failed.lock().expect("no thread panics here").is_some() {
            return false;
        }
        let played = plays(&schedule::draw(seed, base.len()), &base, false);
        for (what, count) in played.counts {
            *counts.entry(what).or_default() += count;
        }
        *counts.entry("interleavings").or_default() += 1;
        if played.violation.is_some() {
            let mut failed = failed.lock().expect("no thread panics here");
            *failed = Some(failed.map_or(seed, |other| other.min(seed)));
        }
        true
    };
    let merge = |all: &mut Counted, mine: Counted| {
        for (what, count) in mine {
            *all.entry(what).or_default() += count;
        }
    };
    let counts = on_every_core(first, work, merge);
    for (what, count) in &counts {
        println!("{count:>9}  {what}");
    }
    if let Some(seed) = failed.into_inner().expect("no thread panics here") {
        let case = shrunk(schedule::draw(seed, base.len()), &base);
        let played = plays(&case, &base, true);
        panic!(
            "seed {seed} (SECATEUR_SEED), after {} interleavings: {}\n{:#?}\n{}",
            counts["interleavings"],
            played.violation.unwrap_or_default(),
            case.setting,
            played.story.join("\n")
        );
    }
    if wanted >= 20_000 {
        let missing: Vec<_> = MUST_HAPPEN
            .iter()
            .filter(|what| !counts.contains_key(*what))
            .collect();
        assert!(missing.is_empty(), "never happened: {missing:?}");
    }
}
