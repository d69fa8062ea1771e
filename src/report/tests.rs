//! Whole reports, word for word: src/report/testdata. To write them anew after
//! a change of wording, and read the difference: UPDATE_REPORTS=1 cargo test

use chrono::TimeDelta;

use crate::cache::outcome::{Findings, Line};
use crate::cache::{Check, Kind, Status};
use crate::decide::plan::Plan;
use crate::decide::{Trust, decide};
use crate::exit::{Exit, Fault};
use crate::guard::{Cause, Refusal};
use crate::host::systemd::{Entry, Priority};
use crate::memory::ledger::Ledger;
use crate::model::conditions::{Cure, Disk, LockKind, Room};
use crate::model::lost::Lost;
use crate::model::reference::Reference;
use crate::model::text::Untrusted;
use crate::model::{Bytes, Container, Image, Inventory, Observed};
use crate::policy::Policy;
use crate::prune::outcome::{Collateral, Ending, Outcome, Removed, Stayed};
use crate::report::text::layout::COLUMNS;
use crate::report::text::prune::{HEAD, LOUD};
use crate::report::{Context, PolicySource, journald, text};
use crate::testing::{at, clock, id, image, inventory, pinned, tagged};

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;
const DAY: i64 = 86_400;

/// Three of the four that may go are enough.
pub(crate) const ENOUGH: &str = "[disk]\nstart_above_percent = 85.8\nstop_below_percent = 85.6";

/// Text that must not get to a terminal as it is.
const NASTY: &str = "\u{1b}[2J\u{9b}5m\r\n\u{7}\u{202e}x\u{2028}";

fn sized(image: Image, mib: u64) -> Image {
    Image {
        size: Observed::Known(Bytes(mib * MIB)),
        ..image
    }
}

pub(crate) fn disk(used: u64) -> Disk {
    Disk {
        path: "/var/lib/docker".into(),
        bytes: Room {
            used,
            available: 100 * GIB - used,
        },
        inodes: None,
    }
}

/// A host with one image of each fate, and what was remembered of it: forty
/// days ago, half of that, and now.
fn host() -> (Inventory, Ledger) {
    let app = "ghcr.io/acme/shop/backend";
    let moved = [
        sized(pinned(4, app), 310),
        sized(pinned(5, app), 305),
        sized(pinned(6, app), 300),
    ];
    let others = [
        sized(tagged(1, "postgres:16"), 431),
        sized(image(2), 96),
        sized(image(3), 95),
        sized(pinned(7, "ghcr.io/acme/worker"), 88),
        sized(image(9), 97),
    ];
    let current = sized(tagged(8, &format!("{app}:latest")), 312);
    let young = sized(image(10), 90);

    let mut ledger = Ledger::empty("ENGINE/graphdriver");
    // The app's tag went from one image to the next.
    for (day, holder) in [(-60, 0), (-50, 1), (-40, 2)] {
        let mut then: Vec<_> = moved[..=holder].iter().chain(&others).cloned().collect();
        then[holder].tags = [format!("{app}:latest").parse().unwrap()].into();
        ledger = seen(&ledger, inventory(then), day);
    }
    let now = moved.into_iter().chain(others).chain([current]);
    let now: Vec<_> = now.collect();
    ledger = seen(&ledger, inventory(now.clone()), -20);
    ledger = seen(
        &ledger,
        inventory(now.iter().cloned().chain([young.clone()])),
        -3,
    );
    let mut host = inventory(now.into_iter().chain([young]));
    host.containers.push(Container {
        id: Untrusted::new("c"),
        name: Untrusted::new("nightly-report"),
        image: Untrusted::new(id(9).as_str()),
        image_ids: vec![id(9)],
        state: Untrusted::new("exited"),
        image_mounts: vec![],
    });
    host.disk = Observed::Known(disk(86 * GIB));
    let ledger = seen(&ledger, host.clone(), 0);
    (host, ledger)
}

