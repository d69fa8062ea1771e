use crate::cache::checks::whole::compare::compare;
use crate::cache::checks::whole::export::Export;
use crate::cache::checks::whole::graphdriver::chain_ids;
use crate::cache::checks::whole::tar::Reader;
use crate::cache::checks::whole::tar::tests::entry;
use crate::cache::checks::whole::testing::{diff, export, hash};
use crate::cache::checks::whole::verdict::{StoreFacts, Verdict};
use crate::engine::Platform;
use crate::model::{ImageId, Store};

/// As 20.10 writes it: manifest.json comes last.
fn saved(layers: &[&[u8]], diffs: &[String]) -> (Vec<(String, Vec<u8>)>, ImageId) {
    let config = serde_json::json!({"rootfs": {"type": "layers", "diff_ids": diffs}});
    with_config(layers, &config)
}

fn with_config(layers: &[&[u8]], config: &serde_json::Value) -> (Vec<(String, Vec<u8>)>, ImageId) {
    let config = config.to_string();
    let name = hash(config.as_bytes());
    let names: Vec<String> = (0..layers.len())
        .map(|n| format!("{n}/layer.tar"))
        .collect();
    let manifest =
        serde_json::json!([{"Config": format!("{name}.json"), "RepoTags": null, "Layers": names}]);
    let mut entries: Vec<(String, Vec<u8>)> = names
        .into_iter()
        .zip(layers.iter().map(|l| l.to_vec()))
        .collect();
    entries.push((format!("{name}.json"), config.into_bytes()));
    entries.push(("manifest.json".into(), manifest.to_string().into_bytes()));
    (entries, name.parse().unwrap())
}

#[test]
fn layers_are_held_against_their_diff_ids() {
    let (entries, id) = saved(&[b"one", b"two"], &[diff(b"one"), diff(b"two")]);
    let whole = compare(
        &export(&entries),
        &id,
        Store::Graphdriver,
        &StoreFacts::default(),
    );
    assert!(
        matches!(whole, Verdict::Whole { layers: 2, .. }),
        "{whole:?}"
    );
    let (entries, id) = saved(&[b"one", b"twO"], &[diff(b"one"), diff(b"two")]);
    let Verdict::Broken(problems) = compare(
        &export(&entries),
        &id,
        Store::Graphdriver,
        &StoreFacts::default(),
    ) else {
        panic!()
    };
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].contains(&format!("layer 2 of 2, {}", diff(b"two"))),
        "{problems:?}"
    );
}

#[test]
fn a_link_stands_for_the_layer_that_it_leads_to() {
    let (mut entries, id) = saved(&[b"one", b"one"], &[diff(b"one"), diff(b"one")]);
    entries.remove(1);
    let mut reader = Reader::new(Export::default());
    reader
        .feed(&entry("1/layer.tar", b'2', "../0/layer.tar", b""))
        .unwrap();
    for (name, bytes) in &entries {
        reader.feed(&entry(name, b'0', "", bytes)).unwrap();
    }
    reader.feed(&[0; 1024]).unwrap();
    let export = reader.finish().0;
    assert!(matches!(
        compare(&export, &id, Store::Graphdriver, &StoreFacts::default()),
        Verdict::Whole { .. }
    ));
}

#[test]
fn another_configuration_than_the_ids_is_found() {
    let (entries, _) = saved(&[b"one"], &[diff(b"one")]);
    let other = hash(b"other").parse().unwrap();
    assert!(matches!(
        compare(
            &export(&entries),
            &other,
            Store::Graphdriver,
            &StoreFacts::default()
        ),
        Verdict::Broken(_)
    ));
}

#[test]
fn a_pulled_image_of_a_platform_that_the_engine_does_not_run_is_unclear() {
    let config = serde_json::json!({"os": "linux", "architecture": "arm64",
        "rootfs": {"diff_ids": [diff(b"one")]}});
    let (entries, id) = with_config(&[b"one"], &config);
    let compared = |architecture: &str, pulled| {
        let platform = Platform {
            os: "linux".into(),
            architecture: architecture.into(),
        };
        let beside = StoreFacts {
            platform: Some(platform),
            pulled,
            ..StoreFacts::default()
        };
        compare(&export(&entries), &id, Store::Graphdriver, &beside)
    };
    let Verdict::Unclear(why) = compared("amd64", true) else {
        panic!()
    };
    assert!(why.starts_with("only linux/arm64 is here"), "{why}");
    assert!(matches!(compared("amd64", false), Verdict::Whole { .. }));
    assert!(matches!(compared("arm64", true), Verdict::Whole { .. }));
    let unknown = compare(
        &export(&entries),
        &id,
        Store::Graphdriver,
        &StoreFacts::default(),
    );
    assert!(matches!(unknown, Verdict::Whole { .. }));
}

#[test]
fn what_is_no_image_is_unclear() {
    let empty = export(&[]);
    assert!(matches!(
        compare(
            &empty,
            &crate::testing::id(1),
            Store::Graphdriver,
            &StoreFacts::default()
        ),
        Verdict::Unclear(_)
    ));
}

#[test]
fn a_chain_id_is_a_hash_over_all_below() {
    let diffs = [diff(b"one"), diff(b"two")];
    let chain = chain_ids(&diffs);
    assert_eq!(chain[0], diffs[0]);
    assert_eq!(
        chain[1],
        diff(format!("{} {}", diffs[0], diffs[1]).as_bytes())
    );
}
