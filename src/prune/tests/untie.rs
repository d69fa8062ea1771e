//! Images of the containerd store that have digest references.

use crate::engine::{Dropped, Failure};
use crate::model::lost::Lost;
use crate::model::reference::Reference;
use crate::model::text::Untrusted;
use crate::model::{Container, Image, Observed, Store};
use crate::prune::outcome::{Ending, Outcome};
use crate::prune::tests::scene::{Scene, pull, removed, scene, web_runs, whys};
use crate::prune::tests::world::{World, broken};
use crate::testing::{digest, id, pinned, tagged};

pub(super) const CHANGES: [&str; 4] = ["name", "drop", "put back", "leads"];

/// An image with two names in two repositories.
pub(super) fn twice() -> Image {
    let mut image = pinned(1, "app");
    image.digests.insert(digest("db", 1001));
    image
}

pub(super) fn on_containerd(images: impl IntoIterator<Item = Image>) -> Scene {
    let mut scene = scene(images);
    scene.host.engine.store = Store::Containerd;
    scene
}

/// The engine's answer if a digest reference goes together with a tag of its repository.
pub(super) fn with_its_tag() -> Dropped {
    Dropped {
        untagged: vec!["app:1".into(), digest("app", 1001).familiar()],
        deleted: vec![],
    }
}

pub(super) fn names(scene: &Scene, n: u64) -> Vec<String> {
    let world = scene.world();
    let seen = &world.images[&id(n)];
    let all = seen.tags.iter().chain(&seen.digests).chain(&seen.ours);
    let short = |name: &Reference| {
        let name = name.familiar();
        name.split('@').next().unwrap().to_owned()
    };
    all.map(short).collect()
}

/// Asserts that the image stayed with all its names and without ours.
#[track_caller]
pub(super) fn is_whole(scene: &Scene, outcome: &Outcome, why: &str) {
    assert_eq!(names(scene, 1), ["app", "db"]);
    assert_eq!(removed(outcome), [0; 0]);
    assert_eq!(outcome.lost, []);
    let (_, told) = whys(&outcome.skipped)[0];
    assert!(told.contains(why), "{told}");
    assert_eq!(scene.open_intents(), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn our_name_comes_first_and_goes_last() {
    let scene = on_containerd([twice()]);
    let outcome = scene.prune().await;
    assert_eq!(removed(&outcome), [1]);
    assert_eq!(
        scene.log(&["name", "drop", "containers?", "put back"]),
        ["name 1", "drop app", "drop db", "containers?", "drop ours"]
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_descriptor_nothing_is_dropped() {
    let scene = on_containerd([twice()]);
    let gone = Observed::Unknown("odd".into());
    scene.world().images.get_mut(&id(1)).unwrap().descriptor = gone;
    let outcome = scene.prune().await;
    is_whole(&scene, &outcome, "its names could not be put back");
    assert_eq!(scene.log(&CHANGES), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_wants_meanwhile_has_all_its_names_afterwards() {
    type Act = (&'static str, fn(&mut World));
    let acts: [Act; 3] = [
        ("was pulled or used", |world| {
            world.events.push(pull(1, "app", 101));
        }),
        ("service web wants it", |world| {
            world.swarm = web_runs(&digest("app", 1001));
        }),
        ("container c uses it", |world| {
            world.containers.push(Container {
                id: Untrusted::new("c"),
                name: Untrusted::new("c"),
                image: Untrusted::new("gone"),
                image_ids: vec![id(1)],
                state: Untrusted::new("created"),
                image_mounts: Vec::new(),
            });
        }),
    ];
    for (why, act) in acts {
        for step in ["name 1", "drop app", "drop db", "containers?"] {
            let scene = on_containerd([twice()]);
            scene.before(step, act);
            let outcome = scene.prune().await;
            is_whole(&scene, &outcome, why);
            let told = whys(&outcome.skipped)[0].1.to_owned();
            assert!(told.ends_with("put back"), "{told}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_went_along_comes_back_unless_it_leads_elsewhere() {
    for elsewhere in [false, true] {
        let scene = on_containerd([twice(), tagged(2, "other:1")]);
        scene.answers(Ok(with_its_tag()));
        scene.before("drop app", |world| {
            let seen = world.images.get_mut(&id(1)).unwrap();
            seen.digests.retain(|name| name.path() != "library/app");
        });
        if elsewhere {
            scene.before("leads app:1", |world| {
                let seen = world.images.get_mut(&id(2)).unwrap();
                seen.tags.insert("app:1".parse().unwrap());
            });
        }
        let outcome = scene.prune().await;
        assert_eq!(outcome.lost, []);
        let (first, second) = (names(&scene, 1), &scene.world().images[&id(2)].tags.len());
        if elsewhere {
            assert_eq!((first, *second), (vec!["app".into(), "db".into()], 2));
        } else {
            assert_eq!(first, ["app:1", "app", "db"]);
        }
        assert!(whys(&outcome.skipped)[0].1.contains("tagged app:1"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_or_error_of_any_drop_puts_all_names_back() {
    for (failure, step) in [
        (Failure::Conflict, "drop app"),
        (Failure::Conflict, "drop db"),
        (Failure::Status(500), "drop db"),
        (Failure::Conflict, "drop ours"),
        (Failure::Status(500), "drop ours"),
    ] {
        let scene = on_containerd([twice()]);
        // The last of these steps is the drop of our name at the end.
        scene.before(step, move |world| {
            world.drops.push(Err(broken(failure)));
        });
        let outcome = scene.prune().await;
        assert_eq!(names(&scene, 1), ["app", "db"], "{failure:?} at {step}");
        let stayed = [&outcome.skipped, &outcome.failed];
        let told: Vec<_> = stayed.iter().flat_map(|list| whys(list)).collect();
        assert_eq!(told.len(), 1, "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_with_a_name_that_does_not_come_back_is_a_loss_and_keeps_ours() {
    let scene = on_containerd([twice()]);
    scene.before("drop ours", |world| {
        world.drops.push(Err(broken(Failure::Conflict)));
    });
    scene.world().fails.push(("put back", Failure::Status(500)));
    let outcome = scene.prune().await;
    assert_eq!(outcome.ending, Ending::Surprised);
    let lost: Vec<_> = outcome.lost.iter().map(|loss| loss.what.clone()).collect();
    let names_lost = ["app", "db"].map(|name| Lost::Name(digest(name, 1001)));
    assert_eq!(lost, names_lost);
    assert!(names(&scene, 1)[0].starts_with("secateur.invalid"));
    // The next run tries again.
    assert_eq!(scene.open_intents(), [1]);
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_our_name_stays_and_the_intent_is_open() {
    let scene = on_containerd([twice()]);
    scene.before("drop db", |world| {
        world.drops.push(Err(broken(Failure::Lost)));
    });
    let outcome = scene.prune().await;
    assert!(matches!(outcome.ending, Ending::EngineLost(_)));
    assert_eq!(names(&scene, 1).len(), 2, "db and ours");
    assert_eq!(scene.open_intents(), [1]);
}

#[tokio::test(start_paused = true)]
async fn builds_are_asked_for_again_before_our_name_goes() {
    let scene = on_containerd([twice()]);
    scene.prune().await;
    let steps = scene.log(&["builds?", "drop"]);
    let wanted = ["builds?", "drop app", "drop db", "builds?", "drop ours"];
    assert_eq!(steps, wanted);
}
