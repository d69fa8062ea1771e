//! Whole reports, word for word.

use crate::decide::{Alternative, Setting, Trust, decide};
use crate::guard::{Cause, Refusal};
use crate::memory::ledger::Ledger;
use crate::model::conditions::{Cure, Disk, LeftBehind, Usage};
use crate::model::text::Untrusted;
use crate::model::{Bytes, Observed};
use crate::policy::Promised;
use crate::prune::outcome::{Ending, Outcome, Removed};
use crate::report::context::{COLUMNS, Context};
use crate::report::tests::{
    self, ENOUGH, GIB, MIB, context, disk, host, plain, planned, policy, refusals, run, seen,
};
use crate::report::text::layout::{FINE, LOUD, WARN};
use crate::report::text::prune::Shown;
use crate::report::{json, text};
use crate::testing::{at, id, image, inventory, pinned, tagged};

/// Text that must not reach a terminal unescaped.
const NASTY: &str = "\u{1b}[2J\u{9b}5m\r\n\u{7}\u{202e}x\u{2028}";

#[track_caller]
fn golden(name: &str, report: &str) {
    tests::golden(name, &plain(report));
}

fn verbose() -> Shown {
    Shown {
        verbose: true,
        ..Shown::default()
    }
}

#[test]
fn a_plan_with_removals() {
    let (plan, _) = planned(ENOUGH);
    golden(
        "plan.txt",
        &text::prune::plan(&plan, &context(vec![], &[]), &Shown::default()),
    );
    golden(
        "plan-verbose.txt",
        &text::prune::plan(&plan, &context(vec![], &[]), &verbose()),
    );
}

#[test]
fn no_promised_image_is_named_as_one_to_drop() {
    let (plan, _) = planned("");
    let names = |promised: Promised| {
        let shown = Shown {
            top: Some(10),
            promised,
            ..Shown::default()
        };
        text::prune::plan(&plan, &context(vec![], &[]), &shown).contains("docker rmi postgres:16")
    };
    assert!(names(Promised::default()));
    assert!(!names(Promised {
        images: vec!["postgres:16".parse().unwrap()],
        ..Promised::default()
    }));
    assert!(!names(Promised {
        lists: vec!["/etc/secateur/base.list".into()],
        ..Promised::default()
    }));
}

#[test]
fn a_store_that_was_left_behind_is_named_with_its_figures_and_the_way_out() {
    let (plan, _) = planned(ENOUGH);
    let mut context = context(vec![], &[]);
    context.left_behind = vec![LeftBehind {
        layers: "/var/lib/docker/overlay2".into(),
        records: "/var/lib/docker/image/overlay2".into(),
        images: 12,
        bytes: Bytes(3 * GIB),
        all: true,
    }];
    let text = text::prune::plan(&plan, &context, &Shown::default()).replace("\n        ", " ");
    let fact = "12 images, 3.0 GiB of layers, are in /var/lib/docker/overlay2 and \
                /var/lib/docker/image/overlay2, which this engine used before";
    assert!(text.contains(&format!("\nnote    {fact}")), "{text}");
    let (_, section) = text.split_once("operating.md, \"").unwrap();
    let section = section.split('"').next().unwrap();
    let page = include_str!("../../../../docs/operating.md");
    assert!(page.contains(&format!("\n## {section}\n")), "{section}");
    let document = |context: &Context| -> serde_json::Value {
        serde_json::from_str(&json::prune::plan(&plan, context)).unwrap()
    };
    let left = &document(&context)["left_behind"][0];
    assert_eq!(left["path"], "/var/lib/docker/overlay2");
    assert_eq!(left["records"], "/var/lib/docker/image/overlay2");
    assert_eq!(
        (&left["images"], &left["size_bytes_at_least"]),
        (&12.into(), &(3 * GIB).into())
    );
    assert_eq!(left["complete"], true);
    context.left_behind[0].all = false;
    let text = text::prune::plan(&plan, &context, &Shown::default());
    assert!(
        text.contains("at least 12 images, at least 3.0 GiB"),
        "{text}"
    );
    context.left_behind.clear();
    assert_eq!(document(&context)["left_behind"], serde_json::json!([]));
}

