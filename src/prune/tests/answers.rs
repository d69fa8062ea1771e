//! Errors of the engine.

use crate::engine::Failure;
use crate::exit::Exit;
use crate::prune::outcome::Ending;
use crate::prune::tests::scene::{CHANGES, removed, scene, whys};
use crate::prune::tests::world::broken;
use crate::testing::{digest, id, image, pinned};

#[tokio::test(start_paused = true)]
async fn a_conflict_is_a_skip_and_nothing_is_tried_twice() {
    let scene = scene([pinned(1, "app"), pinned(2, "b")]);
    scene.answers(Err(broken(Failure::Conflict)));
    let outcome = scene.prune().await;
    assert_eq!(
        whys(&outcome.skipped),
        [(1, "the engine would not: Conflict")]
    );
    assert_eq!(removed(&outcome), [2]);
    assert_eq!(scene.log(&CHANGES), ["drop app", "drop b"]);
    assert_eq!(outcome.exit(), Exit::Done);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_not_found_is_a_skip() {
    let scene = scene([pinned(1, "app")]);
    scene.before("drop app", |world| world.images.clear());
    let outcome = scene.prune().await;
    assert_eq!(whys(&outcome.skipped), [(1, "gone already")]);
}

#[tokio::test(start_paused = true)]
async fn a_later_name_that_is_not_found_does_not_hide_that_the_image_went() {
    let mut two = pinned(1, "app");
    two.digests.insert(digest("mirror.example/app", 7));
    let scene = scene([two]);
    scene.before("drop app", |world| {
        let digests = &mut world.images.get_mut(&id(1)).unwrap().digests;
        digests.remove(&digest("mirror.example/app", 7));
    });
    assert_eq!(removed(&scene.prune().await), [1]);
}

#[tokio::test(start_paused = true)]
async fn an_error_is_a_failure_and_the_next_image_is_tried() {
    let scene = scene([image(1), image(2)]);
    scene.answers(Err(broken(Failure::Status(500))));
    let outcome = scene.prune().await;
    assert_eq!(whys(&outcome.failed)[0].0, 1);
    assert_eq!(removed(&outcome), [2]);
    assert_eq!(outcome.exit(), Exit::NotAllWell);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_went_in_spite_of_an_error_is_removed() {
    for failure in [Failure::Status(500), Failure::Lost, Failure::Nonsense] {
        let scene = scene([image(1)]);
        scene.before("drop ours", |world| world.images.clear());
        scene.answers(Err(broken(failure)));
        let outcome = scene.prune().await;
        assert_eq!(removed(&outcome), [1], "{failure:?}");
        assert!(scene.open_intents().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_with_the_image_still_there_leaves_the_intent_open() {
    let scene = scene([image(1), image(2)]);
    scene.answers(Err(broken(Failure::Lost)));
    let outcome = scene.prune().await;
    assert!(matches!(outcome.ending, Ending::EngineLost(_)));
    assert_eq!(outcome.exit(), Exit::Engine);
    assert!(removed(&outcome).is_empty() && outcome.failed.is_empty());
    assert_eq!(scene.open_intents(), [1], "the engine may still be at it");
    assert_eq!(scene.log(&["drop"]).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_lost_with_the_answer_leaves_the_intent_open() {
    let scene = scene([image(1), image(2)]);
    scene.answers(Err(broken(Failure::Lost)));
    scene.before("drop ours", |world| {
        world.fails.push(("inspect", Failure::Lost));
    });
    let outcome = scene.prune().await;
    assert!(matches!(outcome.ending, Ending::EngineLost(_)));
    assert_eq!(outcome.exit(), Exit::Engine);
    assert_eq!(scene.open_intents(), [1]);
    assert_eq!(scene.log(&["drop"]).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_cannot_say_what_is_deployed_ends_the_run_before_any_change() {
    for question in ["swarm?", "builds?"] {
        let scene = scene([image(1)]);
        scene.world().fails.push((question, Failure::Status(503)));
        let outcome = scene.prune().await;
        assert!(matches!(outcome.ending, Ending::EngineLost(_)));
        assert!(scene.log(&CHANGES).is_empty());
    }
}