fn seen(ledger: &Ledger, mut host: Inventory, day: i64) -> Ledger {
    host.taken_at = at(day * DAY);
    ledger.observe(&host, &clock(day * DAY, 0, "a"), TimeDelta::zero())
}

pub(crate) fn policy(more: &str) -> Policy {
    Policy::parse(&format!("[age]\nmin_age = \"14d\"\n{more}"), "test").unwrap()
}

pub(crate) fn planned(more: &str) -> (Plan, Ledger) {
    let (host, ledger) = host();
    (
        decide(&policy(more), &host, &ledger, Trust::OwnMemory),
        ledger,
    )
}

pub(crate) fn context(refusals: Vec<Refusal>, notes: &[&str]) -> Context {
    Context {
        policy: PolicySource {
            file: Some("/etc/secateur/policy.toml".into()),
            fingerprint: "f".into(),
        },
        refusals,
        notes: notes.iter().map(ToString::to_string).collect(),
        unmatched: Vec::new(),
    }
}

pub(crate) fn refusals() -> Vec<Refusal> {
    vec![
        Refusal {
            lasted: Some(TimeDelta::minutes(17)),
            ..Refusal::from(Cause::DeployLock {
                path: "/run/secateur/deploy.lock".into(),
                kind: LockKind::Flock,
                holder: Some("pid 4711 (kamal)".into()),
                unclear: None,
            })
        },
        Refusal::from(Cause::Pull {
            path: "/var/lib/docker/image/overlay2/layerdb/tmp/write-set-1844674407".into(),
            sign: "is open".into(),
        }),
        Refusal::from(Cause::MaxFraction {
            remove: 6,
            all: 10,
            limit: 0.5,
        }),
    ]
}

fn stayed(n: u64, why: &str) -> Stayed {
    Stayed {
        id: id(n),
        why: why.into(),
        because: None,
    }
}

/// A run of this plan that met everything that a run can meet.
pub(crate) fn run(plan: &Plan, why: impl Fn(&str) -> String) -> Outcome {
    let mut outcome = Outcome::new(
        "run".into(),
        at(0),
        Observed::Known(plan.disk().known().unwrap().clone()),
    );
    outcome.removed = plan.removals().take(1).map(Removed::of).collect();
    outcome.disk_after = Observed::Known(disk(85 * GIB));
    outcome.skipped = vec![
        stayed(5, &why("a tag came: ghcr.io/acme/shop/backend:rollback")),
        stayed(6, &why("the run stopped before its turn")),
        stayed(7, &why("the run stopped before its turn")),
    ];
    outcome.failed = vec![stayed(
        3,
        &why(
            "500: unlinkat /var/lib/docker/overlay2/0a1b2c3d4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789abcdef: device or resource busy",
        ),
    )];
    outcome.unconfirmed = vec![stayed(10, &why("the engine did not answer within 30 s"))];
    let lost = |what: &str, digests: &[Reference]| Collateral {
        what: Lost::of(what),
        with: id(4),
        digests: digests.to_vec(),
    };
    let digest = crate::testing::digest("ghcr.io/acme/worker", 1007);
    outcome.collateral = vec![
        lost(&digest.to_string(), &[]),
        lost("ghcr.io/acme/worker:prod", &[digest]),
        lost("shop:prod", &[]),
    ];
    outcome.ending = Ending::EngineLost(why("connection reset by peer"));
    outcome
}

/// Takes our own styles out, and nothing else: what is left must be plain.
fn plain(report: &str) -> String {
    let styles = [LOUD, HEAD]
        .map(|style| [style.render().to_string(), style.render_reset().to_string()])
        .concat();
    let plain = styles
        .iter()
        .fold(report.to_owned(), |text, style| text.replace(style, ""));
    for line in plain.lines() {
        let columns = line.chars().count();
        // A command to copy is not broken.
        let fits = columns <= COLUMNS || line.starts_with("  -> docker pull ");
        assert!(fits, "{columns} columns: {line}");
        assert_eq!(line, line.trim_end(), "blanks at the end");
        let fit = |ch: char| crate::model::text::escape(&ch.to_string()) == ch.to_string();
        assert!(line.chars().all(fit), "not fit for a terminal: {line:?}");
    }
    plain
}

