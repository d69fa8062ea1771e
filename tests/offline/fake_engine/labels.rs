//! What the builder of an image may write on it: its labels, which its
//! containers, their events and each look at it carry as well. Whoever can push
//! an image that is pulled here chooses them.

use serde_json::{Value, json};

use super::{Host, KIND, MOST_KIB};
use crate::support::{EAGER, ids, keeping, reasons};

/// The first image that goes has these labels, wherever the engine shows them.
fn labelled(labels: &Value) -> (Host, Vec<String>) {
    let host = Host::of(KIND);
    // Megabytes take their time on a busy machine, and no deploy waits here.
    let policy = format!("{EAGER}[guard]\nlock = []\n");
    host.secateur.policy(&policy);
    let litter = host.litter();
    host.fake.world(|world| {
        let first = &litter[0];
        world.image(first)["Labels"] = labels.clone();
        let inspect = world.inspects.get_mut(first).expect("a look at it");
        inspect["Config"]["Labels"] = labels.clone();
        for container in &mut world.containers {
            container["Labels"] = labels.clone();
        }
        let map = labels.as_object().expect("labels");
        for event in &mut world.events {
            let attributes = event["Actor"]["Attributes"].as_object_mut();
            attributes.expect("attributes").extend(map.clone());
        }
    });
    (host, litter)
}

#[test]
fn an_image_with_a_label_of_megabytes_goes_as_any_other() {
    let (host, litter) = labelled(&json!({"sbom": "\u{20ac}".repeat(1 << 20), "tier": "base"}));
    let ran = host.run(&["prune"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.peak < MOST_KIB, "{} KiB", ran.peak);
    host.is_whole_but_for(&litter);
}

#[test]
fn a_keep_rule_covers_a_label_of_megabytes_and_those_beside_it() {
    let labels = json!({"sbom": "x".repeat(600 << 10), "tier": "base"});
    for rule in ["sbom", "tier", "tier=base"] {
        let (host, litter) = labelled(&labels);
        host.secateur
            .policy(&keeping(&format!("labels = [\"{rule}\"]")));
        let plan = host.secateur.plan();
        assert!(
            reasons(&plan, &litter[0]).contains(&"keep-label".to_owned()),
            "{rule}"
        );
        assert_eq!(
            ids(&host.secateur.prune(0), "removed"),
            litter[1..],
            "{rule}"
        );
    }
}

#[test]
fn an_image_with_more_labels_than_are_read_is_kept_and_the_others_go() {
    let many = (0..100_000).map(|n| (format!("label-{n}"), json!("")));
    let (host, litter) = labelled(&Value::Object(many.collect()));
    let plan = host.secateur.plan();
    assert_eq!(reasons(&plan, &litter[0]), ["incomplete"]);
    let ran = host.run(&["prune"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.peak < MOST_KIB, "{} KiB", ran.peak);
    host.is_whole_but_for(&litter[1..]);
}

#[test]
fn a_look_that_is_longer_than_is_read_keeps_its_image_and_the_others_go() {
    let (host, litter) = labelled(&json!({"sbom": "x".repeat(3 << 20)}));
    host.fake.world(|world| {
        let inspect = world.inspects.get_mut(&litter[0]).expect("a look at it");
        inspect["ContainerConfig"] = inspect["Config"].clone();
    });
    let ran = host.run(&["prune"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    host.is_whole_but_for(&litter[1..]);
}

#[test]
fn labels_of_more_than_4_mib_end_each_run_with_69_while_the_engine_lists_them() {
    let (host, litter) = labelled(&json!({"sbom": "x".repeat(5 << 20)}));
    let refused = || {
        let ran = host.secateur.run(&["prune"]).ended(69);
        assert!(ran.stderr.contains("4 MiB"), "{ran:?}");
        host.is_whole_but_for(&[]);
    };
    refused();
    host.fake
        .world(|world| world.image(&litter[0])["Labels"] = json!({}));
    refused();
    host.fake.world(|world| {
        for container in &mut world.containers {
            container["Labels"] = json!({});
        }
    });
    refused();
    host.fake.world(|world| world.events.clear());
    host.secateur.prune(0);
}
