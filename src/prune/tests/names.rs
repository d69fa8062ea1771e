//! Which names are given and dropped, and names of ours that a run left.

use crate::exit::Exit;
use crate::model::{Observed, Store};
use crate::prune::tests::scene::{CHANGES, left, removed, scene, tag, whys};
use crate::prune::tests::world::World;
use crate::testing::{at, digest, id, image, pinned, tagged};

#[tokio::test(start_paused = true)]
async fn a_nameless_image_gets_our_name_and_loses_it() {
    let scene = scene([image(1)]);
    assert_eq!(removed(&scene.prune().await), [1]);
    assert_eq!(
        scene.log(&["inspect", "name", "drop"]),
        ["inspect 1", "name 1", "drop ours", "inspect 1"]
    );
}

#[tokio::test(start_paused = true)]
async fn each_digest_reference_is_dropped_and_no_name_is_given() {
    let mut two = pinned(1, "app");
    two.digests.insert(digest("mirror.example/app", 7));
    let scene = scene([two]);
    assert_eq!(removed(&scene.prune().await), [1]);
    assert_eq!(scene.log(&CHANGES), ["drop app", "drop mirror.example/app"]);
}

#[tokio::test(start_paused = true)]
async fn a_dangling_image_of_the_containerd_store_gets_our_name_as_any_other() {
    let mut scene = scene([image(1)]);
    scene.host.engine.store = Store::Containerd;
    assert_eq!(removed(&scene.prune().await), [1]);
    assert_eq!(scene.log(&CHANGES), ["name 1", "drop ours"]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_came_while_ours_was_given_keeps_the_image() {
    let scene = scene([image(1)]);
    scene.before("name 1", |world| tag(world, 1));
    let outcome = scene.prune().await;
    let why = whys(&outcome.skipped)[0].1;
    assert!(why.contains("something keeps it"), "{why}");
    assert_eq!(scene.log(&CHANGES), ["name 1", "drop ours"]);
    let world = scene.world();
    let seen = &world.images[&id(1)];
    assert!(seen.ours.is_empty() && seen.tags.len() == 1);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_came_just_before_the_drop_keeps_the_image() {
    let scene = scene([image(1)]);
    scene.before("drop ours", |world| tag(world, 1));
    let outcome = scene.prune().await;
    let why = whys(&outcome.skipped)[0].1;
    assert!(why.contains("something keeps it"), "{why}");
    assert_eq!(outcome.exit(), Exit::Done);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_came_and_went_leaves_a_removal_and_no_skip() {
    let scene = scene([image(1)]);
    scene.before("name 1", |world| tag(world, 1));
    scene.before("drop ours", |world| {
        world.images.get_mut(&id(1)).unwrap().tags.clear();
    });
    let outcome = scene.prune().await;
    assert_eq!((removed(&outcome), outcome.skipped.len()), (vec![1], 0));
}

#[tokio::test(start_paused = true)]
async fn a_name_of_ours_beside_somebodys_is_dropped_under_the_locks() {
    let scene = scene([left(tagged(1, "app:1"))]);
    scene.before("drop ours", |world| assert!(world.held_since.is_some()));
    let outcome = scene.prune().await;
    assert_eq!(outcome.result(), "nothing");
    assert_eq!(scene.log(&CHANGES), ["drop ours"]);
    assert!(scene.world().images[&id(1)].ours.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_name_of_ours_that_is_the_last_one_stays_unless_the_image_is_to_go() {
    let mut young = left(image(1));
    young.dates.created = Some(at(99));
    let scene_kept = scene([young]);
    scene_kept.prune().await;
    assert!(scene_kept.log(&CHANGES).is_empty());
    let planned = scene([left(image(1))]);
    assert_eq!(removed(&planned.prune().await), [1]);
    assert_eq!(
        planned.log(&CHANGES),
        ["drop ours"],
        "it has a name already"
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_of_ours_on_an_image_that_is_to_go_is_dropped_after_its_intent() {
    let scene = scene([left(pinned(1, "app"))]);
    assert_eq!(removed(&scene.prune().await), [1]);
    assert_eq!(
        scene.log(&["intent", "drop"]),
        ["intent 1", "drop ours", "drop app"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_of_ours_stays_when_somebodys_went_meanwhile() {
    let scene = scene([left(tagged(1, "app:1"))]);
    scene.before("inspect 1", |world| {
        world.images.get_mut(&id(1)).unwrap().tags.clear();
    });
    scene.prune().await;
    assert!(scene.log(&CHANGES).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_image_that_goes_with_a_name_of_ours_that_was_left_is_collateral() {
    let scene = scene([left(tagged(1, "app:1")), image(2)]);
    scene.before("drop ours", |world| {
        world.images.get_mut(&id(1)).unwrap().tags.clear();
    });
    let outcome = scene.prune().await;
    assert_eq!(outcome.lost[0].with, id(1));
    assert_eq!(outcome.exit(), Exit::Collateral);
    assert_eq!(scene.log(&["drop"]).len(), 1, "and the run is over");
}

#[tokio::test(start_paused = true)]
async fn a_name_of_ours_that_another_run_may_rely_on_stays_for_a_while() {
    // When the name was given, until when our journal accounts for names, whether it is dropped.
    for (given, until, goes) in [
        (99, None, false),
        (99, Some(90), false),
        (99, Some(99), true),
        (-600, None, true),
    ] {
        let mut image = left(tagged(1, "app:1"));
        image.ours_until = until.map(at);
        let mut scene = scene([image]);
        scene.host.engine.store = Store::Containerd;
        let given_at = Observed::Known(Some(at(given)));
        let see =
            |world: &mut World| world.images.get_mut(&id(1)).unwrap().last_tag_time = given_at;
        see(&mut scene.world());
        scene.prune().await;
        let went = scene.world().images[&id(1)].ours.is_empty();
        assert_eq!(went, goes, "{given} {until:?}");
    }
}
