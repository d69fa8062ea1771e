//! An image is confirmed to be gone.

use std::time::Duration;

use chrono::TimeDelta;

use crate::engine::{Dropped, Failure};
use crate::exit::Exit;
use crate::model::reference::Reference;
use crate::prune::confirm::KEPT;
use crate::prune::outcome::Ending;
use crate::prune::tests::scene::{CHANGES, pull, removed, scene, whys};
use crate::prune::tests::world::{Locks, World};
use crate::testing::{digest, id, image, pinned};

#[tokio::test(start_paused = true)]
async fn each_image_is_seen_to_be_gone_before_the_next_is_touched() {
    let scene = scene([image(1), image(2)]);
    assert_eq!(removed(&scene.prune().await), [1, 2]);
    let first = ["builds?", "swarm?", "inspect 1", "name 1", "drop ours"];
    // With the locks held and builds listed quickly, everything is asked at the same time.
    let second = ["inspect 1", "builds?", "swarm?", "inspect 2"];
    let rest = ["Removed 1", "name 2", "drop ours", "inspect 2", "Removed 2"];
    let all = ["inspect", "name", "drop", "builds?", "swarm?", "Removed"];
    assert_eq!(scene.log(&all), [first.as_slice(), &second, &rest].concat());
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_still_there_ends_the_run_before_the_next_is_touched() {
    let scene = scene([image(1), image(2)]);
    scene.answers(Ok(Dropped {
        untagged: vec![Reference::ours(&id(1)).to_string()],
        deleted: vec![id(1).to_string()],
    }));
    let outcome = scene.prune().await;
    assert_eq!(outcome.ending, Ending::Surprised);
    assert_eq!(scene.log(&CHANGES), ["name 1", "drop ours"]);
    let closed = scene.log(&["Unknown", "Skipped"]);
    assert_eq!(closed, ["Unknown 1", "Skipped 2"]);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_said_to_be_gone_and_is_not_stops_the_run() {
    for deleted in [vec![id(1).to_string()], vec![]] {
        let scene = scene([pinned(1, "app"), pinned(2, "b")]);
        let said_gone = !deleted.is_empty();
        scene.before("drop app", move |world| {
            if said_gone {
                world.images.get_mut(&id(1)).unwrap().digests.clear();
            }
        });
        scene.answers(Ok(Dropped {
            untagged: vec![digest("app", 1001).familiar()],
            deleted,
        }));
        let outcome = scene.prune().await;
        assert_eq!(whys(&outcome.unconfirmed)[0].0, 1);
        assert_eq!(outcome.exit(), Exit::Collateral);
        assert_eq!(scene.open_intents(), [1], "the next run finds out");
        assert_eq!(scene.log(&["drop"]), ["drop app"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_that_was_pulled_again_after_its_removal_is_no_surprise() {
    // If it was pulled long before, it should be gone.
    for (seconds, exit) in [(100, Exit::Done), (99, Exit::Collateral)] {
        for deleted in [vec![id(1).to_string()], vec![]] {
            let scene = scene([pinned(1, "app")]);
            let gone = !deleted.is_empty();
            scene.before("drop app", move |world| {
                world.events.push(pull(1, "app", seconds));
            });
            scene.answers(Ok(Dropped {
                untagged: vec![digest("app", 1001).familiar()],
                deleted,
            }));
            let outcome = scene.prune().await;
            assert_eq!(outcome.exit(), exit, "{seconds} {gone}");
            let (went, stayed) = (removed(&outcome).len(), outcome.skipped.len());
            let (again, was_gone) = (exit == Exit::Done, usize::from(gone));
            assert_eq!(went, if again { was_gone } else { 0 });
            assert_eq!(stayed, if again { 1 - was_gone } else { 0 });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_that_came_again_after_the_clock_was_set_back_is_no_surprise() {
    let scene = scene([pinned(1, "app")]);
    scene.before("drop app", |world| {
        world.set_back = TimeDelta::seconds(2);
        world.events.push(pull(1, "app", 99));
    });
    scene.answers(Ok(Dropped {
        untagged: vec![digest("app", 1001).familiar()],
        deleted: vec![id(1).to_string()],
    }));
    let outcome = scene.prune().await;
    assert_eq!((removed(&outcome), outcome.exit()), (vec![1], Exit::Done));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_said_to_be_gone_and_was_tagged_just_then_is_kept() {
    let scene = scene([pinned(1, "app"), image(2)]);
    // As the containerd store does: the answer is given before the image goes.
    scene.before("drop app", |world| {
        let seen = world.images.get_mut(&id(1)).unwrap();
        seen.digests.clear();
        seen.tags.insert("wanted:1".parse().unwrap());
    });
    scene.answers(Ok(Dropped {
        untagged: vec![digest("app", 1001).familiar()],
        deleted: vec![id(1).to_string()],
    }));
    let outcome = scene.prune().await;
    let why = format!("{KEPT}; without {} now", digest("app", 1001).familiar());
    assert_eq!(whys(&outcome.skipped)[0], (1, &*why));
    assert_eq!(removed(&outcome), [2], "the run goes on");
    assert_eq!(outcome.exit(), Exit::Done);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_gone_and_whose_id_leads_to_nothing_readable_stops_the_run() {
    let scene = scene([pinned(1, "app"), image(2)]);
    // As the containerd store does if a tag came too late to keep it.
    scene.before("drop app", |world| {
        world.fails.push(("inspect 1", Failure::Nonsense));
    });
    let outcome = scene.prune().await;
    assert_eq!(whys(&outcome.unconfirmed)[0].0, 1);
    assert_eq!(outcome.exit(), Exit::Collateral);
    assert_eq!(scene.log(&["drop"]), ["drop app"], "nothing after it");
}

#[tokio::test(start_paused = true)]
async fn the_last_image_is_seen_to_be_gone_before_a_question_that_fails_ends_the_run() {
    let scene = scene([image(1), image(2)]);
    scene.world().locks = Locks::None;
    scene.world().slow = Some(("drop", Duration::from_millis(1500)));
    scene.before("drop ours", |world| {
        world.fails.push(("events?", Failure::Status(500)));
    });
    let outcome = scene.prune().await;
    assert_eq!(outcome.exit(), Exit::Engine);
    assert_eq!(removed(&outcome), [1]);
    assert_eq!(
        scene.log(&["Removed", "Skipped"]),
        ["Removed 1", "Skipped 2"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_image_that_stays_is_told_with_the_names_that_it_lost() {
    let tagged = |world: &mut World| {
        let seen = world.images.get_mut(&id(1)).unwrap();
        seen.tags.insert("wanted:1".parse().unwrap());
    };
    let scene = scene([pinned(1, "app")]);
    scene.before("drop app", tagged);
    let outcome = scene.prune().await;
    let name = digest("app", 1001).familiar();
    let why = format!("{KEPT}; without {name} now");
    assert_eq!(whys(&outcome.skipped), [(1, &*why)]);
}
