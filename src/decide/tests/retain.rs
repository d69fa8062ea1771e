//! `[[retain]]`: more for some names, by the names that an image has and had.

use super::*;
use crate::memory::ledger::Sighting;

const RULE: &str = "[[retain]]\nimages = [\"app:1\", \"r.example/app:*\"]\n\
    min_age = \"50s\"\nprevious = 1\ndigest_pinned = \"80s\"\n";

fn with_rule(more: &str) -> Policy {
    let text =
        format!("[age]\nmin_age = \"10s\"\ndigest_pinned = \"20s\"\n[keep]\nprevious = 0\n{more}");
    Policy::parse(&text, "test").unwrap()
}

/// At which second after the last tag, of these, image 1 may go.
fn goes_after(story: impl Fn() -> Story, host: &Inventory, policy: &Policy) -> Vec<i64> {
    let may_go = |second: &i64| {
        let plan = story().survey(100 + second, host).decide(policy, host);
        plan.entry(&id(1)).unwrap().verdict != Verdict::Keep
    };
    [9, 10, 20, 49, 50, 79, 80]
        .into_iter()
        .filter(may_go)
        .collect()
}

#[test]
fn an_untagged_image_stays_for_the_age_of_a_rule_that_means_a_name_it_had() {
    let untagged = inventory([image(1)]);
    let after = |name: &str, rule: &str| {
        let story = || {
            Story::begins()
                .survey(0, &inventory([tagged(1, name)]))
                .survey(100, &untagged)
        };
        goes_after(story, &untagged, &with_rule(rule))
    };
    assert_eq!(after("app:1", ""), [10, 20, 49, 50, 79, 80]);
    assert_eq!(after("app:1", RULE), [50, 79, 80]);
    assert_eq!(after("app:2", RULE), [10, 20, 49, 50, 79, 80]);
    assert_eq!(after("r.example/app:7", RULE), [50, 79, 80]);
}

#[test]
fn of_several_rules_the_longest_counts_and_it_is_named() {
    let untagged = inventory([image(1)]);
    let other = "[[retain]]\nimages = [\"*:1\"]\nmin_age = \"80s\"\n";
    let story = || {
        Story::begins()
            .survey(0, &inventory([tagged(1, "app:1")]))
            .survey(100, &untagged)
    };
    for rules in [format!("{RULE}{other}"), format!("{other}{RULE}")] {
        let policy = with_rule(&rules);
        assert_eq!(goes_after(story, &untagged, &policy), [80]);
        let plan = story().survey(110, &untagged).decide(&policy, &untagged);
        let [reason] = &plan.entry(&id(1)).unwrap().reasons[..] else {
            panic!("{plan:?}");
        };
        let said = reason.message();
        assert!(
            said.ends_with("(minimum age 1 min 20 s by [[retain]] of *:1)"),
            "{said}"
        );
    }
}

#[test]
fn what_was_pulled_by_digest_stays_for_the_age_that_its_repository_has() {
    let host = inventory([pinned(1, "r.example/app")]);
    let story = || Story::begins().survey(100, &host);
    let after = |rule: &str| goes_after(story, &host, &with_rule(rule));
    assert_eq!(after(""), [20, 49, 50, 79, 80]);
    assert_eq!(after(RULE), [80]);
    // A rule's minimum age counts for it, too: only the ledger distinguishes it from a
    // superseded one.
    assert_eq!(
        after(&RULE.replace("digest_pinned = \"80s\"", "")),
        [50, 79, 80]
    );
    let keep = RULE.replace("\"80s\"", "\"keep\"");
    assert_eq!(after(&keep), [0; 0]);
    let plan = story().survey(500, &host).decide(&with_rule(&keep), &host);
    let said = plan.entry(&id(1)).unwrap().reasons[0].message();
    assert!(said.ends_with("([[retain]] of r.example/app:*)"), "{said}");
}

#[test]
fn rollbacks_are_counted_by_the_rule_of_their_tag() {
    let before = |name: &str| {
        let moved = inventory([image(1), tagged(2, name)]);
        let story = Story::begins()
            .survey(0, &inventory([tagged(1, name)]))
            .survey(100, &moved)
            .survey(1000, &moved);
        let plan = story.decide(&with_rule(RULE), &moved);
        let reasons = plan.entry(&id(1)).unwrap().reasons.iter();
        reasons.map(KeepReason::message).collect::<Vec<_>>()
    };
    assert_eq!(
        before("app:1"),
        ["rollback 1 of app:1 ([[retain]] of app:1)"]
    );
    assert_eq!(before("app:2"), [""; 0]);
}

#[test]
fn a_name_of_which_only_a_fingerprint_is_left_may_be_any_that_a_rule_means() {
    let untagged = inventory([image(1)]);
    let after = |name: &str, rule: &str| {
        let story = || {
            let mut story = Story::begins().survey(0, &inventory([tagged(1, name)]));
            story.ledger = story.ledger.without_names();
            story.survey(100, &untagged)
        };
        let ledger = story().ledger;
        let had = ledger
            .sighting(&id(1))
            .map(|seen: &Sighting| seen.tags.len());
        assert_eq!(had, Some(0), "only a fingerprint of its name is left");
        goes_after(story, &untagged, &with_rule(rule))
    };
    assert_eq!(after("app:1", RULE), [50, 79, 80]);
    // Whether a pattern covers it is unknown.
    assert_eq!(after("db:2", RULE), [50, 79, 80]);
    let exact = "[[retain]]\nimages = [\"app:1\"]\nmin_age = \"50s\"";
    assert_eq!(after("db:2", exact), [10, 20, 49, 50, 79, 80]);
    assert_eq!(after("app:1", exact), [50, 79, 80]);
}
