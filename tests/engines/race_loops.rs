//! A janitor in a loop and others beside it in loops, on live engines, with the
//! program itself: what an engine acknowledged beside a prune is still there
//! after it, and where the engine leaves a gap, the program says what was lost.
//!
//! Here some hundreds; thousands by `tests/long races` and `tests/long pulls`.

mod arrivals;
mod names;
mod pulls;
mod racer;
mod rounds;
mod tally;
mod turns;

use crate::support::NOTHING;
use std::io::Write;

use self::arrivals::{Arrival, Host};
use self::names::Names;
use self::pulls::Pulls;
use self::racer::Act;
use self::rounds::Loop;
use self::tally::Tally;
use crate::lab::Kind;

/// How many, unless the long command asks for more.
fn wanted(variable: &str, few: usize) -> usize {
    std::env::var(variable).map_or(few, |text| text.parse().expect("a number"))
}

/// Loops on engines of their own, at the same time: more wait than compute.
fn in_loops(kind: Kind, act: Act, shares_lock: bool) -> Tally {
    let loops = wanted("SECATEUR_LOOPS", 1);
    let wanted = match act {
        Act::Tag => wanted("SECATEUR_RACES", 50),
        Act::Create | Act::Mount => wanted("SECATEUR_CREATES", 20),
    };
    let each = wanted.div_ceil(loops);
    let total = std::thread::scope(|scope| {
        let loops: Vec<_> = (0..loops)
            .map(|_| {
                scope.spawn(move || Loop::new(kind, act, shares_lock).until_acknowledged(each))
            })
            .collect();
        let tallies = loops.into_iter().map(|l| l.join().expect("a loop"));
        tallies.fold(Tally::default(), Tally::and)
    });
    let lock = if shares_lock {
        "shared lock"
    } else {
        "no lock"
    };
    say(&format!("{}, {act:?}, {lock}: {total}", kind.name()));
    total
}

/// Past the capture of tests that pass: the figures are the point.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Nothing is lost where everybody shares the lock.
#[track_caller]
fn with_the_lock(kind: Kind, act: Act) {
    let tally = in_loops(kind, act, true);
    assert!(
        tally.waited > 0 && tally.acknowledged > 0,
        "nobody raced: {tally}"
    );
    assert_eq!(tally.lost(), 0, "{tally}: {tally:?}");
}

/// What is lost without the lock is reported, every time.
#[track_caller]
fn without_a_lock(kind: Kind, act: Act) {
    let tally = in_loops(kind, act, false);
    assert!(tally.within_the_window() > 0, "nobody raced: {tally}");
    assert_eq!(tally.silent, NOTHING, "{tally}");
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn no_tag_is_lost_on_overlay2_where_the_deployer_shares_the_lock() {
    for kind in Kind::NEWEST_OVERLAY {
        with_the_lock(kind, Act::Tag);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn no_tag_is_lost_on_the_containerd_store_where_the_deployer_shares_the_lock() {
    for kind in Kind::NEWEST_CONTAINERD {
        with_the_lock(kind, Act::Tag);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn every_tag_lost_on_overlay2_without_the_lock_is_reported() {
    for kind in Kind::NEWEST_OVERLAY {
        without_a_lock(kind, Act::Tag);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn every_tag_lost_on_the_containerd_store_without_the_lock_is_reported() {
    for kind in Kind::NEWEST_CONTAINERD {
        without_a_lock(kind, Act::Tag);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn no_container_loses_its_image_where_the_deployer_shares_the_lock() {
    for kind in Kind::NEWEST {
        with_the_lock(kind, Act::Create);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn every_container_that_lost_its_image_without_the_lock_is_reported() {
    for kind in Kind::NEWEST {
        without_a_lock(kind, Act::Create);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn every_container_that_lost_a_mounted_image_without_the_lock_is_reported() {
    for kind in Kind::NEWEST {
        without_a_lock(kind, Act::Mount);
    }
}

/// Whatever arrives beside a janitor is whole.
#[track_caller]
fn arrives_whole(kind: Kind, arrival: Arrival) {
    let arrived = Host::new(kind, arrival).receives(wanted("SECATEUR_PULLS", 20));
    say(&format!("{}, {arrival:?}: {arrived}", kind.name()));
    assert!(arrived.beside_a_removal > 0, "nobody raced: {arrived}");
    assert_eq!(arrived.broken, NOTHING, "{arrived}");
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn no_pull_beside_a_janitor_on_overlay2_is_broken() {
    for kind in Kind::NEWEST_OVERLAY {
        arrives_whole(kind, Arrival::Pull);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn no_pull_beside_a_janitor_on_the_containerd_store_is_broken() {
    for kind in Kind::NEWEST_CONTAINERD {
        arrives_whole(kind, Arrival::Pull);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn no_load_beside_a_janitor_is_broken() {
    for kind in Kind::NEWEST {
        arrives_whole(kind, Arrival::Load);
    }
}

/// Of what comes while digest references are dropped nothing is lost in silence, and what is put
/// back is told.
#[test]
#[ignore = "needs the lab: run tests/run"]
fn no_name_is_lost_while_digest_references_are_dropped() {
    for kind in Kind::NEWEST_CONTAINERD {
        let named = Names::on(kind).until_acknowledged(wanted("SECATEUR_NAMES", 40));
        say(&format!(
            "{}, digest references, no lock: {named}",
            kind.name()
        ));
        assert!(
            named.put_back > 0 && named.removed > 0,
            "nobody raced: {named}"
        );
        assert_eq!(named.silent, NOTHING, "{named}");
    }
}

/// What is lost of pulls of what is being removed is reported, and nothing else.
#[track_caller]
fn same_image(kind: Kind) {
    let pulled = Pulls::on(kind).until_acknowledged(wanted("SECATEUR_SAME", 24));
    say(&format!(
        "{}, pulls of the same image, no lock: {pulled}",
        kind.name()
    ));
    assert!(pulled.removed > 0, "nobody raced: {pulled}");
    assert_eq!(pulled.silent, NOTHING, "{pulled}");
    assert_eq!(pulled.false_alarms, NOTHING, "{pulled}");
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn every_pull_lost_beside_a_prune_of_overlay2_is_reported_and_no_other() {
    for kind in Kind::NEWEST_OVERLAY {
        same_image(kind);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn every_pull_lost_beside_a_prune_of_the_containerd_store_is_reported_and_no_other() {
    for kind in Kind::NEWEST_CONTAINERD {
        same_image(kind);
    }
}