#[test]
fn what_quiet_leaves_fits_a_terminal_and_ends_with_what_matters() {
    let last = |report: &str| plain(report).lines().last().unwrap().to_owned();
    let fits = |report: &str| assert!(plain(report).lines().count() <= 23, "{report}");
    let (plan, _) = planned(ENOUGH);
    let quiet = text::prune::plan_in_brief(&plan, &context(vec![], &[]));
    assert!(last(&quiet).starts_with("would remove "), "{quiet}");
    let quiet = text::prune::plan_in_brief(&plan, &context(refusals(), &[]));
    let way_out = refusals().last().unwrap().way_out();
    assert!(
        quiet
            .replace("\n     ", " ")
            .ends_with(&format!("{way_out}\n")),
        "{quiet}"
    );
    fits(&quiet);

    let mut outcome = run(&plan, str::to_owned);
    let quiet = text::prune::outcome_in_brief(&outcome, Some(&plan), &context(vec![], &[]));
    assert!(quiet.ends_with(": build it again\n"), "{quiet}");
    for _ in 0..4 {
        outcome.lost.extend(outcome.lost.clone());
    }
    let quiet = text::prune::outcome_in_brief(&outcome, Some(&plan), &context(vec![], &[]));
    fits(&quiet);
    assert!(quiet.contains("more lines without --quiet)"), "{quiet}");
    assert!(quiet.ends_with(": build it again\n"), "{quiet}");
    let nothing = Outcome::new("run".into(), at(0), Observed::Unknown("why".into()));
    let quiet = text::prune::outcome_in_brief(&nothing, Some(&plan), &context(vec![], &[]));
    assert!(last(&quiet).starts_with("removed nothing"), "{quiet}");
}

#[test]
fn a_plan_where_the_disk_has_room() {
    let (plan, _) = planned("[disk]\nstart_above_percent = 90");
    golden(
        "plan-room.txt",
        &text::prune::plan(&plan, &context(vec![], &[]), &Shown::default()),
    );
}

