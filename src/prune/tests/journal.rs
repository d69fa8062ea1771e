//! The journal comes first.

use crate::exit::Exit;
use crate::prune::outcome::Ending;
use crate::prune::tests::scene::{CHANGES, removed, scene};
use crate::testing::image;

#[tokio::test(start_paused = true)]
async fn every_intent_is_journalled_durably_before_anything_is_named_or_dropped() {
    let scene = scene([image(1), image(2)]);
    assert_eq!(removed(&scene.prune().await), [1, 2]);
    let log = scene.log(&["intent", "name", "drop"]);
    assert_eq!(log[..3], ["intent 1", "intent 2", "name 1"]);
    let world = scene.world();
    assert!(world.records[..2].iter().all(|(_, durable)| *durable));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_journalled_is_not_removed() {
    let scene = scene([image(1)]);
    scene.world().journal_fails = true;
    let outcome = scene.prune().await;
    assert_eq!(outcome.ending, Ending::StateLost("no space left".into()));
    assert_eq!(outcome.exit(), Exit::State);
    assert!(scene.log(&CHANGES).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_fails_after_a_removal_ends_the_run() {
    let scene = scene([image(1), image(2)]);
    scene.before("Removed 1", |world| world.journal_fails = true);
    let outcome = scene.prune().await;
    assert!(matches!(outcome.ending, Ending::StateLost(_)));
    assert_eq!(removed(&outcome), [1], "and says so");
    assert_eq!(scene.log(&["drop"]).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_journal_is_not_flushed_to_the_disk_while_a_deploy_may_wait() {
    let scene = scene((1..=17).map(image));
    scene.before("intent 17", |world| assert!(world.held_since.is_none()));
    assert_eq!(scene.prune().await.removed.len(), 17);
}