#[track_caller]
fn golden(name: &str, report: &str) {
    same(name, &plain(report));
}

#[track_caller]
fn same(name: &str, shown: &str) {
    crate::testing::golden("src/report/testdata", "UPDATE_REPORTS", name, shown);
}

#[test]
fn a_plan_with_removals() {
    let (plan, _) = planned(ENOUGH);
    golden(
        "plan.txt",
        &text::prune::plan(&plan, &context(vec![], &[]), false),
    );
    golden(
        "plan-verbose.txt",
        &text::prune::plan(&plan, &context(vec![], &[]), true),
    );
}

#[test]
fn rules_that_match_nothing_are_one_note_that_is_bounded_and_no_loud_one() {
    let (plan, _) = planned(ENOUGH);
    let outcome = Outcome::new("run".into(), at(0), Observed::Unknown("why".into()));
    let mut context = context(vec![], &[]);
    let rule = |rule: String| crate::policy::Unmatched {
        key: "keep.images",
        rule,
    };
    context.unmatched = vec![rule("ghcr.io/acmee/*".into())];
    let one = "note    1 rule of the policy matches nothing here: keep.images ghcr.io/acmee/*\n";
    assert!(text::prune::plan(&plan, &context, false).contains(one));
    assert!(text::prune::outcome(&outcome, Some(&plan), &context, false).contains(one));
    context.unmatched = (0..1000)
        .map(|n| rule(format!("\u{1b}[2J{n}{}", "x".repeat(1000))))
        .collect();
    let shown = plain(&text::prune::plan(&plan, &context, false));
    let unmatched = shown
        .split("note    1000 rules of the policy match nothing here")
        .nth(1);
    let (unmatched, _) = unmatched.unwrap().split_once("disk  ").unwrap();
    assert!(
        unmatched.contains("and 995 more (--format json has all)"),
        "{unmatched}"
    );
    assert!(unmatched.len() < 1000, "{unmatched}");
    let entries = journald::prune::outcome(&outcome, Some(&plan), &context);
    let told: Vec<_> = entries
        .iter()
        .filter(|entry| entry.id == journald::prune::NOTE)
        .collect();
    assert_eq!(
        told.iter().map(|it| it.priority).collect::<Vec<_>>(),
        [Priority::Info]
    );
    for document in [
        crate::report::json::prune::plan(&plan, &context),
        crate::report::json::prune::outcome(&outcome, None, &context),
    ] {
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document["unmatched_rules"].as_array().unwrap().len(), 1000);
        assert_eq!(document["unmatched_rules"][0]["key"], "keep.images");
    }
}

#[test]
fn what_quiet_leaves_fits_a_terminal_and_ends_with_what_matters() {
    let last = |report: &str| plain(report).lines().last().unwrap().to_owned();
    let fits = |report: &str| assert!(plain(report).lines().count() <= 23, "{report}");
    let (plan, _) = planned(ENOUGH);
    let quiet = text::brief::plan(&plan, &context(vec![], &[]));
    assert!(last(&quiet).starts_with("would remove "), "{quiet}");
    let quiet = text::brief::plan(&plan, &context(refusals(), &[]));
    let way_out = refusals().last().unwrap().way_out();
    assert!(
        quiet
            .replace("\n     ", " ")
            .ends_with(&format!("{way_out}\n")),
        "{quiet}"
    );
    fits(&quiet);

    let mut outcome = run(&plan, str::to_owned);
    let quiet = text::brief::outcome(&outcome, Some(&plan));
    assert!(quiet.ends_with(": build it again\n"), "{quiet}");
    for _ in 0..4 {
        outcome.collateral.extend(outcome.collateral.clone());
    }
    let quiet = text::brief::outcome(&outcome, Some(&plan));
    fits(&quiet);
    assert!(quiet.contains("more lines without --quiet)"), "{quiet}");
    assert!(quiet.ends_with(": build it again\n"), "{quiet}");
    let nothing = Outcome::new("run".into(), at(0), Observed::Unknown("why".into()));
    let quiet = text::brief::outcome(&nothing, Some(&plan));
    assert!(last(&quiet).starts_with("removed nothing"), "{quiet}");
}

