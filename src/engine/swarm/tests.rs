use super::*;
use crate::model::Deploy;

fn swarm(services: &str, tasks: &str) -> (Vec<ServiceImage>, Vec<Deploy>) {
    match wanted_by_swarm("n", services, tasks).unwrap() {
        Swarm::Manager { images, under_way } => (images, under_way),
        other => panic!("{other:?}"),
    }
}

const SERVICE: &str = r#"[{"ID":"s1","Spec":{"Name":"web","TaskTemplate":{"ContainerSpec":{"Image":"app:2"}}},
    "PreviousSpec":{"Name":"web","TaskTemplate":{"ContainerSpec":{"Image":"app:1"}}},
    "UpdateStatus":{"State":"UPDATE"}}]"#;

/// An image by its digest: an engine that has it asks no registry.
const PINNED: &str = "app:3@sha256:1";

/// A task of the service, in a state, wanted in another, on a node.
fn task(state: &str, desired: &str, node: &str, error: &str) -> String {
    format!(
        r#"{{"ID":"t-{state}-{desired}","ServiceID":"s1","Slot":1,"NodeID":"{node}","DesiredState":"{desired}",
        "Spec":{{"ContainerSpec":{{"Image":"{PINNED}"}}}},"Status":{{"State":"{state}","Err":"{error}"}}}}"#
    )
}

/// What is under way of a service with this update and these tasks; `stuck`: by
/// Swarm's words alone.
fn under_way(update: &str, tasks: &[String]) -> Option<(String, &'static str)> {
    let services = SERVICE.replace("UPDATE", update);
    let (images, mut deploys) = swarm(&services, &format!("[{}]", tasks.join(",")));
    let specs = [Spec::Current, Spec::Previous].iter();
    assert!(
        specs.zip(&images).all(|(spec, image)| image.spec == *spec),
        "the images of both specs are wanted in every state"
    );
    let kept = images.iter().any(|image| image.image.raw() == PINNED);
    assert_eq!(kept, !tasks.is_empty(), "and those of its tasks");
    let deploy = deploys.pop()?;
    assert_eq!((deploys.len(), deploy.service.raw()), (0, "web"));
    Some((deploy.what, if deploy.stuck { "stuck" } else { "moves" }))
}

