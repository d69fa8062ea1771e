//! What must hold after a run that was killed or met an error, wherever that
//! was, and after the next run.

use std::collections::BTreeSet;
use std::fs::File;

use serde_json::Value;

use super::faults::Tampered;
use super::host::{Host, OURS};
use crate::lab::wait_until;
use crate::support::scene::left_names;
use crate::support::{NOTHING, ids};

/// What a run left behind, so that a sweep can tell which states it has seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::struct_excessive_bools, reason = "each is seen on its own")]
pub struct Left {
    pub ledger_is_new: bool,
    pub temporary_file: bool,
    pub intents: bool,
    /// How many outcomes this run wrote.
    pub outcomes: usize,
    /// An image that was to go stays with the name that was given for that.
    pub our_name: bool,
    pub gone: usize,
}

/// What this run wrote into it: each line that reads.
fn journal(host: &Host) -> Vec<Value> {
    let state = host.state();
    let before = &host.before()["journal.jsonl"];
    let now = &state["journal.jsonl"];
    assert!(now.starts_with(before), "the journal lost what it held");
    let mut lines: Vec<&[u8]> = now[before.len()..].split(|byte| *byte == b'\n').collect();
    // Behind the last newline: nothing, or a line that a kill cut off.
    lines.pop();
    let read = |line: &&[u8]| serde_json::from_slice(line).ok();
    let records: Vec<Value> = lines.iter().filter_map(read).collect();
    assert!(
        lines.len() - records.len() <= 1,
        "only what the fault cut off does not read: {}",
        String::from_utf8_lossy(now)
    );
    records
}

fn of<'a>(records: &'a [Value], event: &str) -> Vec<(&'a str, &'a Value)> {
    let wanted = records.iter().filter(|record| record["event"] == event);
    wanted
        .map(|record| (record["id"].as_str().expect("an id"), record))
        .collect()
}

/// The old ledger to the last byte, or a whole new one of the same host.
fn ledger_is_new(host: &Host) -> bool {
    let state = host.state();
    let ledger = host.ledger();
    let (old, now) = (&host.before()[&ledger], &state[&ledger]);
    if old == now {
        return false;
    }
    let read = |bytes: &[u8]| -> Value {
        serde_json::from_slice(bytes).expect("the ledger reads, old or new")
    };
    let (old, now) = (read(old), read(now));
    assert_eq!(old["engine"], now["engine"]);
    let images = |ledger: &Value| -> BTreeSet<String> {
        let images = ledger["images"].as_object().expect("images");
        images.keys().cloned().collect()
    };
    assert_eq!(images(&old), images(&now), "the new ledger is whole");
    let wall = |ledger: &Value| ledger["clock"]["wall"].as_str().map(str::to_owned);
    assert!(wall(&old) < wall(&now));
    true
}

/// Images to keep are here, with each name that is somebody's.
fn kept(host: &Host) {
    let names = host.names();
    for (id, wanted) in host.kept() {
        let here = names.get(&id).unwrap_or_else(|| panic!("{id} is gone"));
        assert!(wanted.is_subset(here), "{id} lost a name: {here:?}");
    }
}

/// A killed process has let go of its files when the last of its threads has ended.
fn nobody_holds_a_lock(host: &Host) {
    for path in [host.deploy_lock(), host.secateur.state().join("run.lock")] {
        let file = File::open(&path).expect("a lock file");
        let free = format!("{} to be free", path.display());
        wait_until(&free, || file.try_lock().ok());
    }
}

/// Judges what the run left.
pub fn after(host: &Host, run: &Tampered) -> Left {
    let planned = host.planned();
    let here = host.names();
    let gone: BTreeSet<String> = planned
        .iter()
        .filter(|id| !here.contains_key(*id))
        .cloned()
        .collect();
    kept(host);
    nobody_holds_a_lock(host);
    let state = host.state();
    let records = journal(host);
    let intents: BTreeSet<&str> = of(&records, "intent")
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    let outcomes = of(&records, "outcome");
    for id in &gone {
        assert!(intents.contains(&**id), "{id} went without an intent");
    }
    for id in &intents {
        assert!(planned.contains(*id), "{id} was not planned");
    }
    for (id, record) in &outcomes {
        if record["result"] == "unknown" {
            continue; // the next run says
        }
        let went = gone.contains(*id);
        assert_eq!(record["result"] == "removed", went, "{record:#}");
    }
    let has_our_name = |id: &String| {
        let names = here.get(id).into_iter().flatten();
        names.into_iter().any(|name| name.starts_with(OURS))
    };
    let left = Left {
        ledger_is_new: ledger_is_new(host),
        temporary_file: state.keys().any(|name| name.ends_with(".secateur-tmp")),
        intents: !intents.is_empty(),
        outcomes: outcomes.len(),
        our_name: planned.iter().any(has_our_name),
        gone: gone.len(),
    };
    if left.intents {
        assert!(left.ledger_is_new, "remembered before anything goes");
    }
    reported(run, &planned, &gone, &records);
    left
}