#[test]
fn the_command_that_brings_the_longest_name_back_is_whole() {
    let mut outcome = Outcome::new("run".into(), at(0), Observed::Unknown("why".into()));
    let name = format!("r.example/{}:{}", "a".repeat(245), "t".repeat(128));
    let digest = format!("r.example/{}@sha256:{:064x}", "a".repeat(245), 1);
    outcome.collateral = vec![Collateral {
        what: Lost::of(&name),
        with: id(4),
        digests: vec![digest.parse().unwrap()],
    }];
    let way_back = format!("docker pull {digest} && docker tag {digest} {name}");
    let shown = text::prune::outcome(&outcome, None, &context(vec![], &[]), false);
    assert!(shown.contains(&format!("  -> {way_back}\n")), "{shown}");
    assert!(!shown.contains('…'), "the name, too: {shown}");
    let told = journald::prune::outcome(&outcome, None, &context(vec![], &[]));
    assert!(told[0].message.ends_with(&way_back), "{}", told[0].message);
}

#[test]
fn a_plan_where_the_disk_has_room() {
    let (plan, _) = planned("[disk]\nstart_above_percent = 90");
    golden(
        "plan-room.txt",
        &text::prune::plan(&plan, &context(vec![], &[]), false),
    );
}

#[test]
fn a_plan_that_is_refused_and_would_not_be_enough() {
    let (plan, _) = planned("");
    let note = "/var/lib/docker/tmp/GetImageBlob12 is left from a pull that is over (untouched for 3 d); it holds nothing up";
    golden(
        "plan-refused.txt",
        &text::prune::plan(&plan, &context(refusals(), &[note]), false),
    );
}

#[test]
fn a_run_that_removed_what_it_should() {
    let (plan, _) = planned(ENOUGH);
    let mut outcome = Outcome::new("run".into(), at(0), plan.disk().clone());
    outcome.removed = plan.removals().map(Removed::of).collect();
    outcome.disk_after = Observed::Known(disk(86 * GIB - 505 * MIB));
    golden(
        "outcome.txt",
        &text::prune::outcome(&outcome, Some(&plan), &context(vec![], &[]), false),
    );
}

#[test]
fn a_run_that_met_everything() {
    let (plan, _) = planned("");
    let outcome = run(&plan, str::to_owned);
    golden(
        "outcome-bad.txt",
        &text::prune::outcome(&outcome, Some(&plan), &context(vec![], &[]), false),
    );
}

#[test]
fn a_run_that_was_refused() {
    let (plan, _) = planned("");
    let mut outcome = Outcome::new(
        "run".into(),
        at(0),
        Observed::Unknown("not measured".into()),
    );
    outcome.ending = Ending::Refused;
    outcome.refusals = refusals();
    golden(
        "outcome-refused.txt",
        &text::prune::outcome(&outcome, Some(&plan), &context(vec![], &[]), false),
    );
    outcome.refusals = vec![Cause::OtherRun("pid 812, since 03:00".into()).into()];
    golden(
        "outcome-other-run.txt",
        &text::prune::outcome(&outcome, None, &context(vec![], &[]), false),
    );
}