fn is(found: Option<(String, &'static str)>) -> &'static str {
    found.map_or("over", |(_, how)| how)
}

const STATES: [&str; 16] = [
    "new",
    "allocated",
    "pending",
    "assigned",
    "accepted",
    "preparing",
    "hatching",
    "ready",
    "starting",
    "running",
    "complete",
    "shutdown",
    "failed",
    "rejected",
    "remove",
    "orphaned",
];

#[test]
fn the_current_and_the_previous_spec_are_wanted() {
    let (images, deploys) = swarm(SERVICE, "[]");
    let seen: Vec<_> = images.iter().map(|i| (i.spec, i.image.raw())).collect();
    assert_eq!(seen, [(Spec::Current, "app:2"), (Spec::Previous, "app:1")]);
    assert_eq!(deploys[0].what, "update is UPDATE", "one that is not known");
    assert!(!deploys[0].stuck);
}

#[test]
fn a_task_of_this_node_is_a_deploy_until_its_container_is_here() {
    for desired in ["ready", "running", "complete", ""] {
        for (n, state) in STATES.iter().enumerate() {
            let found = is(under_way("completed", &[task(state, desired, "n", "")]));
            let wanted = if n < 7 { "moves" } else { "over" };
            assert_eq!(found, wanted, "{state}, wanted {desired}");
        }
    }
}

#[test]
fn a_task_that_is_to_end_or_is_elsewhere_or_has_no_node_is_no_deploy() {
    for state in STATES {
        for desired in ["shutdown", "failed", "rejected", "remove", "orphaned"] {
            let found = under_way("", &[task(state, desired, "n", "")]);
            assert_eq!(is(found), "over", "{state}, wanted {desired}");
        }
        for node in ["", "other"] {
            let found = under_way("", &[task(state, "running", node, "")]);
            assert_eq!(is(found), "over", "{state} on {node:?}");
        }
    }
}

#[test]
fn an_update_that_swarm_has_stopped_goes_on_by_no_task_that_pulls_nothing() {
    for update in ["paused", "rollback_paused"] {
        assert_eq!(is(under_way(update, &[])), "stuck", "{update}");
        for (n, state) in STATES.iter().enumerate() {
            let found = is(under_way(update, &[task(state, "running", "n", "")]));
            let wanted = if n < 7 { "moves" } else { "stuck" };
            assert_eq!(found, wanted, "{update}, {state}");
        }
    }
}

#[test]
fn an_update_goes_on_unless_all_that_is_left_of_it_is_given_up() {
    let error = "no suitable node (scheduling constraints not satisfied on 1 node)";
    let given_up = task("pending", "running", "", error);
    for update in ["updating", "rollback_started", "in a way that is new"] {
        assert_eq!(is(under_way(update, &[])), "moves", "between two steps");
        let waits = task("pending", "running", "", "");
        assert_eq!(
            is(under_way(update, &[waits])),
            "moves",
            "not looked at yet"
        );
        let found = under_way(update, std::slice::from_ref(&given_up)).unwrap();
        assert_eq!(found.1, "stuck", "{update}");
        assert!(found.0.contains("no node"), "{}", found.0);
        // It has a node that is no longer fit.
        let here = task("pending", "running", "n", error);
        assert_eq!(is(under_way(update, &[here])), "stuck", "{update}");
        for (n, state) in STATES.iter().enumerate() {
            for node in ["n", "other"] {
                let other = task(state, "running", node, "");
                let found = is(under_way(update, &[given_up.clone(), other]));
                let wanted = if n < 9 { "moves" } else { "stuck" };
                assert_eq!(found, wanted, "{update}, {state} on {node}");
            }
        }
    }
}

#[test]
fn a_task_that_follows_one_of_the_same_images_has_nothing_to_pull() {
    let next = |image: &str| task("preparing", "ready", "n", "").replace(PINNED, image);
    let with = |earlier: &str, node: &str| {
        let earlier = task(earlier, "shutdown", node, "x");
        is(under_way("completed", &[next(PINNED), earlier]))
    };
    for earlier in ["running", "complete", "failed"] {
        assert_eq!(with(earlier, "n"), "over", "{earlier}");
        assert_eq!(with(earlier, "other"), "moves", "{earlier} elsewhere");
    }
    // Rejected, or told to end while it pulled: its image may never have been here.
    for earlier in ["shutdown", "rejected", "remove", "orphaned"] {
        assert_eq!(with(earlier, "n"), "moves", "{earlier}");
    }
    let failed = task("failed", "shutdown", "n", "x");
    let other = |change: &dyn Fn(String) -> String| {
        let next = change(next(PINNED));
        is(under_way("completed", &[next, failed.clone()]))
    };
    assert_eq!(
        other(&|task| task.replace("\"Slot\":1", "\"Slot\":2")),
        "moves"
    );
    let forced = |task: String| task.replace("{\"Container", "{\"ForceUpdate\":1,\"Container");
    assert_eq!(other(&forced), "moves");
    // By a tag an engine asks a registry each time, and may pull.
    let tags = [next("app:3"), failed.replace(PINNED, "app:3")];
    assert_eq!(is(under_way_of(&tags)), "moves");
}

/// As [`under_way`], whatever the images.
fn under_way_of(tasks: &[String]) -> Option<(String, &'static str)> {
    let (_, deploys) = swarm("[]", &format!("[{}]", tasks.join(",")));
    let deploy = deploys.into_iter().next()?;
    Some((deploy.what, if deploy.stuck { "stuck" } else { "moves" }))
}

#[test]
fn many_tasks_of_a_service_are_one_deploy_that_names_a_few() {
    let task = |n: usize| task("preparing", "running", "n", "").replace("t-", &format!("{n}-"));
    let tasks: Vec<String> = (0..50).map(task).collect();
    let (what, _) = under_way("updating", &tasks).unwrap();
    assert!(what.starts_with("update is updating, task "), "{what}");
    assert!(what.ends_with("47 tasks more are on their way"), "{what}");
}

#[test]
fn what_is_kept_of_the_tasks_of_a_service_does_not_grow_with_their_number() {
    let task = |n: usize, image: &str| {
        format!(
            r#"{{"ID":"t{n}","ServiceID":"s1","NodeID":"other{n}","Spec":{{"ContainerSpec":{{"Image":"{image}","Mounts":[{{"Type":"bind","Source":"/etc"}},{{"Type":"image","Source":"data:1"}}]}}}},"Status":{{"State":"preparing"}}}}"#
        )
    };
    let mut seen = Tasks::on(Some("n"));
    let mut weight = 0;
    let mut images = Vec::new();
    for n in 0..10_000 {
        let image = if n % 2 == 0 { "app:2" } else { "app:1" };
        for kept in seen.take(serde_json::from_str(&task(n, image)).unwrap()) {
            weight += kept.weight();
            images.push(match kept.what {
                OfTask::Image(image) => image,
                OfTask::Stage(one) => {
                    assert_eq!(one, Stage::Moves);
                    continue;
                }
            });
        }
    }
    assert_eq!(images, ["app:2", "data:1", "app:1"]);
    assert!(weight < 2000, "{weight}");
}
