//! Whole runs, entry by entry.

use crate::cache::findings::{Findings, Line};
use crate::cache::{Check, Kind, Status};
use crate::exit::{Exit, Fault};
use crate::host::journald::JournalEntry;
use crate::model::Observed;
use crate::prune::outcome::{Outcome, Removed};
use crate::report::journald;
use crate::report::journald::ids;
use crate::report::tests::{ENOUGH, GIB, MIB, context, disk, golden, planned, refusals, run};
use crate::testing::{at, inventory};

/// Entries for people: priority and message, then the fields.
#[track_caller]
fn journal(name: &str, entries: &[JournalEntry]) {
    let mut shown = String::new();
    for entry in entries {
        let (priority, message) = (entry.priority as u8, &entry.message);
        shown.push_str(&["<", &priority.to_string(), "> ", message, "\n"].concat());
        for (field, value) in &entry.fields {
            shown.push_str(&["    ", field, "=", value, "\n"].concat());
        }
    }
    golden(name, &shown);
}

#[test]
fn a_run_is_one_entry_for_each_fact_in_systemds_journal() {
    let (plan, _) = planned(ENOUGH);
    let mut outcome = Outcome::new("run".into(), at(0), plan.disk().clone());
    outcome.removed = plan.removals().map(Removed::of).collect();
    outcome.disk_after = Observed::Known(disk(86 * GIB - 505 * MIB));
    let context = context(vec![], &["a stale sign of a pull"]);
    let entries = journald::prune::outcome(&outcome, Some(&plan), &context);
    journal("journal.txt", &entries);
}

#[test]
fn a_run_that_met_everything_leaves_nothing_out_in_systemds_journal() {
    let (plan, _) = planned("");
    let mut outcome = run(&plan, str::to_owned);
    outcome.refusals = refusals();
    let context = context(vec![], &[]);
    let entries = journald::prune::outcome(&outcome, Some(&plan), &context);
    journal("journal-bad.txt", &entries);
    let mut ids: Vec<&str> = entries.iter().map(|entry| entry.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut wanted = vec![
        ids::PRUNED,
        ids::REMOVED,
        ids::STAYED,
        ids::LOST,
        ids::REFUSED,
    ];
    wanted.sort_unstable();
    assert_eq!(ids, wanted);
}

#[test]
fn a_verify_cache_is_one_entry_for_each_promise_that_is_not_as_it_should_be() {
    let line = |image: &str, status| Line {
        checks: vec![
            Check::new(Kind::Present, Status::Ok, "image 1"),
            Check::new(Kind::Current, status, "the registry's word"),
            Check::new(Kind::Reused, status, "a layer would come"),
        ],
        ..crate::testing::line(image)
    };
    let mut findings = Findings::new(at(0), inventory([]).engine, false);
    findings.images = vec![
        line("app:1", Status::Ok),
        line("db:2", Status::Broken),
        line("x:3", Status::Moved),
        line("y:4", Status::Unknown),
    ];
    findings.room = Some(crate::testing::room(86, None));
    let mut entries = journald::cache::findings(&findings, &context(vec![], &[]));
    findings.room = Some(crate::testing::room(95, None));
    // Without a promised image the store has its own entry.
    findings.images.clear();
    findings.store = Some(Check::new(Kind::Lasting, Status::Broken, "it is a tmpfs"));
    entries.extend(journald::cache::findings(&findings, &context(vec![], &[])));
    findings.refusals = vec![crate::testing::deploy("web")];
    findings.store = None;
    entries.extend(journald::cache::findings(&findings, &context(vec![], &[])));
    let fault = Fault::new(Exit::Policy, "policy p.toml, line 2: no");
    entries.push(journald::fault(&fault, "verify-cache"));
    journal("journal-cache.txt", &entries);
}