#[test]
fn a_run_whose_reviewed_plan_was_refused() {
    let (plan, _) = planned("");
    let mut outcome = Outcome::new(
        "run".into(),
        at(0),
        Observed::Unknown("not measured".into()),
    );
    outcome.ending = Ending::PlanRefused("reviewed plan old.json: it is 2 h old".into());
    let context = context(vec![], &[]);
    let shown = text::prune::outcome(&outcome, Some(&plan), &context, false);
    let first = format!("{LOUD}refused:{LOUD:#} reviewed plan old.json: it is 2 h old\n\n");
    assert!(shown.starts_with(&first), "{shown}");
    let last = journald::prune::outcome(&outcome, Some(&plan), &context).pop();
    let last = last.expect("how it ended");
    assert_eq!(last.priority, Priority::Error);
    let first = "reviewed plan old.json: it is 2 h old; refused, removed nothing of ";
    assert!(last.message.contains(first), "{}", last.message);
    assert!(last.fields.contains(&("RESULT", "refused".to_owned())));
    assert!(last.fields.contains(&("EXIT", "65".to_owned())));
}

/// Entries as a person may read them: loudness and words, then the fields.
#[track_caller]
fn journal(name: &str, entries: &[Entry]) {
    let mut shown = String::new();
    for entry in entries {
        let (priority, message) = (entry.priority as u8, &entry.message);
        shown.push_str(&["<", &priority.to_string(), "> ", message, "\n"].concat());
        for (field, value) in &entry.fields {
            shown.push_str(&["    ", field, "=", value, "\n"].concat());
        }
    }
    same(name, &shown);
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
        journald::prune::PRUNED,
        journald::prune::REMOVED,
        journald::prune::STAYED,
        journald::prune::LOST,
        journald::prune::REFUSED,
    ];
    wanted.sort_unstable();
    assert_eq!(ids, wanted);
}

#[test]
fn a_verify_cache_is_one_entry_for_each_promise_that_is_not_as_it_should_be() {
    let line = |image: &str, status| Line {
        image: crate::testing::wanted(image),
        checks: vec![
            Check::new(Kind::Present, Status::Ok, "image 1"),
            Check::new(Kind::Current, status, "the registry's word"),
            Check::new(Kind::Reused, status, "a layer would come"),
        ],
        not_asked: Vec::new(),
    };
    let mut findings = Findings::new(at(0), inventory([]).engine, false);
    findings.images = vec![
        line("app:1", Status::Ok),
        line("db:2", Status::Broken),
        line("x:3", Status::Moved),
        line("y:4", Status::Unknown),
    ];
    let mut entries = journald::cache::findings(&findings, &context(vec![], &[]));
    // Where none is promised, the store stands for itself.
    findings.images.clear();
    findings.store = Some(Check::new(Kind::Lasting, Status::Broken, "it is a tmpfs"));
    entries.extend(journald::cache::findings(&findings, &context(vec![], &[])));
    findings.refusals = vec![crate::testing::deploy("web")];
    findings.store = None;
    entries.extend(journald::cache::findings(&findings, &context(vec![], &[])));
    let fault = Fault::new(Exit::Policy, "policy p.toml, line 2: no");
    entries.push(journald::prune::fault(&fault, "verify-cache"));
    journal("journal-cache.txt", &entries);
}

#[test]
fn one_image_and_its_story() {
    let (plan, ledger) = planned("");
    let entries: Vec<_> = [4, 6, 8, 9, 10].map(|n| plan.entry(&id(n)).unwrap()).into();
    golden(
        "explain.txt",
        &text::explain::explain(&plan, &ledger, &entries),
    );
}

