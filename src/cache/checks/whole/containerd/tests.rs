use std::collections::BTreeMap;

use crate::cache::checks::whole::compare::compare;
use crate::cache::checks::whole::containerd::blobs::{damaged, path};
use crate::cache::checks::whole::containerd::parts::parts;
use crate::cache::checks::whole::testing::{diff, export, hash};
use crate::cache::checks::whole::verdict::{StoreFacts, Verdict};
use crate::engine::Platform;
use crate::model::{ImageId, Store};

type Files = Vec<(String, Vec<u8>)>;

/// An image as the containerd store exports it: blobs, compressed layers.
fn oci(layers: &[&[u8]]) -> (Files, ImageId) {
    let blob = |bytes: &[u8]| (format!("blobs/sha256/{}", hash(bytes)), bytes.to_vec());
    let config = b"{\"rootfs\":{\"diff_ids\":[]}}".to_vec();
    let descriptors: Vec<_> = layers
        .iter()
        .map(|l| serde_json::json!({"digest": diff(l)}))
        .collect();
    let manifest =
        serde_json::json!({"config": {"digest": diff(&config)}, "layers": descriptors}).to_string();
    let index = serde_json::json!({"manifests": [
        {"digest": diff(manifest.as_bytes())}, {"digest": diff(b"another platform")}]})
    .to_string();
    let mut entries: Vec<_> = layers.iter().map(|l| blob(l)).collect();
    entries.extend([
        blob(&config),
        blob(manifest.as_bytes()),
        blob(index.as_bytes()),
    ]);
    (entries, hash(index.as_bytes()).parse().unwrap())
}

fn plainly(files: &Files, id: &ImageId) -> Verdict {
    compare(
        &export(files),
        id,
        Store::Containerd,
        &StoreFacts::default(),
    )
}

#[test]
fn blobs_are_held_against_their_names_and_the_manifest() {
    let (entries, id) = oci(&[b"one", b"two"]);
    let whole = plainly(&entries, &id);
    assert!(
        matches!(whole, Verdict::Whole { layers: 2, .. }),
        "{whole:?}"
    );

    let mut flipped = entries.clone();
    flipped[1].1 = b"twO".to_vec();
    let Verdict::Broken(problems) = plainly(&flipped, &id) else {
        panic!()
    };
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("layer 2 of 2") && problems[0].contains(&diff(b"two")));

    let mut missing = entries.clone();
    missing.remove(0);
    let Verdict::Broken(problems) = plainly(&missing, &id) else {
        panic!()
    };
    assert!(
        problems[0].contains("layer 1 of 2") && problems[0].ends_with("is missing"),
        "{problems:?}"
    );

    let none: Vec<_> = entries
        .iter()
        .filter(|(_, bytes)| bytes.len() > 60)
        .cloned()
        .collect();
    assert!(matches!(plainly(&none, &id), Verdict::Broken(_)));
}

#[test]
fn a_lost_blob_is_named_from_the_stores_own_files() {
    let (entries, id) = oci(&[b"one", b"two"]);
    let gone = path(&diff(b"two"));
    let kept: BTreeMap<_, _> = entries
        .iter()
        .filter(|(name, _)| *name != gone)
        .cloned()
        .collect();
    let parts = parts(&id, |digest| {
        kept.get(&path(digest)).map(|bytes| Some(bytes.clone()))
    });
    let lost: Vec<_> = parts.iter().filter(|part| !part.here).collect();
    assert_eq!((parts.len(), lost.len()), (3, 1));
    assert_eq!(lost[0].place, format!("layer 2 of 2, {},", diff(b"two")));
}

#[test]
fn a_damaged_blob_is_told_even_where_the_rest_never_came() {
    let (mut entries, _) = oci(&[b"one", b"two"]);
    entries.truncate(2);
    entries[1].1 = b"twO".to_vec();
    assert_eq!(damaged(&export(&entries)), [(diff(b"two"), hash(b"twO"))]);
}

