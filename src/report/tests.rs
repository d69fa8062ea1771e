//! Scenes for the tests of all formats, and tests of what several formats say.
//! src/report/testdata holds whole reports, word for word. To write them anew after
//! a change of wording, and read the difference: UPDATE_REPORTS=1 cargo test

use chrono::TimeDelta;

use crate::decide::plan::Plan;
use crate::decide::{Trust, decide};
use crate::guard::{Cause, Refusal};
use crate::host::journald::Priority;
use crate::memory::ledger::Ledger;
use crate::model::conditions::{Disk, LockKind, Usage};
use crate::model::lost::Lost;
use crate::model::reference::Reference;
use crate::model::text::Untrusted;
use crate::model::{Bytes, Container, Image, Inventory, Observed};
use crate::policy::Policy;
use crate::prune::outcome::{Ending, Loss, Outcome, Removed, Stayed};
use crate::report::context::{COLUMNS, Context, PolicySource};
use crate::report::text::layout::{FINE, HEAD, LOUD, WARN};
use crate::report::text::prune::Shown;
use crate::report::{journald, json, text};
use crate::testing::{at, clock, id, image, inventory, pinned, tagged};

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;
const DAY: i64 = 86_400;

/// Three of the four that may go are enough.
pub(crate) const ENOUGH: &str = "[disk]\nstart_above_percent = 85.8\nstop_below_percent = 85.6";

fn sized(image: Image, mib: u64) -> Image {
    Image {
        size: Observed::Known(Bytes(mib * MIB)),
        ..image
    }
}

pub(crate) fn disk(used: u64) -> Disk {
    Disk {
        path: "/var/lib/docker".into(),
        bytes: Usage {
            used,
            available: 100 * GIB - used,
        },
        inodes: None,
    }
}

/// A host with one image for each decision, and its ledger: surveys forty days ago, twenty days
/// ago, and now.
pub(crate) fn host() -> (Inventory, Ledger) {
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

pub(crate) fn seen(ledger: &Ledger, mut host: Inventory, day: i64) -> Ledger {
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
        left_behind: Vec::new(),
        columns: COLUMNS,
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
    let lost = |what: &str, digests: &[Reference]| Loss {
        what: Lost::of(what),
        with: id(4),
        digests: digests.to_vec(),
    };
    let digest = crate::testing::digest("ghcr.io/acme/worker", 1007);
    outcome.lost = vec![
        lost(&digest.to_string(), &[]),
        lost("ghcr.io/acme/worker:prod", &[digest]),
        lost("shop:prod", &[]),
    ];
    outcome.ending = Ending::EngineLost(why("connection reset by peer"));
    outcome
}

/// Removes our own styles and nothing else: the rest must be plain.
pub(crate) fn plain(report: &str) -> String {
    let styles = [LOUD, WARN, FINE, HEAD]
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
pub(crate) fn golden(name: &str, shown: &str) {
    crate::testing::golden("src/report/testdata", "UPDATE_REPORTS", name, shown);
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
    assert!(text::prune::plan(&plan, &context, &Shown::default()).contains(one));
    assert!(text::prune::outcome(&outcome, Some(&plan), &context, false).contains(one));
    context.unmatched = (0..1000)
        .map(|n| rule(format!("\u{1b}[2J{n}{}", "x".repeat(1000))))
        .collect();
    let shown = plain(&text::prune::plan(&plan, &context, &Shown::default()));
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
        .filter(|entry| entry.id == journald::ids::NOTE)
        .collect();
    assert_eq!(
        told.iter().map(|it| it.priority).collect::<Vec<_>>(),
        [Priority::Info]
    );
    for document in [
        json::prune::plan(&plan, &context),
        json::prune::outcome(&outcome, None, &context),
    ] {
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document["unmatched_rules"].as_array().unwrap().len(), 1000);
        assert_eq!(document["unmatched_rules"][0]["key"], "keep.images");
    }
}

#[test]
fn the_command_that_brings_the_longest_name_back_is_whole() {
    let mut outcome = Outcome::new("run".into(), at(0), Observed::Unknown("why".into()));
    let name = format!("r.example/{}:{}", "a".repeat(245), "t".repeat(128));
    let digest = format!("r.example/{}@sha256:{:064x}", "a".repeat(245), 1);
    outcome.lost = vec![Loss {
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
