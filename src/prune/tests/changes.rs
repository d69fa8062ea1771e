//! An image that changed since the plan stays.

use std::time::Duration;

use chrono::TimeDelta;

use crate::exit::Exit;
use crate::model::text::Untrusted;
use crate::model::{Container, Event, EventKind, Image, Observed};
use crate::prune::tests::scene::{CHANGES, pull, removed, scene, tag, web_runs, whys};
use crate::prune::tests::world::World;
use crate::testing::{at, digest, id, image, pinned};

/// Asserts that this act of somebody keeps image 1 untouched. Returns the reason.
async fn keeps(image: Image, act: impl FnMut(&mut World) + 'static) -> String {
    let scene = scene([image]);
    scene.before("hold", act);
    let outcome = scene.prune().await;
    assert!(scene.log(&CHANGES).is_empty(), "{:?}", scene.world().log);
    assert_eq!((outcome.exit(), outcome.result()), (Exit::Done, "nothing"));
    whys(&outcome.skipped)[0].1.to_owned()
}

#[tokio::test(start_paused = true)]
async fn an_image_that_was_tagged_since_the_plan_is_skipped() {
    let why = keeps(image(1), |world| tag(world, 1)).await;
    assert_eq!(why, "it was tagged somebodys:1 since the plan");
}

#[tokio::test(start_paused = true)]
async fn an_image_whose_digest_references_changed_is_skipped() {
    let why = keeps(pinned(1, "app"), |world| {
        let digests = &mut world.images.get_mut(&id(1)).unwrap().digests;
        digests.insert(digest("other", 9));
    })
    .await;
    assert!(why.contains("digest references changed"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_a_tag_was_set_on_and_taken_from_is_skipped() {
    let why = keeps(image(1), |world| {
        let seen = world.images.get_mut(&id(1)).unwrap();
        seen.last_tag_time = Observed::Known(Some(at(99)));
    })
    .await;
    assert!(why.contains("a tag was set"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_a_new_service_wants_is_skipped() {
    let why = keeps(pinned(1, "app"), |world| {
        world.swarm = web_runs(&digest("app", 1001));
    })
    .await;
    assert_eq!(why, "service web wants it since the plan");
}

#[tokio::test(start_paused = true)]
async fn an_image_of_several_names_that_a_new_container_uses_keeps_them_all() {
    let mut two = pinned(1, "app");
    two.digests.insert(digest("mirror.example/app", 7));
    let why = keeps(two, |world| {
        world.containers.push(Container {
            id: Untrusted::new("c"),
            name: Untrusted::new("web"),
            image: Untrusted::new("gone"),
            image_ids: vec![id(1)],
            state: Untrusted::new("running"),
            image_mounts: Vec::new(),
        });
    })
    .await;
    assert_eq!(why, "container web uses it since the plan");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_gone_since_the_plan_is_skipped() {
    let why = keeps(image(1), |world| world.images.clear()).await;
    assert_eq!(why, "gone already");
}

#[tokio::test(start_paused = true)]
async fn what_was_pulled_up_to_the_last_look_before_a_drop_stays() {
    let scene = scene([pinned(1, "app"), pinned(2, "b")]);
    scene.before("inspect 2", |world| world.events.push(pull(2, "b", 101)));
    let outcome = scene.prune().await;
    assert_eq!(removed(&outcome), [1]);
    let why = "it was pulled or used since the plan";
    assert_eq!(whys(&outcome.skipped), [(2, why)]);
    assert_eq!(scene.log(&["drop"]), ["drop app"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_pulled_after_the_clock_was_set_back_stays() {
    let scene = scene([pinned(1, "app"), pinned(2, "b")]);
    scene.before("inspect 2", |world| {
        world.set_back = TimeDelta::seconds(2);
        // The engine gives it a date for which the run has asked already.
        world.events.push(pull(2, "b", 99));
    });
    scene.before("inspect 1", |world| world.events.push(pull(1, "app", 97)));
    let outcome = scene.prune().await;
    assert_eq!(removed(&outcome), [1], "pulled before the plan");
    assert_eq!(outcome.skipped.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_used_since_the_plan_and_is_not_any_more_stays() {
    let used = |image: String, what| Event {
        at: at(101),
        image: Untrusted::new(image),
        what,
        tag: None,
    };
    let scene = scene([image(1), pinned(2, "app"), image(3)]);
    let pulled = digest("app", 1002).to_string();
    scene.world().events = vec![
        used(id(1).to_string(), EventKind::Used),
        used(pulled, EventKind::Pulled),
    ];
    let outcome = scene.prune().await;
    assert_eq!(scene.log(&CHANGES), ["name 3", "drop ours"]);
    let why = "it was pulled or used since the plan";
    assert_eq!(whys(&outcome.skipped), [(1, why), (2, why)]);
}

#[tokio::test(start_paused = true)]
async fn what_happened_is_asked_for_before_each_drop() {
    let scene = scene([image(1), image(2)]);
    scene.world().slow = Some(("drop", Duration::from_millis(1500)));
    scene.before("drop ours", |world| {
        world.events.push(Event {
            at: at(101),
            image: Untrusted::new(id(2).to_string()),
            what: EventKind::Used,
            tag: None,
        });
    });
    scene.prune().await;
    assert_eq!(
        scene.log(&["events?", "drop"]),
        // Asked each time without the locks and with them.
        ["events?", "drop ours", "events?"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_deploy_wanted_before_we_had_its_lock_stays() {
    let scene = scene([image(1), image(2)]);
    // Whatever is done until we have the lock.
    scene.world().slow = Some(("builds?", Duration::from_secs(10)));
    for n in [1, 2] {
        scene.before("hold", move |world| {
            world.events.push(Event {
                at: at(101),
                image: Untrusted::new(id(n).to_string()),
                what: EventKind::Named,
                tag: None,
            });
        });
    }
    let outcome = scene.prune().await;
    assert_eq!(scene.log(&CHANGES), [""; 0]);
    assert_eq!(outcome.skipped.len(), 2);
}
