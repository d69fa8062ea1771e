//! Deploy locks.

use std::time::Duration;

use crate::engine::Failure;
use crate::exit::Exit;
use crate::guard::{Cause, Refusal};
use crate::model::conditions::LockKind;
use crate::prune::outcome::Ending;
use crate::prune::tests::scene::{Scene, removed, scene, whys};
use crate::prune::tests::world::{Locks, a_lock};
use crate::prune::times::LONGEST_HELD;
use crate::survey::watch::PATIENCE;
use crate::testing::{id, image, pinned};

#[tokio::test(start_paused = true)]
async fn without_the_deploy_locks_nothing_is_asked_or_removed() {
    let scene = scene([image(1)]);
    scene.world().locks = Locks::Theirs;
    let outcome = scene.prune().await;
    assert_eq!(
        (outcome.ending.clone(), outcome.result()),
        (Ending::Refused, "refused")
    );
    assert_eq!(outcome.exit(), Exit::RefusedForNow);
    assert!(scene.log(&["inspect", "name", "drop"]).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_let_go_within_moments_is_waited_for() {
    let scene = scene([image(1), image(2)]);
    scene.world().locks = Locks::TheirsFor(PATIENCE.saturating_sub(Duration::from_millis(50)));
    let outcome = scene.prune().await;
    assert_eq!(
        (removed(&outcome), outcome.exit()),
        (vec![1, 2], Exit::Done)
    );
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_met_between_two_images_is_waited_for_as_well() {
    let scene = scene([image(1), image(2)]);
    scene.before("Removed 1", |world| {
        world.locks = Locks::TheirsFor(world.started.elapsed() + PATIENCE / 2);
    });
    scene.world().slow = Some(("drop", LONGEST_HELD));
    assert_eq!(removed(&scene.prune().await), [1, 2]);
    assert!(scene.world().longest_held <= 2 * LONGEST_HELD);
}

/// Three images; after the first, a deploy has its lock and makes the second a rollback.
fn beside_a_deploy() -> Scene {
    let scene = scene([image(1), image(2), image(3)]);
    scene.before("Removed 1", |world| {
        world.locks = Locks::TheirsFor(world.started.elapsed() + PATIENCE / 2);
        world.rollbacks = vec![id(2)];
    });
    scene.world().slow = Some(("drop", LONGEST_HELD));
    scene
}

#[tokio::test(start_paused = true)]
async fn what_a_deploy_makes_a_rollback_while_its_lock_is_waited_for_in_mid_run_stays() {
    let scene = beside_a_deploy();
    let outcome = scene.prune().await;
    assert_eq!(removed(&outcome), [1, 3]);
    let why = "a deploy had its lock since the plan, and something keeps it now";
    assert_eq!(whys(&outcome.skipped), [(2, why)]);
    assert_eq!(scene.log(&["survey?"]).len(), 1);
    // Builds are asked for again after the survey.
    let log = scene.log(&["survey?", "builds?", "inspect"]);
    let after = log.iter().skip_while(|line| *line != "survey?").nth(1);
    assert_eq!(after.map(String::as_str), Some("builds?"), "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn a_survey_after_a_deploy_keeps_no_other_waiting_and_ends_the_run_where_it_fails() {
    let slow = beside_a_deploy();
    slow.before("survey?", |world| {
        world.slow = Some(("survey?", LONGEST_HELD * 10));
    });
    assert_eq!(removed(&slow.prune().await), [1, 3]);
    assert!(slow.world().longest_held <= 2 * LONGEST_HELD);

    for (failure, refusals) in [(Failure::Contradiction, 1), (Failure::Lost, 0)] {
        let fails = beside_a_deploy();
        fails.world().fails = vec![("survey?", failure)];
        let outcome = fails.prune().await;
        assert_eq!((removed(&outcome), outcome.exit()), (vec![1], Exit::Engine));
        assert_eq!(outcome.refusals.len(), refusals, "{:?}", outcome.ending);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_waited_for_within_the_runs_time_and_not_after_it_was_asked_to_end() {
    let mut busy = scene([image(1)]);
    busy.policy.limits.max_run = PATIENCE / 2;
    busy.world().locks = Locks::Theirs;
    assert_eq!(busy.prune().await.ending, Ending::OutOfTime);
    assert!(busy.world().started.elapsed() < PATIENCE);

    let asked = scene([image(1)]);
    asked.world().locks = Locks::Theirs;
    asked.before("hold", |world| world.interrupted = true);
    assert_eq!(asked.prune().await.ending, Ending::Interrupted);
    assert!(asked.log(&["hold"]).len() <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_does_not_end_by_itself_is_not_waited_for() {
    let unclear = Cause::DeployLock {
        path: "/l".into(),
        kind: LockKind::Flock,
        holder: None,
        unclear: Some("EIO".into()),
    };
    let stays = [
        Refusal {
            alert: true,
            ..a_lock()
        },
        unclear.into(),
        Cause::Clock("it was set back".into()).into(),
    ];
    assert!(a_lock().may_end_at_any_moment());
    assert!(stays.iter().all(|refusal| !refusal.may_end_at_any_moment()));
}

#[tokio::test(start_paused = true)]
async fn every_look_and_every_change_is_made_under_the_locks() {
    let scene = scene([image(1), pinned(2, "app")]);
    for line in ["inspect 1", "name 1", "drop ours", "inspect 2", "drop app"] {
        scene.before(line, |world| assert!(world.held_since.is_some()));
    }
    assert_eq!(removed(&scene.prune().await).len(), 2);
    assert!(scene.world().held_since.is_none(), "and they are let go");
}

#[tokio::test(start_paused = true)]
async fn the_locks_are_let_go_after_a_second_and_taken_again() {
    let scene = scene((1..=4).map(image));
    scene.world().slow = Some(("drop", Duration::from_millis(600)));
    assert_eq!(removed(&scene.prune().await).len(), 4);
    assert_eq!(scene.log(&["hold", "let go"]).len(), 4);
    assert!(scene.world().longest_held <= 2 * LONGEST_HELD);
}

#[tokio::test(start_paused = true)]
async fn a_deploy_that_takes_the_locks_in_between_refuses_the_rest() {
    let scene = scene([image(1), image(2)]);
    scene.world().slow = Some(("drop", Duration::from_millis(1100)));
    scene.before("let go", |world| world.locks = Locks::Theirs);
    let outcome = scene.prune().await;
    assert_eq!(removed(&outcome), [1]);
    assert_eq!(
        (outcome.exit(), outcome.result()),
        (Exit::RefusedForNow, "stopped")
    );
    assert_eq!(scene.log(&["Skipped"]), ["Skipped 2"]);
}