#[test]
fn a_manifest_that_was_changed_is_found() {
    let (mut entries, id) = oci(&[b"one"]);
    let last = entries.len() - 1;
    entries[last].1 = b"{\"manifests\":[]}".to_vec();
    assert!(matches!(plainly(&entries, &id), Verdict::Broken(_)));
    entries.remove(last);
    assert!(matches!(plainly(&entries, &id), Verdict::Broken(_)));
}

fn platform(name: &str) -> Platform {
    let (os, architecture) = name.split_once('/').unwrap();
    Platform {
        os: os.into(),
        architecture: architecture.into(),
    }
}

/// One manifest of an index: its platform, the content of its layers, and which parts the export
/// has.
struct Made<'a> {
    platform: &'a str,
    layers: &'a [&'a str],
    has: Has,
}

#[derive(PartialEq)]
enum Has {
    All,
    ManifestAlone,
    Nothing,
}

fn made<'a>(platform: &'a str, layers: &'a [&'a str], has: Has) -> Made<'a> {
    Made {
        platform,
        layers,
        has,
    }
}

/// An index as BuildKit writes it. An export has all parts of a manifest, or none.
fn index(children: &[Made]) -> (Files, ImageId) {
    let file = |bytes: &[u8]| (path(&diff(bytes)), bytes.to_vec());
    let (mut files, mut list) = (Vec::new(), Vec::new());
    for child in children {
        let config = format!("{{\"for\":\"{}\"}}", child.platform);
        let layers = child.layers.iter();
        let layers: Vec<_> = layers
            .map(|layer| serde_json::json!({"digest": diff(layer.as_bytes())}))
            .collect();
        let manifest =
            serde_json::json!({"config": {"digest": diff(config.as_bytes())}, "layers": layers})
                .to_string();
        let platform = platform(child.platform);
        let mut named = serde_json::json!({"digest": diff(manifest.as_bytes()),
            "platform": {"os": platform.os, "architecture": platform.architecture}});
        if platform.os == "unknown" {
            named["annotations"] = serde_json::json!(
                {"vnd.docker.reference.type": "attestation-manifest"});
        }
        list.push(named);
        if child.has == Has::All {
            files.push(file(config.as_bytes()));
            files.extend(child.layers.iter().map(|layer| file(layer.as_bytes())));
        }
        if child.has != Has::Nothing {
            files.push(file(manifest.as_bytes()));
        }
    }
    let index = serde_json::json!({"manifests": list}).to_string();
    files.push(file(index.as_bytes()));
    (files, hash(index.as_bytes()).parse().unwrap())
}

fn compared(children: &[Made], engine: Option<&str>, lost: &[&str]) -> Verdict {
    let (files, id) = index(children);
    let beside = StoreFacts {
        platform: engine.map(platform),
        lost: lost.iter().map(|text| diff(text.as_bytes())).collect(),
        ..StoreFacts::default()
    };
    compare(&export(&files), &id, Store::Containerd, &beside)
}

#[track_caller]
fn whole(verdict: &Verdict, wanted: usize) {
    assert!(
        matches!(verdict, Verdict::Whole { layers, .. } if *layers == wanted),
        "{verdict:?}"
    );
}

#[track_caller]
fn broken(verdict: &Verdict, words: &[&str]) {
    let Verdict::Broken(problems) = verdict else {
        panic!("{verdict:?}")
    };
    let all = problems.join("; ");
    for word in words {
        assert!(all.contains(word), "{word:?} in {all:?}");
    }
}

const AMD64: &str = "linux/amd64";
const ARM64: &str = "linux/arm64";
const ATTESTED: &str = "unknown/unknown";

#[test]
fn an_image_for_another_platform_is_not_what_a_deploy_fetches() {
    let ours = made(AMD64, &["a", "b"], Has::Nothing);
    let seen = compared(&[ours, made(ARM64, &["c"], Has::All)], Some(AMD64), &[]);
    let Verdict::Unclear(why) = &seen else {
        panic!("{seen:?}")
    };
    let words = "only linux/arm64 is here: a deploy that names no platform fetches linux/amd64";
    assert_eq!(why, words);
}

