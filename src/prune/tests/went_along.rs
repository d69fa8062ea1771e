//! Names that somebody gave an image of the containerd store at the moment when a digest reference
//! of its repository was dropped.

use crate::engine::{Claim, Dropped, Failure, ImageAction, ImageEvent};
use crate::memory::journal::{Record, intended};
use crate::model::reference::Reference;
use crate::prune::outcome::Ending;
use crate::prune::tests::scene::{Scene, whys};
use crate::prune::tests::untie::{is_whole, names, on_containerd, twice, with_its_tag};
use crate::prune::tests::world::{Locks, World, broken};
use crate::prune::times::LONGEST_HELD;
use crate::testing::{at, digest, id, tagged};

/// `app:1` and `app@…` go from image 1, as the engine's events tell.
fn go_together(world: &mut World) {
    let seen = world.images.get_mut(&id(1)).unwrap();
    seen.digests.retain(|name| name.path() != "library/app");
    let lost: [Reference; 2] = ["app:1".parse().unwrap(), digest("app", 1001)];
    world.meanwhile.extend(lost.map(|name| ImageEvent {
        at: at(101),
        what: ImageAction::Untag(id(1), Some(name)),
    }));
}

/// The names in the intent that the next run would find.
fn written_down(scene: &Scene) -> Vec<String> {
    let world = scene.world();
    let lines = world.records.iter().filter(|(_, durable)| *durable);
    let lines: Vec<u8> = lines.flat_map(|(record, _)| record.to_line()).collect();
    let intended = intended(&lines, &scene.host.engine.key());
    let names = intended[&id(1)].names.iter();
    names.map(Reference::familiar).collect()
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_went_along_with_a_drop_that_failed_is_written_down_and_comes_back() {
    for failure in [
        Failure::Conflict,
        Failure::NotFound,
        Failure::Status(500),
        Failure::Nonsense,
    ] {
        let scene = on_containerd([twice()]);
        scene.before("drop app", move |world| {
            go_together(world);
            world.drops.push(Err(broken(failure)));
        });
        let outcome = scene.prune().await;
        assert_eq!(names(&scene, 1), ["app:1", "app", "db"], "{failure:?}");
        assert_eq!((outcome.lost, outcome.removed), (vec![], vec![]));
        assert!(written_down(&scene).contains(&"app:1".to_owned()));
        assert_eq!(scene.open_intents(), [0; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_went_along_with_a_drop_that_was_not_answered_is_left_to_the_next_run() {
    let scene = on_containerd([twice()]);
    scene.before("drop app", |world| {
        go_together(world);
        world.drops.push(Err(broken(Failure::Lost)));
    });
    let outcome = scene.prune().await;
    assert!(matches!(outcome.ending, Ending::EngineLost(_)));
    assert!(written_down(&scene).contains(&"app:1".to_owned()));
    assert_eq!(scene.open_intents(), [1]);
}

#[tokio::test(start_paused = true)]
async fn where_no_event_tells_what_went_along_the_intent_stays_open() {
    let scene = on_containerd([twice()]);
    scene
        .world()
        .fails
        .push(("meanwhile?", Failure::Status(500)));
    scene.answers(Err(broken(Failure::Status(500))));
    let outcome = scene.prune().await;
    assert!(matches!(outcome.ending, Ending::EngineLost(_)));
    assert_eq!(scene.open_intents(), [1]);
}

#[tokio::test(start_paused = true)]
async fn what_the_answer_names_is_written_down_before_it_is_put_back() {
    let scene = on_containerd([twice()]);
    scene.answers(Ok(with_its_tag()));
    scene.before("drop app", go_together);
    scene.before("put back app:1", |world| {
        let durable = |(record, durable): &(Record, bool)| {
            let line = String::from_utf8(record.to_line()).unwrap();
            *durable && line.contains("library/app:1")
        };
        assert!(world.records.iter().any(durable));
    });
    scene.prune().await;
    assert_eq!(names(&scene, 1), ["app:1", "app", "db"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_down_is_put_back_all_the_same() {
    let scene = on_containerd([twice()]);
    scene.answers(Ok(with_its_tag()));
    scene.before("drop app", |world| {
        go_together(world);
        world.journal_fails = true;
    });
    let outcome = scene.prune().await;
    assert!(matches!(outcome.ending, Ending::StateLost(_)));
    assert_eq!(names(&scene, 1), ["app:1", "app", "db"]);
}

#[tokio::test(start_paused = true)]
async fn a_digest_reference_that_came_meanwhile_is_put_back_as_well() {
    let scene = on_containerd([twice()]);
    let swarms = format!("app:1@{}", id(1));
    let untagged = vec![swarms.clone(), digest("app", 1001).familiar()];
    scene.answers(Ok(Dropped {
        untagged,
        deleted: vec![],
    }));
    scene.before("drop app", |world| {
        let seen = world.images.get_mut(&id(1)).unwrap();
        seen.digests.retain(|name| name.path() != "library/app");
    });
    let outcome = scene.prune().await;
    assert_eq!(outcome.lost, []);
    let (_, why) = whys(&outcome.skipped)[0];
    assert!(why.contains(&format!("named {swarms}")), "{why}");
    let swarms: Reference = swarms.parse().unwrap();
    assert!(scene.world().images[&id(1)].digests.contains(&swarms));
}

#[tokio::test(start_paused = true)]
async fn nothing_more_is_dropped_where_the_locks_are_nearly_let_go() {
    let scene = on_containerd([twice()]);
    scene.world().slow = Some(("name 1", std::time::Duration::from_millis(1500)));
    let outcome = scene.prune().await;
    is_whole(&scene, &outcome, "the engine answers slowly");
    assert_eq!(scene.log(&["drop app", "drop db"]), [""; 0]);
}

/// Somebody gives `app:1` to image 2.
fn tags_another(world: &mut World) {
    let name: Reference = "app:1".parse().unwrap();
    let image = id(2);
    let seen = world.images.get_mut(&image).unwrap();
    seen.tags.insert(name.clone());
    world.meanwhile.push(ImageEvent {
        at: at(120),
        what: ImageAction::Tag(Claim { image, name }),
    });
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_somebody_gave_to_another_image_since_is_that_ones() {
    // Just before the tag is put back; or earlier, and the other image has lost it again.
    for (line, taken) in [("put back app:1", false), ("meanwhile?", true)] {
        let scene = on_containerd([twice(), tagged(2, "other:1")]);
        scene.answers(Ok(with_its_tag()));
        scene.before("drop app", go_together);
        scene.before(line, tags_another);
        if taken {
            scene.before("leads app:1", |world| {
                let name: Reference = "app:1".parse().unwrap();
                world.images.get_mut(&id(2)).unwrap().tags.remove(&name);
            });
        }
        let outcome = scene.prune().await;
        assert_eq!(outcome.lost, []);
        assert_eq!(names(&scene, 1), ["app", "db"], "{line}");
        let tags = scene.world().images[&id(2)].tags.len();
        assert_eq!(tags, if taken { 1 } else { 2 });
        let (_, why) = whys(&outcome.skipped)[0];
        assert!(
            !why.contains("app:1, ") && !why.contains("app:1 put"),
            "{why}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_a_deploy_has_set_by_now_is_no_loss() {
    for set in [true, false] {
        let scene = on_containerd([twice(), tagged(2, "other:1")]);
        scene.answers(Ok(with_its_tag()));
        scene.before("drop app", go_together);
        // The engine takes so long that the locks are let go, and a deploy takes its own.
        scene.world().slow = Some(("drop app", LONGEST_HELD * 3));
        scene.before("let go", move |world| {
            world.locks = Locks::Theirs;
            if set {
                tags_another(world);
            }
        });
        let outcome = scene.prune().await;
        let lost: Vec<String> = outcome.lost.iter().map(|loss| loss.what.words()).collect();
        assert_eq!(lost.len(), usize::from(!set), "{lost:?}");
        assert!(!names(&scene, 1).contains(&"app:1".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn where_no_event_tells_whose_a_tag_was_before_it_was_put_back_that_is_told() {
    let scene = on_containerd([twice(), tagged(2, "other:1")]);
    scene.answers(Ok(with_its_tag()));
    scene.before("drop app", go_together);
    scene.before("put back app:1", |world| {
        world.fails.push(("meanwhile?", Failure::Status(500)));
    });
    let outcome = scene.prune().await;
    let (stayed, why) = whys(&outcome.unconfirmed)[0];
    assert_eq!(stayed, 1);
    let unknown = "whether another image had app:1 just before is not known";
    assert!(why.contains(unknown), "{why}");
    assert!(matches!(outcome.ending, Ending::EngineLost(_)));
    assert_eq!(scene.open_intents(), [1]);
}

#[tokio::test(start_paused = true)]
async fn names_of_an_image_that_went_while_they_were_put_back_lead_to_nothing_and_go() {
    let scene = on_containerd([twice()]);
    scene.before("drop ours", |world| {
        world.drops.push(Err(broken(Failure::Conflict)));
    });
    scene.before("put back app db", |world| {
        world.images.remove(&id(1));
    });
    let outcome = scene.prune().await;
    assert!(scene.world().to_nothing.is_empty());
    let (_, why) = whys(&outcome.skipped)[0];
    assert!(why.contains("it is gone"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_somebody_sets_or_a_name_that_is_taken_before_the_first_drop_ends_the_turn() {
    type Act = fn(&mut World);
    let acts: [Act; 2] = [
        |world| {
            let seen = world.images.get_mut(&id(1)).unwrap();
            seen.tags.insert("other:1".parse().unwrap());
        },
        |world| world.images.get_mut(&id(1)).unwrap().ours.clear(),
    ];
    for act in acts {
        let scene = on_containerd([twice()]);
        let mut act = Some(act);
        scene.before("name 1", move |world| {
            let mut act = act.take();
            let later = Box::new(move |world: &mut World| act.take().unwrap()(world));
            world.before.push(("inspect 1".into(), later));
        });
        let outcome = scene.prune().await;
        assert_eq!(outcome.lost, []);
        assert_eq!(outcome.skipped.len(), 1);
        assert_eq!(scene.log(&["drop app", "drop db"]), [""; 0]);
        assert!(scene.world().images[&id(1)].digests.len() == 2);
    }
}
