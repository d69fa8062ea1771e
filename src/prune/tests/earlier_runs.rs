//! Names that an earlier run took from an image before it was cut off.

use std::time::Duration;

use crate::memory::journal::{RecordKind, SkipCause};
use crate::model::Image;
use crate::prune::outcome::Ending;
use crate::prune::tests::scene::{Scene, left, pull, removed};
use crate::prune::tests::untie::{CHANGES, is_whole, on_containerd, twice};
use crate::prune::tests::world::{Locks, World};
use crate::survey::watch::PATIENCE;
use crate::testing::{at, digest, id, image, pinned};

/// An image from which a run that was cut off took `app`.
fn cut_off(image: Image) -> Scene {
    let untied: Image = Image {
        untied: [digest("app", 1001)].into(),
        ..left(image)
    };
    let scene = on_containerd([untied]);
    let without = |world: &mut World| {
        let seen = world.images.get_mut(&id(1)).unwrap();
        seen.digests.remove(&digest("app", 1001));
    };
    without(&mut scene.world());
    scene
}

/// The same of an image that is too young to go.
fn cut_off_and_kept() -> Scene {
    let mut young = twice();
    young.dates.created = Some(at(95));
    cut_off(young)
}

/// Beside it, an image from which such a run took `web`.
fn with_a_second(mut scene: Scene, kept: bool) -> Scene {
    let mut second = pinned(2, "web");
    second.untied = [digest("web", 1002)].into();
    if kept {
        second.dates.created = Some(at(95));
    }
    scene.host.images.insert(id(2), left(second));
    scene
}

fn is_closed_because(scene: &Scene, because: SkipCause) -> bool {
    let closes = |what: &RecordKind| matches!(what, RecordKind::Outcome { because: b, .. } if *b == Some(because));
    let records = &scene.world().records;
    records.iter().any(|(record, _)| closes(&record.what))
}

#[tokio::test(start_paused = true)]
async fn what_a_run_that_was_cut_off_took_comes_back_where_the_image_stays() {
    let scene = cut_off_and_kept();
    let outcome = scene.prune().await;
    is_whole(&scene, &outcome, "cut off; app@");
    assert_eq!(outcome.skipped[0].because, Some(SkipCause::NamesPutBack));
    assert!(is_closed_because(&scene, SkipCause::NamesPutBack));
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_such_a_run_took_along_comes_back_after_the_moment_of_a_deploy() {
    for (held, back) in [(PATIENCE / 2, true), (PATIENCE * 2, false)] {
        let mut scene = cut_off_and_kept();
        let image = scene.host.images.get_mut(&id(1)).unwrap();
        image.untied = ["app:1".parse().unwrap()].into();
        scene.world().locks = Locks::TheirsFor(held);
        let outcome = scene.prune().await;
        assert_eq!(scene.world().images[&id(1)].tags.len(), usize::from(back));
        assert_eq!(outcome.ending == Ending::Surprised, !back, "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_digest_reference_comes_back_at_once_though_a_deploy_has_its_lock() {
    let scene = cut_off_and_kept();
    scene.world().locks = Locks::Theirs;
    scene.before("put back app", |world| {
        assert!(world.started.elapsed() < PATIENCE, "it waited for the lock");
    });
    let outcome = scene.prune().await;
    is_whole(&scene, &outcome, "cut off; app@");
}

#[tokio::test(start_paused = true)]
async fn what_a_deploy_makes_a_rollback_while_a_tag_waits_for_its_lock_stays() {
    for (rollbacks, goes) in [(vec![id(2)], vec![]), (vec![], vec![2])] {
        let mut young = left(pinned(1, "app"));
        young.dates.created = Some(at(95));
        young.untied = ["app:1".parse().unwrap()].into();
        let scene = on_containerd([young, image(2)]);
        scene.world().locks = Locks::TheirsFor(PATIENCE / 2);
        scene.world().rollbacks = rollbacks;
        assert_eq!(removed(&scene.prune().await), goes);
    }
}

#[tokio::test(start_paused = true)]
async fn names_of_an_image_that_is_gone_go_with_ours_and_the_intent_is_closed() {
    let scene = cut_off_and_kept();
    scene.before("put back app", |world| {
        world.images.clear();
    });
    let outcome = scene.prune().await;
    assert_eq!((outcome.lost.len(), outcome.removed.len()), (0, 0));
    assert_eq!(scene.log(&["drop"]), ["drop app", "drop ours"]);
    assert!(scene.world().to_nothing.is_empty());
    assert!(is_closed_because(&scene, SkipCause::LeadsToNothing));
}

#[tokio::test(start_paused = true)]
async fn what_a_run_that_was_cut_off_took_stays_away_from_what_goes() {
    let scene = cut_off(twice());
    let outcome = scene.prune().await;
    assert_eq!(removed(&outcome), [1]);
    assert_eq!(scene.log(&CHANGES), ["name 1", "drop db", "drop ours"]);
    assert_eq!(scene.open_intents(), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_a_run_that_was_cut_off_took_comes_back_where_this_one_ends_early_or_skips() {
    for line in ["intent 1", "builds?", "swarm?", "drop db"] {
        let scene = cut_off(twice());
        scene.before(line, |world| {
            world.interrupted = true;
            world.events.push(pull(1, "app", 101));
        });
        let outcome = scene.prune().await;
        is_whole(&scene, &outcome, "app@");
    }
}

#[tokio::test(start_paused = true)]
async fn what_earlier_runs_took_comes_back_within_the_time_of_a_run() {
    let scene = with_a_second(cut_off_and_kept(), true);
    let slow = Duration::from_secs(61);
    scene.world().slow = Some(("put back", slow));
    let outcome = scene.prune().await;
    assert_eq!(outcome.ending, Ending::OutOfTime);
    assert_eq!(scene.log(&["put back"]), ["put back app"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_hidden_by_names_that_are_left_to_the_next_run() {
    let scene = with_a_second(cut_off(twice()), false);
    scene.before("intent 1", |world| {
        world.refusals.push(crate::testing::deploy("web"));
    });
    let slow = Duration::from_secs(6);
    scene.world().slow = Some(("put back", slow));
    let outcome = scene.prune().await;
    assert_eq!(outcome.ending, Ending::Refused);
    assert_eq!(scene.log(&["put back"]), ["put back app"]);
    assert_eq!(scene.open_intents(), [2]);
}

#[tokio::test(start_paused = true)]
async fn what_earlier_runs_took_comes_back_where_the_survey_took_the_time_of_a_run() {
    let scene = cut_off_and_kept();
    tokio::time::advance(Duration::from_secs(61)).await;
    let outcome = scene.prune().await;
    is_whole(&scene, &outcome, "cut off; app@");
}
