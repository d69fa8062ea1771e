//! A loss stops the run.

use crate::engine::Dropped;
use crate::exit::Exit;
use crate::model::lost::Lost;
use crate::model::reference::Reference;
use crate::prune::outcome::Ending;
use crate::prune::tests::scene::{left, removed, scene};
use crate::testing::{digest, id, image, pinned, tagged};

#[tokio::test(start_paused = true)]
async fn a_name_that_went_and_was_not_meant_stops_the_run() {
    let scene = scene([pinned(1, "app"), pinned(2, "b")]);
    scene.before("drop app", |world| {
        world.images.remove(&id(1));
    });
    scene.answers(Ok(Dropped {
        untagged: vec![digest("app", 1001).familiar(), "prod:1".into()],
        deleted: vec![id(1).to_string()],
    }));
    let outcome = scene.prune().await;
    assert_eq!(outcome.lost.len(), 1);
    assert_eq!(
        outcome.lost[0].way_back().unwrap(),
        format!(
            "docker pull {0} && docker tag {0} prod:1",
            digest("app", 1001).familiar()
        )
    );
    assert_eq!(
        (outcome.ending.clone(), outcome.exit()),
        (Ending::Surprised, Exit::Collateral)
    );
    assert_eq!(removed(&outcome), [1], "the image itself went, too");
    assert_eq!(scene.log(&["drop"]), ["drop app"]);
    assert_eq!(
        scene.log(&["Collateral", "Skipped"]),
        ["Collateral 1", "Skipped 2"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_longest_lost_name_has_a_command_that_brings_it_back() {
    let scene = scene([pinned(1, "app")]);
    let name = format!("r.example/{}:{}", "a".repeat(245), "t".repeat(128));
    scene.answers(Ok(Dropped {
        untagged: vec![name.clone()],
        deleted: vec![],
    }));
    let outcome = scene.prune().await;
    let digest = digest("app", 1001).familiar();
    assert_eq!(
        outcome.lost[0].way_back(),
        Some(format!(
            "docker pull {digest} && docker tag {digest} {name}"
        ))
    );
}

#[tokio::test(start_paused = true)]
async fn another_image_of_the_host_that_went_stops_the_run() {
    let scene = scene([image(1), tagged(2, "prod:1")]);
    scene.answers(Ok(Dropped {
        untagged: vec![],
        deleted: vec![id(1).to_string(), id(2).to_string()],
    }));
    let outcome = scene.prune().await;
    assert_eq!(outcome.lost[0].what, Lost::Image(id(2)));
    assert_eq!(outcome.exit(), Exit::Collateral);
}

#[tokio::test(start_paused = true)]
async fn the_engines_own_record_of_a_dangling_image_is_no_collateral_and_anothers_is() {
    for (record, exit) in [(1, Exit::Done), (2, Exit::Collateral)] {
        let scene = scene([left(image(1))]);
        scene.before("drop ours", |world| world.images.clear());
        scene.answers(Ok(Dropped {
            untagged: vec![
                format!("moby-dangling@{}", id(record)),
                Reference::ours(&id(1)).to_string(),
            ],
            deleted: vec![id(1).to_string()],
        }));
        let outcome = scene.prune().await;
        assert_eq!((removed(&outcome), outcome.exit()), (vec![1], exit));
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_went_is_no_collateral() {
    let scene = scene([image(1)]);
    scene.before("drop ours", |world| world.images.clear());
    scene.answers(Ok(Dropped {
        untagged: vec![],
        deleted: vec![id(1).to_string(), id(77).to_string()],
    }));
    let outcome = scene.prune().await;
    assert_eq!((removed(&outcome), outcome.exit()), (vec![1], Exit::Done));
}