#[test]
fn a_plan_that_is_refused_and_would_not_be_enough() {
    let (plan, _) = planned("");
    let frees = |setting, images, mib| Alternative {
        setting,
        images,
        frees: Bytes(mib * MIB),
    };
    let shown = Shown {
        alternatives: vec![
            frees(Setting::EngineDates, 2, 180),
            frees(Setting::DigestPinned, 1, 88),
        ],
        ..Shown::default()
    };
    let note = "/var/lib/docker/tmp/GetImageBlob12 is left from a pull that is over (untouched for 3 d); it holds nothing up";
    golden(
        "plan-refused.txt",
        &text::prune::plan(&plan, &context(refusals(), &[note]), &shown),
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
fn one_image_and_its_story() {
    let (plan, ledger) = planned("");
    let entries: Vec<_> = [4, 6, 8, 9, 10].map(|n| plan.entry(&id(n)).unwrap()).into();
    golden(
        "explain.txt",
        &text::prune::explain(&plan, &ledger, &entries, COLUMNS),
    );
}

/// A host that has many images of each kind, under pressure, beside a deploy.
#[test]
fn the_last_screen_of_a_long_report_has_the_answer() {
    let many = (1..=30).map(image);
    let mut host = inventory(many);
    host.disk = Observed::Known(disk(90 * GIB));
    let ledger = seen(&Ledger::empty("e"), host.clone(), -30);
    let ledger = seen(&ledger, host.clone(), 0);
    let plan = decide(&policy(""), &host, &ledger, Trust::OwnMemory);
    let last = |report: String| {
        let lines: Vec<String> = plain(&report).lines().map(str::to_owned).collect();
        assert!(lines.len() > 23, "{report}");
        lines[lines.len() - 23..].join("\n")
    };
    let context = context(refusals(), &[]);
    for verbose in [false, true] {
        let shown = Shown {
            verbose,
            ..Shown::default()
        };
        let seen = last(text::prune::plan(&plan, &context, &shown));
        assert!(
            seen.contains("\ndisk    needs space: 90.0 % used"),
            "{seen}"
        );
        assert!(seen.contains(", start > 85 %\n"), "{seen}");
        assert!(seen.contains("\nwould remove 30 of 30 images"), "{seen}");
        assert!(seen.contains("is held by"), "why it is refused: {seen}");
    }
    let mut outcome = run(&plan, str::to_owned);
    outcome.removed = plan.removals().map(Removed::of).collect();
    let seen = last(text::prune::outcome(&outcome, Some(&plan), &context, false));
    assert!(seen.contains("\nremoved 30 images"), "{seen}");
    assert!(seen.contains("\nstopped: the engine went away"), "{seen}");
    assert!(seen.contains("\nlost: "), "{seen}");
    // A short one says it once.
    let (plan, _) = planned("[disk]\nstart_above_percent = 90");
    let seen = text::prune::plan(&plan, &tests::context(vec![], &[]), &Shown::default());
    assert_eq!(seen.matches("would remove").count(), 1, "{seen}");
}

#[test]
fn the_bar_shows_where_removing_stops_and_starts_and_what_was_freed() {
    let bar = |more: &str, before: u64, after: u64| {
        let (mut host, ledger) = host();
        host.disk = Observed::Known(disk(before * GIB));
        let plan = decide(&policy(more), &host, &ledger, Trust::OwnMemory);
        let mut outcome = Outcome::new("run".into(), at(0), plan.disk().clone());
        outcome.removed = plan.removals().take(1).map(Removed::of).collect();
        outcome.disk_after = Observed::Known(disk(after * GIB));
        let context = context(vec![], &[]);
        let report = if before == after {
            text::prune::plan(&plan, &context, &Shown::default())
        } else {
            text::prune::outcome(&outcome, Some(&plan), &context, false)
        };
        let line = report.lines().find(|line| line.starts_with("        ["));
        let line = line.unwrap_or_default().to_owned();
        (plain(&format!("{line}\n")), line)
    };
    for (more, before, after, style, wanted) in [
        (
            "",
            86,
            86,
            LOUD,
            "[###########################<##>     ]  stop < 75 %, start > 85 %",
        ),
        (
            "",
            80,
            80,
            WARN,
            "[###########################<# >     ]  stop < 75 %, start > 85 %",
        ),
        (
            "",
            50,
            50,
            FINE,
            "[##################         <  >     ]  stop < 75 %, start > 85 %",
        ),
        (
            "",
            90,
            70,
            FINE,
            "[##########################-<-->--   ]  stop < 75 %, start > 85 %",
        ),
        (
            "[disk]\nstart_above_percent = 75",
            86,
            86,
            LOUD,
            "[###########################>###     ]  start > 75 %",
        ),
        (
            "[disk]\nmin_free = \"30GiB\"",
            60,
            60,
            FINE,
            "[######################   >          ]  start > 70 %",
        ),
        (
            "[disk]\nstart_above_percent = 0\nstop_below_percent = 0",
            86,
            86,
            FINE,
            "[###############################     ]",
        ),
    ] {
        let (seen, styled) = bar(more, before, after);
        assert_eq!(seen.trim(), wanted, "{more} {before} {after}");
        assert!(styled.contains(&style.render().to_string()), "{styled:?}");
    }
}

#[test]
fn a_narrow_terminal_has_no_line_that_is_wider() {
    let (plan, ledger) = planned("");
    let narrow = Context {
        columns: 60,
        ..context(
            refusals(),
            &["a note of some length, which one line of 60 columns does not hold"],
        )
    };
    let shown = Shown {
        verbose: true,
        top: Some(10),
        ..Shown::default()
    };
    let outcome = run(&plan, str::to_owned);
    let every: Vec<_> = plan.entries().iter().collect();
    for report in [
        text::prune::plan(&plan, &narrow, &shown),
        text::prune::outcome(&outcome, Some(&plan), &narrow, true),
        text::prune::explain(&plan, &ledger, &every, 60),
    ] {
        let shown = plain(&report);
        let wide = shown
            .lines()
            .filter(|line| line.chars().count() > 60 && !line.starts_with("  -> "))
            .collect::<Vec<_>>();
        assert!(wide.is_empty(), "{wide:#?}");
    }
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
    let short = plain(&text::prune::plan(
        &plan,
        &context(vec![], &[]),
        &Shown::default(),
    ));
    assert!(short.contains("... and 5 more (-v shows all)"), "{short}");
    let long = plain(&text::prune::plan(&plan, &context(vec![], &[]), &verbose()));
    assert!(!long.contains("more (-v"), "{long}");
    assert!((1..=30).all(|n| long.contains(id(n).short())), "{long}");
}

#[test]
fn inodes_are_named_where_they_fill_the_disk() {
    let (mut host, ledger) = host();
    let full = Disk {
        inodes: Some(Usage {
            used: 97,
            available: 3,
        }),
        ..disk(40 * GIB)
    };
    host.disk = Observed::Known(full);
    let plan = decide(&policy(""), &host, &ledger, Trust::OwnMemory);
    let shown = plain(&text::prune::plan(
        &plan,
        &context(vec![], &[]),
        &Shown::default(),
    ));
    // Wherever the line is broken.
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("; 97.0 % of the inodes used, "), "{shown}");
}

/// Every text from outside, twice as long as a line and full of characters that move cursors;
/// `plain` checks each line.
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
    assert!(plan.entry(&id(22)).unwrap().reasons.is_empty());
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
    context.left_behind = vec![LeftBehind {
        layers: long.clone().into(),
        records: long.clone().into(),
        images: 1,
        bytes: Bytes(MIB),
        all: false,
    }];
    let mut outcome = run(&plan, |why| format!("{why} {long}"));
    outcome.refusals = against;
    let every: Vec<_> = plan.entries().iter().collect();
    plain(&text::prune::explain(&plan, &ledger, &every, COLUMNS));
    for verbose in [false, true] {
        for plan in [&plan, &unmeasured] {
            plain(&text::prune::plan(
                plan,
                &context,
                &Shown {
                    verbose,
                    ..Shown::default()
                },
            ));
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