#[test]
fn long_lists_are_cut_and_verbose_shows_them() {
    let many = (1..=30).map(image);
    let host = inventory(many);
    let ledger = seen(&Ledger::empty("e"), host.clone(), -30);
    let ledger = seen(&ledger, host.clone(), 0);
    let policy = policy(
        "[disk]\nstart_above_percent = 0\nstop_below_percent = 0\n[limits]\nmax_images = 25",
    );
    let plan = decide(&policy, &host, &ledger, Trust::OwnMemory);
    let short = plain(&text::prune::plan(&plan, &context(vec![], &[]), false));
    assert!(short.contains("... and 5 more (-v shows all)"), "{short}");
    let long = plain(&text::prune::plan(&plan, &context(vec![], &[]), true));
    assert!(!long.contains("more (-v"), "{long}");
    assert!((1..=30).all(|n| long.contains(id(n).short())), "{long}");
}

#[test]
fn inodes_are_named_where_they_fill_the_disk() {
    let (mut host, ledger) = host();
    let full = Disk {
        inodes: Some(Room {
            used: 97,
            available: 3,
        }),
        ..disk(40 * GIB)
    };
    host.disk = Observed::Known(full);
    let plan = decide(&policy(""), &host, &ledger, Trust::OwnMemory);
    let shown = plain(&text::prune::plan(&plan, &context(vec![], &[]), false));
    // Wherever the line is broken.
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("; 97.0 % of the inodes used, "), "{shown}");
}

/// Every text that comes from outside, twice as long as a line and full of
/// what moves cursors; `plain` looks at each line.
#[test]
fn no_report_is_too_wide_or_moves_a_cursor() {
    let long = format!("{NASTY}{}/{} {NASTY}", "a".repeat(170), "b".repeat(170));
    let (mut host, _) = host();
    let name = format!("{}/{}", "d".repeat(60), ["c"; 60].join("/"));
    let tag = format!("registry.example.org:5000/{name}:{}", "t".repeat(128));
    for (n, tag) in [(20, tag.as_str()), (21, "short:1")] {
        let mut image = tagged(n, tag);
        image.incomplete = Some(long.clone().into());
        image.labels = [(long.clone(), Untrusted::new(long.clone()))].into();
        host.images.insert(image.id.clone(), image);
    }
    host.images.insert(id(22), pinned(22, &name));
    host.engine.version = Untrusted::new(long.clone());
    host.engine.root_dir = long.clone().into();
    host.containers[0].name = Untrusted::new(long.clone());
    host.containers[0].state = Untrusted::new(long.clone());
    let ledger = seen(&Ledger::empty("e"), host.clone(), -40);
    let ledger = seen(&ledger, host.clone(), 0);
    let policy = policy("digest_pinned = \"14d\"");
    let mut plan = decide(&policy, &host, &ledger, Trust::OwnMemory);
    // With it, nothing could go.
    host.engine.driver = Untrusted::new(long.clone());
    plan.engine.driver = host.engine.driver.clone();
    assert!(plan.entry(&id(22)).unwrap().reasons().is_empty());
    let mut unmeasured = host.clone();
    unmeasured.disk = Observed::Unknown(long.clone());
    let unmeasured = decide(&policy, &unmeasured, &ledger, Trust::OwnMemory);

    let mut against = refusals();
    against.extend([
        Cause::Build(long.clone()).into(),
        Cause::Clock(long.clone()).into(),
        Refusal::from(Cause::SignsUnreadable {
            path: long.clone().into(),
            why: long.clone(),
            cure: Cure::DataRoot,
        }),
    ]);
    let mut context = context(against.clone(), &[&long]);
    context.policy.file = Some(long.clone().into());
    let mut outcome = run(&plan, |why| format!("{why} {long}"));
    outcome.refusals = against;
    let every: Vec<_> = plan.entries().iter().collect();
    plain(&text::explain::explain(&plan, &ledger, &every));
    for verbose in [false, true] {
        for plan in [&plan, &unmeasured] {
            plain(&text::prune::plan(plan, &context, verbose));
            plain(&text::prune::outcome(
                &outcome,
                Some(plan),
                &context,
                verbose,
            ));
        }
        plain(&text::prune::outcome(&outcome, None, &context, verbose));
    }
}
