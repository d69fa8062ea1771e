//! Several images in the same turn.

use std::time::Duration;

use tokio::time::Instant;

use crate::engine::{Dropped, Failure};
use crate::exit::Exit;
use crate::model::reference::Reference;
use crate::model::{Bytes, Image, Observed};
use crate::policy::Policy;
use crate::prune::outcome::Ending;
use crate::prune::pace::{BYTES, MOST};
use crate::prune::tests::scene::{POLICY, Scene, removed, scene, tag, whys};
use crate::prune::tests::untie::on_containerd;
use crate::prune::tests::world::{Act, Locks, World, broken};
use crate::prune::times::LONGEST_HELD;
use crate::testing::{deploy, digest, id, image, pinned};

/// How many names were dropped in each turn.
fn turns(scene: &Scene) -> Vec<usize> {
    let log = scene.log(&["swarm?", "drop"]);
    let turns = log.split(|line| line == "swarm?");
    let turns = turns.map(<[String]>::len);
    turns.filter(|drops| *drops > 0).collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_image_goes_alone_and_then_twice_as_many_at_the_same_time() {
    let scene = scene((1..=50).map(image));
    assert_eq!(removed(&scene.prune().await), (1..=50).collect::<Vec<_>>());
    // Intents are written in batches of this size.
    assert_eq!(turns(&scene), [1, 2, 4, 8, 16, 1, 50 - MOST]);
}

#[tokio::test(start_paused = true)]
async fn those_that_go_together_are_all_asked_about_before_and_after() {
    let scene = scene((1..=3).map(image));
    assert_eq!(removed(&scene.prune().await), [1, 2, 3]);
    let log = scene.log(&["inspect", "name", "drop", "swarm?", "refusals?", "Removed"]);
    let together = log.iter().position(|line| line == "drop ours").unwrap() + 1;
    let asked = ["inspect 1", "swarm?", "inspect 2", "inspect 3"];
    let went = ["Removed 1", "refusals?", "name 2", "name 3"];
    let after = ["drop ours", "drop ours", "inspect 2", "inspect 3"];
    let end = ["Removed 2", "Removed 3"];
    assert_eq!(
        log[together..],
        [asked.as_slice(), &went, &after, &end].concat()
    );
}

#[tokio::test(start_paused = true)]
async fn images_whose_ids_begin_alike_go_one_after_the_other() {
    let alike = |n: u64| Image {
        id: format!("{:060}{n:04}", 0).parse().unwrap(),
        ..image(n)
    };
    let scene = scene((1..=3).map(alike));
    assert_eq!(scene.prune().await.removed.len(), 3);
    assert_eq!(turns(&scene), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_changed_stays_and_those_beside_it_go() {
    let scene = scene((1..=3).map(image));
    scene.before("inspect 2", |world| tag(world, 2));
    let outcome = scene.prune().await;
    assert_eq!(removed(&outcome), [1, 3]);
    assert_eq!(whys(&outcome.skipped)[0].0, 2);
}

/// The engine's answer to the first drop that is not alone, that of image 2.
fn answers_to_the_second(scene: &Scene, answer: Result<Dropped, Failure>) {
    let mut answer = Some(answer);
    scene.before("name 3", move |world| {
        let answer = answer.take().unwrap();
        world.drops.push(answer.map_err(broken));
    });
}

#[tokio::test(start_paused = true)]
async fn what_one_of_them_ends_leaves_no_other_untold() {
    let lie = |n| Dropped {
        untagged: vec![Reference::ours(&id(n)).to_string()],
        deleted: vec![id(n).to_string()],
    };
    let loss = Dropped {
        untagged: vec!["somebodys:1".into()],
        ..lie(2)
    };
    for (answer, exit, open) in [
        (Ok(lie(2)), Exit::Collateral, vec![2]),
        (Ok(loss), Exit::Collateral, vec![]),
        (Err(Failure::Lost), Exit::Engine, vec![2]),
    ] {
        let scene = scene((1..=5).map(image));
        answers_to_the_second(&scene, answer);
        let outcome = scene.prune().await;
        let went = removed(&outcome);
        assert!(went.contains(&1) && went.contains(&3), "{went:?}");
        assert_eq!(outcome.exit(), exit);
        assert_eq!(scene.open_intents(), open, "the next run finds out");
        assert_eq!(scene.log(&["Skipped"]), ["Skipped 4", "Skipped 5"]);
        assert_eq!(scene.log(&["drop"]).len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_or_a_refusal_of_the_engine_is_one_images_own_and_the_next_goes_alone() {
    for (failure, failed, turns_of) in [
        (Failure::Status(500), 1, vec![1, 2, 1, 2]),
        (Failure::Conflict, 0, vec![1, 2, 3]),
    ] {
        let scene = scene((1..=6).map(image));
        answers_to_the_second(&scene, Err(failure));
        let outcome = scene.prune().await;
        assert_eq!(removed(&outcome), [1, 3, 4, 5, 6]);
        assert_eq!(outcome.failed.len(), failed);
        assert_eq!(outcome.skipped.len(), 1 - failed);
        assert_eq!(turns(&scene), turns_of);
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_lost_while_they_are_named_drops_none_of_them() {
    let scene = scene((1..=4).map(image));
    scene.world().fails.push(("name 2", Failure::Lost));
    let outcome = scene.prune().await;
    assert_eq!(removed(&outcome), [1]);
    assert!(matches!(outcome.ending, Ending::EngineLost(_)));
    assert_eq!(scene.open_intents(), [2]);
    let why = "the run ended before its turn was over";
    assert_eq!(whys(&outcome.skipped), [(3, why)]);
    assert_eq!(scene.log(&["Skipped"]), ["Skipped 3", "Skipped 4"]);
}

#[tokio::test(start_paused = true)]
async fn locks_that_go_while_they_are_named_leave_all_of_them_here() {
    let scene = scene((1..=3).map(image));
    scene.before("name 2", |world| {
        world.slow = Some(("name", LONGEST_HELD * 3));
    });
    let outcome = scene.prune().await;
    assert_eq!(removed(&outcome), [1]);
    assert_eq!(outcome.skipped.len(), 2);
    assert!(scene.world().longest_held <= LONGEST_HELD * 2);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_stops_all_of_them() {
    let scene = scene((1..=3).map(image));
    scene.before("inspect 3", |world| world.refusals.push(deploy("web")));
    let outcome = scene.prune().await;
    assert_eq!(removed(&outcome), [1]);
    assert_eq!(scene.log(&["Skipped"]), ["Skipped 2", "Skipped 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_asked_to_end_tells_of_those_that_were_answered() {
    let scene = scene((1..=4).map(image));
    let hangs = |world: &mut World| {
        world.interrupted = true;
        world.slow = Some(("drop", Duration::from_secs(120)));
    };
    let drop = || "drop ours".to_owned();
    scene.before("name 3", move |world| {
        let first: Act = Box::new(move |world| world.before.push((drop(), Box::new(hangs))));
        world.before.push((drop(), first));
    });
    let begun = Instant::now();
    let outcome = scene.prune().await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(removed(&outcome), [1, 2]);
    assert_eq!(scene.open_intents(), [3]);
    assert_eq!(scene.log(&["Skipped"]), ["Skipped 4"]);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_slow_at_them_gets_one_at_a_time() {
    let scene = scene((1..=6).map(image));
    scene.world().locks = Locks::None;
    scene.before("name 3", |world| {
        world.slow = Some(("drop", LONGEST_HELD * 2));
    });
    assert_eq!(removed(&scene.prune().await).len(), 6);
    assert_eq!(turns(&scene), [1, 2, 1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_those_that_are_under_way_go_beyond_what_the_disk_needs() {
    let scene = scene((1..=8).map(image));
    scene.before("name 3", |world| world.used = 5);
    assert_eq!(removed(&scene.prune().await), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn large_images_those_of_an_unknown_size_and_those_with_names_go_alone() {
    let odd: [fn(&mut Image); 3] = [
        |image| image.size = Observed::Known(Bytes(BYTES / 2 + 1)),
        |image| image.size = Observed::Unknown("odd".into()),
        |image| image.digests = [digest("app", 1)].into(),
    ];
    for make in odd {
        let mut scene = scene((1..=4).map(image));
        scene.policy =
            Policy::parse(&POLICY.replace("80", "0").replace("10\n", "0\n"), "test").unwrap();
        for (id, image) in &mut scene.host.images {
            make(image);
            let digests = image.digests.clone();
            scene
                .fake
                .0
                .borrow_mut()
                .images
                .get_mut(id)
                .unwrap()
                .digests = digests;
        }
        assert_eq!(removed(&scene.prune().await), [1, 2, 3, 4]);
        assert_eq!(scene.log(&["swarm?"]).len(), 4);
    }
    let scene = on_containerd((1..=4).map(|n| pinned(n, "app")));
    assert_eq!(removed(&scene.prune().await), [1, 2, 3, 4]);
    // Each time before its digest reference goes and before our name goes.
    assert_eq!(scene.log(&["swarm?"]).len(), 8);
}
