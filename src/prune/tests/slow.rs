//! A slow engine keeps no deploy waiting.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::text::Untrusted;
use crate::model::{Event, EventKind};
use crate::prune::outcome::Ending;
use crate::prune::remove::SLOW;
use crate::prune::tests::scene::{CHANGES, removed, scene, whys};
use crate::prune::tests::world::Locks;
use crate::prune::times::LONGEST_HELD;
use crate::testing::{at, digest, id, image, pinned};

#[tokio::test(start_paused = true)]
async fn a_drop_that_takes_long_lets_the_locks_go_and_is_waited_for() {
    let scene = scene([image(1)]);
    scene.world().slow = Some(("drop", Duration::from_secs(60)));
    assert_eq!(removed(&scene.prune().await), [1]);
    assert!(scene.world().longest_held <= 2 * LONGEST_HELD);
}

#[tokio::test(start_paused = true)]
async fn whatever_the_engine_is_slow_at_no_deploy_waits_and_nothing_is_dropped_without_locks() {
    for slow in ["inspect", "swarm?", "name", "containers?"] {
        let mut two = pinned(1, "app");
        two.digests.insert(digest("mirror.example/app", 7));
        let scene = scene([two, image(2)]);
        scene.world().slow = Some((slow, Duration::from_secs(20)));
        for line in ["name 2", "drop app", "drop mirror.example/app", "drop ours"] {
            scene.before(line, |world| assert!(world.held_since.is_some()));
        }
        scene.prune().await;
        let longest = scene.world().longest_held;
        assert!(longest <= 2 * LONGEST_HELD, "{slow}: {longest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_engine_keeps_no_image_where_there_is_no_lock_to_wait_for() {
    for slow in [
        "inspect",
        "swarm?",
        "builds?",
        "name",
        "containers?",
        "drop",
    ] {
        let mut two = pinned(1, "app");
        two.digests.insert(digest("mirror.example/app", 7));
        let scene = scene([two, image(2)]);
        scene.world().locks = Locks::None;
        scene.world().slow = Some((slow, Duration::from_secs(20)));
        assert_eq!(removed(&scene.prune().await), [1, 2], "{slow}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_second_name_of_an_image_is_not_dropped_when_the_first_took_too_long() {
    let mut two = pinned(1, "app");
    two.digests.insert(digest("mirror.example/app", 7));
    let scene = scene([two]);
    scene.world().slow = Some(("drop app", Duration::from_secs(5)));
    let outcome = scene.prune().await;
    assert_eq!(scene.log(&CHANGES), ["drop app"]);
    let [(1, why)] = whys(&outcome.skipped)[..] else {
        panic!("{:?}", outcome.skipped);
    };
    let lost = format!("{SLOW}; without app@sha256:");
    assert!(why.starts_with(&lost), "a name that is gone is told: {why}");
}

#[tokio::test(start_paused = true)]
async fn much_build_cache_delays_no_deploy_and_keeps_no_image() {
    let scene = scene([image(1), image(2)]);
    scene.world().slow = Some(("builds?", Duration::from_secs(10)));
    assert_eq!(removed(&scene.prune().await), [1, 2]);
    assert!(scene.world().longest_held <= 2 * LONGEST_HELD);
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_before_builds_were_told_slowly_is_looked_at_again() {
    for locks in [Locks::Free, Locks::None] {
        let scene = scene((1..=3).map(image));
        scene.world().locks = locks;
        // Quick before the first image, and slow while the second is inspected.
        scene.before("drop ours", |world| {
            world.slow = Some(("builds?", Duration::from_secs(10)));
            world.events.push(Event {
                at: at(101),
                image: Untrusted::new(id(2).to_string()),
                what: EventKind::Used,
                tag: None,
            });
        });
        assert_eq!(removed(&scene.prune().await), [1, 3], "{locks:?}");
        assert!(locks == Locks::None || scene.world().longest_held <= 2 * LONGEST_HELD);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_asked_to_end_does_not_wait_for_an_engine_that_hangs() {
    let scene = scene([image(1)]);
    scene.world().slow = Some(("drop", Duration::from_secs(120)));
    scene.before("drop ours", |world| {
        world.interrupted = true;
        world.slow = Some(("", Duration::from_secs(120)));
    });
    let begun = Instant::now();
    let outcome = scene.prune().await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(matches!(outcome.ending, Ending::EngineLost(_)));
    assert_eq!(scene.open_intents(), [1]);
}
