//! What ends a run early.

use std::time::Duration;

use crate::engine::Failure;
use crate::exit::Exit;
use crate::policy::Policy;
use crate::prune::outcome::Ending;
use crate::prune::tests::scene::{POLICY, removed, scene, tag};
use crate::prune::tests::world::{a_lock, broken};
use crate::testing::image;

#[tokio::test(start_paused = true)]
async fn what_speaks_against_it_in_mid_run_stops_it_and_the_rest_is_journalled() {
    let scene = scene((1..=3).map(image));
    scene.before("Removed 1", |world| {
        world.refusals.push(crate::testing::deploy("web"));
    });
    let outcome = scene.prune().await;
    assert_eq!(removed(&outcome), [1]);
    assert_eq!(outcome.exit(), Exit::RefusedForNow);
    assert_eq!(scene.log(&["drop"]).len(), 1);
    assert_eq!(scene.log(&["Skipped"]), ["Skipped 2", "Skipped 3"]);
    assert!(scene.open_intents().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_not_hidden_by_a_refusal_after_it() {
    let scene = scene([image(1), image(2)]);
    scene.answers(Err(broken(Failure::Status(500))));
    scene.before("Failed 1", |world| world.refusals.push(a_lock()));
    assert_eq!(scene.prune().await.exit(), Exit::NotAllWell);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_asked_to_end_ends_before_the_next_image() {
    let scene = scene([image(1), image(2)]);
    scene.before("drop ours", |world| world.interrupted = true);
    let outcome = scene.prune().await;
    assert_eq!(
        (removed(&outcome), outcome.ending.clone()),
        (vec![1], Ending::Interrupted)
    );
    assert_eq!(outcome.exit(), Exit::RefusedForNow);
    assert_eq!(scene.log(&["Skipped"]), ["Skipped 2"]);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_was_seen_before_the_run_was_stopped_stays() {
    let scene = scene([image(1), image(2)]);
    scene.before("name 1", |world| {
        world.stopped = true;
        world.interrupted = true;
    });
    let outcome = scene.prune().await;
    assert_eq!(removed(&outcome), [] as [u64; 0]);
    assert_eq!(outcome.ending, Ending::Interrupted);
    assert!(scene.open_intents().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_when_its_time_is_over() {
    let scene = scene((1..=4).map(image));
    scene.world().slow = Some(("drop", Duration::from_secs(40)));
    let outcome = scene.prune().await;
    assert_eq!(
        (removed(&outcome), outcome.ending.clone()),
        (vec![1, 2], Ending::OutOfTime)
    );
    assert_eq!(scene.log(&["Skipped"]), ["Skipped 3", "Skipped 4"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_when_the_disk_has_enough() {
    let scene = scene((1..=3).map(image));
    scene.before("drop ours", |world| world.used = 5);
    let outcome = scene.prune().await;
    assert_eq!(
        (removed(&outcome), outcome.ending.clone()),
        (vec![1], Ending::Done)
    );
    assert_eq!(scene.log(&["Skipped"]), ["Skipped 2", "Skipped 3"]);
    assert_eq!(outcome.exit(), Exit::Done);
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_when_the_disk_has_enough_though_nothing_was_removed() {
    let scene = scene((1..=3).map(image));
    scene.before("inspect 1", |world| {
        tag(world, 1);
        world.used = 5;
    });
    let outcome = scene.prune().await;
    assert_eq!((removed(&outcome), outcome.ending), (vec![], Ending::Done));
    let steps = scene.log(&["drop", "Skipped"]);
    assert_eq!(steps, ["Skipped 1", "Skipped 2", "Skipped 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_min_free_started_ends_when_that_is_there() {
    let mut scene = scene((1..=3).map(image));
    let text = POLICY.replace(
        "[disk]\nstart_above_percent = 80",
        "[disk]\nmin_free = \"20B\"\nstart_above_percent = 95",
    );
    scene.policy = Policy::parse(&text, "test").unwrap();
    scene.before("drop ours", |world| world.used = 80);
    let outcome = scene.prune().await;
    assert_eq!(removed(&outcome), [1], "10 free at first, and 20 after one");
    assert_eq!(outcome.ending, Ending::Done);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_cannot_be_measured_is_not_a_disk_with_enough_or_without() {
    let scene = scene([image(1)]);
    scene.world().used = 5;
    assert_eq!(removed(&scene.prune().await), [1], "the plan has been made");
}