#[test]
fn other_platforms_count_for_nothing_where_ours_is_there() {
    let all = [
        made(AMD64, &["a", "b"], Has::All),
        made(ARM64, &["a", "c"], Has::ManifestAlone),
    ];
    whole(&compared(&all, Some(AMD64), &["c"]), 2);
    let none_of_ours = [
        made(AMD64, &["a", "b"], Has::ManifestAlone),
        made(ARM64, &["c"], Has::All),
    ];
    let seen = compared(&none_of_ours, Some(AMD64), &["b"]);
    broken(
        &seen,
        &["linux/amd64: layer 2 of 2", &diff(b"b"), "is missing"],
    );
    let unnamed = compared(&none_of_ours, Some(AMD64), &[]);
    broken(&unnamed, &["not all of linux/amd64 is here", "there are 2"]);
}

#[test]
fn an_attestation_is_no_image() {
    let with = |has| {
        let ours = made(AMD64, &["a"], has);
        [ours, made(ATTESTED, &["told"], Has::All)]
    };
    for engine in [Some(AMD64), None] {
        whole(&compared(&with(Has::All), engine, &[]), 1);
        broken(
            &compared(&with(Has::ManifestAlone), engine, &[]),
            &["none of its layers"],
        );
    }
    let gone = compared(&with(Has::Nothing), Some(AMD64), &[]);
    broken(&gone, &["nothing of linux/amd64 is here", "manifest"]);
    let told = [
        made(AMD64, &["a"], Has::All),
        made(ATTESTED, &["t"], Has::ManifestAlone),
    ];
    whole(&compared(&told, Some(AMD64), &["t"]), 1);
}

#[test]
fn an_image_for_other_platforms_alone_is_whole_if_one_of_them_is() {
    let all = [
        made("windows/amd64", &["w"], Has::Nothing),
        made(ARM64, &["a", "b"], Has::All),
    ];
    whole(&compared(&all, Some(AMD64), &[]), 2);
    whole(&compared(&all, None, &[]), 2);
}

#[test]
fn one_of_many_variants_is_enough() {
    let arm = |has| made("linux/arm", &["v7"], has);
    let all = [made("linux/arm", &["v6"], Has::Nothing), arm(Has::All)];
    whole(&compared(&all, Some("linux/arm"), &[]), 1);
    let lost = [
        made("linux/arm", &["v6"], Has::Nothing),
        arm(Has::ManifestAlone),
    ];
    broken(
        &compared(&lost, Some("linux/arm"), &["v7"]),
        &["layer 1 of 1", &diff(b"v7")],
    );
}

#[test]
fn a_damaged_part_is_told_of_whatever_platform_it_is() {
    let children = [made(AMD64, &["a"], Has::All), made(ARM64, &["b"], Has::All)];
    let (mut files, id) = index(&children);
    let damaged = files
        .iter_mut()
        .find(|(name, _)| *name == path(&diff(b"b")));
    damaged.unwrap().1 = b"B".to_vec();
    let beside = StoreFacts {
        platform: Some(platform(AMD64)),
        ..StoreFacts::default()
    };
    let seen = compare(&export(&files), &id, Store::Containerd, &beside);
    broken(&seen, &["layer 1 of 1", &diff(b"b"), "is not what it says"]);
}

#[test]
fn what_one_manifest_lacks_is_named_where_the_store_shows_it() {
    let (entries, _) = oci(&[b"one", b"two"]);
    let manifest = entries[3].clone();
    let id = hash(&manifest.1).parse().unwrap();
    let beside = StoreFacts {
        lost: [diff(b"two")].into(),
        ..StoreFacts::default()
    };
    let seen = compare(&export(&[manifest]), &id, Store::Containerd, &beside);
    let named = format!("layer 2 of 2, {}, is missing", diff(b"two"));
    assert_eq!(seen, Verdict::Broken(vec![named]));
}