/// A run that came to its end says what it did, and never 0 for less than all.
fn reported(
    run: &Tampered,
    planned: &BTreeSet<String>,
    gone: &BTreeSet<String>,
    records: &[Value],
) {
    let ran = &run.ran;
    // -1: killed once the report was written.
    let known = [-1, 0, 1, 65, 69, 70, 74, 75, 77, 78];
    let Ok(outcome) = serde_json::from_str::<Value>(&ran.stdout) else {
        assert_ne!(ran.code, 0, "no report, and yet 0: {run:?}");
        // tokio itself gives up where the kernel does not even wait for it.
        assert!(ran.code != 101 || ran.stderr.contains("/tokio-"), "{run:?}");
        return;
    };
    assert!(known.contains(&ran.code), "{run:?}");
    let list = |name: &str| -> BTreeSet<String> { ids(&outcome, name).into_iter().collect() };
    let removed = list("removed");
    assert!(removed.is_subset(gone), "{outcome:#}");
    let closed: BTreeSet<String> = of(records, "outcome")
        .into_iter()
        .map(|(id, _)| id.to_owned())
        .collect();
    for id in gone.difference(&removed) {
        assert!(!closed.contains(id), "{id} went unsaid: {outcome:#}");
        assert_ne!(ran.code, 0, "{id} went unsaid: {outcome:#}");
    }
    // Nothing goes where the disk cannot be measured, and that is said.
    let notes = outcome["notes"].to_string();
    if ran.code == 0 && !notes.contains("cannot be measured") {
        let told: BTreeSet<String> = removed.union(&list("skipped")).cloned().collect();
        assert!(
            planned.is_subset(&told),
            "less than all, and yet 0: {outcome:#}"
        );
    }
}

/// Whether the image that was pulled by digest is here without that name. Then it has ours, or
/// it could not be told from others.
pub fn is_untied(host: &Host) -> bool {
    let (id, name) = host.pinned();
    let names = host.names();
    let Some(names) = names.get(id) else {
        return false;
    };
    let untied = !names.contains(name);
    let ours = names.iter().any(|name| name.starts_with(OURS));
    assert!(ours || !untied, "{id} has {names:?}");
    untied
}

/// A run by whose policy the image that was pulled by digest stays: it has its name again.
pub fn after_a_run_that_keeps(host: &Host) {
    let (id, name) = host.pinned();
    let was_here = host.names().contains_key(id);
    let outcome = host.prune_but_pinned();
    let names = host.names();
    assert_eq!(names.contains_key(id), was_here, "{outcome:#}");
    if let Some(names) = names.get(id) {
        assert_eq!(*names, BTreeSet::from([name.to_owned()]), "{outcome:#}");
    }
    kept(host);
    assert_eq!(left_names(&host.engine), NOTHING);
}

/// The next run, which nothing disturbs, brings everything to its end.
pub fn after_the_next_run(host: &Host) {
    let outcome = host.secateur.prune(0);
    let here: BTreeSet<String> = host.names().into_keys().collect();
    let planned = host.planned();
    assert!(planned.is_disjoint(&here), "it converges: {outcome:#}");
    kept(host);
    assert_eq!(left_names(&host.engine), NOTHING);
    assert_eq!(host.secateur.open_intents(), NOTHING);
    host.secateur.left_nothing_over();
    nobody_holds_a_lock(host);
    for id in planned {
        let results = host.secateur.results(&id);
        let removed = results.iter().filter(|result| *result == "removed");
        assert_eq!(removed.count(), 1, "{id} went once: {results:?}");
        assert_eq!(results.last().map(String::as_str), Some("removed"));
    }
}

/// How far a run came with what it has to set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::struct_excessive_bools, reason = "each is seen on its own")]
pub struct Aside {
    journal_is_kept: bool,
    journal_is_new: bool,
    ledger_is_kept: bool,
    ledger_is_new: bool,
}

impl Aside {
    pub const ALL: Aside = Aside {
        journal_is_kept: true,
        journal_is_new: true,
        ledger_is_kept: true,
        ledger_is_new: true,
    };
}

/// What was to be set aside is in one place or the other, the intent that was
/// open is in the journal until it has an outcome, and no image went for a
/// ledger that does not read.
pub fn set_aside(host: &Host) -> Aside {
    let (before, state) = (host.before(), host.state());
    let (ledger, aside) = (host.ledger(), format!("{}.corrupt-1", host.ledger()));
    let old = |name: &str, of: &str| state.get(name) == Some(&before[of]);
    let aside = Aside {
        journal_is_kept: old("journal.jsonl.1", "journal.jsonl"),
        journal_is_new: !old("journal.jsonl", "journal.jsonl"),
        ledger_is_kept: old(&aside, &ledger),
        ledger_is_new: state
            .get(&ledger)
            .is_some_and(|bytes| serde_json::from_slice::<Value>(bytes).is_ok()),
    };
    assert!(aside.journal_is_kept || !aside.journal_is_new);
    assert!(aside.ledger_is_kept || old(&ledger, &ledger));
    let open = &host.kept().into_keys().collect::<Vec<_>>();
    let named =
        host.secateur.journal().iter().any(|record| {
            record["event"] == "intent" && open.iter().any(|id| record["id"] == **id)
        });
    assert!(named, "the open intent is in the journal: {aside:?}");
    if !aside.ledger_is_new {
        let here = host.names();
        assert!(host.planned().iter().all(|id| here.contains_key(id)));
    }
    kept(host);
    nobody_holds_a_lock(host);
    aside
}
