//! Whether what a containerd store exports of an image is all that a deploy
//! takes of it. An index may name many manifests: decides which of them count.
//! Those for the engine's own platform do, where there are any, and those that
//! only tell about an image (attestations) never do. An export leaves out all
//! parts of a manifest of which one is gone, and does not say so.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer};

use crate::engine::Platform;
use crate::model::ImageId;
use crate::model::text::escape;

use crate::cache::checks::whole::layers::{Beside, Export, differs, place};

#[derive(Deserialize)]
struct Manifest {
    #[serde(default, deserialize_with = "or_null")]
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
    #[serde(default, deserialize_with = "or_null")]
    layers: Vec<Descriptor>,
}

/// The classic builder writes null for no layers.
fn or_null<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Descriptor>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    platform: Option<Named>,
    annotations: Option<Annotations>,
}

#[derive(Deserialize)]
struct Named {
    os: Option<String>,
    architecture: Option<String>,
}

#[derive(Deserialize)]
struct Annotations {
    #[serde(rename = "vnd.docker.reference.type")]
    refers: Option<String>,
}

impl Descriptor {
    /// Provenance, signatures and the like: nothing that could run.
    fn only_tells(&self) -> bool {
        let annotations = self.annotations.as_ref();
        let refers = annotations.and_then(|all| all.refers.as_ref());
        let named = self.platform.as_ref();
        let architecture = named.and_then(|named| named.architecture.as_ref());
        refers.is_some_and(|what| what == "attestation-manifest")
            || architecture.is_some_and(|architecture| architecture == "unknown")
    }

    fn platform(&self) -> Option<Platform> {
        let named = self.platform.as_ref()?;
        Platform::given(named.os.clone(), named.architecture.clone())
    }
}

/// One manifest of an image, and what the export has of it.
struct Child<'a> {
    digest: &'a str,
    platform: Option<Platform>,
    ours: bool,
    here: bool,
    layers: usize,
    parts: usize,
    /// Digest and place of what did not come.
    absent: Vec<(String, String)>,
    /// Of what came and is something else: digest, and what is wrong.
    differing: Vec<(String, String)>,
}

impl Child<'_> {
    fn is_whole(&self) -> bool {
        self.parts > 0 && self.absent.is_empty()
    }

    fn name(&self) -> String {
        let platform = self.platform.as_ref();
        platform.map_or_else(|| "it".to_owned(), Platform::to_string)
    }

    /// What it lacks. What did not come may be there all the same.
    fn lacks(&self, lost: &BTreeSet<String>) -> Vec<String> {
        let missing = |(_, place): &(String, String)| match &self.platform {
            None => format!("{place} is missing"),
            Some(platform) => format!("{platform}: {place} is missing"),
        };
        let gone = |(digest, _): &&(String, String)| lost.contains(digest);
        let named: Vec<String> = self.absent.iter().filter(gone).map(missing).collect();
        if !named.is_empty() {
            named
        } else if self.parts == 0 {
            vec!["none of its layers is here".to_owned()]
        } else if self.absent.len() == self.parts {
            let (name, of) = (self.name(), self.layers);
            vec![format!(
                "not all of {name} is here: the engine gives out none of its layers, of which there are {of}"
            )]
        } else {
            self.absent.iter().map(missing).collect()
        }
    }
}

/// How many layers, and what is wrong. The error: it cannot be told.
pub(super) fn blobs(
    export: &Export,
    id: &ImageId,
    beside: &Beside,
) -> Result<(usize, Vec<String>), String> {
    let Some(root) = read(export, id.as_str())? else {
        return Ok((0, vec![format!("the image's manifest {id} is missing")]));
    };
    let engine = beside.platform.as_ref();
    let children: Vec<Child> = if root.manifests.is_empty() {
        vec![child(export, id.as_str(), None, true)?]
    } else {
        let real = root.manifests.iter().filter(|child| !child.only_tells());
        // One manifest may stand for many variants.
        let mut seen = BTreeSet::new();
        let looked = real.filter_map(|one| {
            let platform = one.platform();
            // An engine takes one that names no platform, too.
            let ours = platform.as_ref().is_none_or(|named| Some(named) == engine);
            let new = seen.insert((&one.digest, ours));
            new.then(|| child(export, &one.digest, platform, ours))
        });
        looked.collect::<Result<_, _>>()?
    };
    let mut problems: Vec<String> = Vec::new();
    for (digest, what) in children.iter().flat_map(|child| &child.differing) {
        if !problems.iter().any(|problem| problem.contains(digest)) {
            problems.push(what.clone());
        }
    }
    let (ours, others): (Vec<&Child>, Vec<&Child>) = children.iter().partition(|child| child.ours);
    // An image that is made for other platforms alone is run by emulation.
    let deciding = if ours.is_empty() { &others } else { &ours };
    let layers = deciding.iter().filter(|child| child.is_whole());
    let layers: Vec<usize> = layers.map(|child| child.layers).collect();
    let mut elsewhere = Vec::new();
    if layers.is_empty() {
        let here: Vec<&&Child> = deciding.iter().filter(|child| child.here).collect();
        let whole = others.iter().filter(|child| child.is_whole());
        elsewhere.extend(whole.map(|child| child.name()));
        if !here.is_empty() {
            elsewhere.clear();
            problems.extend(here.iter().flat_map(|child| child.lacks(&beside.lost)));
        } else if elsewhere.is_empty() {
            problems.push(match ours.first() {
                None => "none of its layers is here".to_owned(),
                Some(child) => {
                    let (name, digest) = (child.name(), escape(child.digest));
                    format!("nothing of {name} is here: its manifest {digest} is missing")
                }
            });
        }
    }
    for (digest, hash) in damaged(export) {
        // Layers have had their say above.
        if !problems.iter().any(|problem| problem.contains(&digest)) {
            problems.push(differs(&format!("the blob {}", escape(&digest)), &hash));
        }
    }
    match (ours.first(), problems.is_empty()) {
        (Some(wanted), true) if !elsewhere.is_empty() => {
            Err(only(&elsewhere.join(", "), &wanted.name()))
        }
        _ => Ok((layers.iter().sum(), problems)),
    }
}

/// An image that is here for other platforms than the engine's.
pub fn only(here: &str, wanted: &str) -> String {
    format!("only {here} is here: a deploy that names no platform fetches {wanted}")
}

fn child<'a>(
    export: &Export,
    digest: &'a str,
    platform: Option<Platform>,
    ours: bool,
) -> Result<Child<'a>, String> {
    let manifest = read(export, digest)?;
    let here = manifest.is_some();
    let all = manifest.as_ref().map(of_manifest).unwrap_or_default();
    let mut child = Child {
        digest,
        platform,
        ours,
        here,
        layers: manifest.map_or(0, |manifest| manifest.layers.len()),
        parts: all.len(),
        absent: Vec::new(),
        differing: Vec::new(),
    };
    for (digest, place) in all {
        match blob(export, &digest) {
            None => child.absent.push((digest, place)),
            Some(hash) if digest.strip_prefix("sha256:") == Some(hash) => {}
            Some(hash) => {
                let what = differs(&place, hash);
                child.differing.push((digest, what));
            }
        }
    }
    Ok(child)
}

/// Digest and place of each part that a manifest names.
fn of_manifest(manifest: &Manifest) -> Vec<(String, String)> {
    let config = manifest.config.iter().map(|config| {
        let place = format!("the configuration {}", escape(&config.digest));
        (config.digest.clone(), place)
    });
    let of = manifest.layers.len();
    let layers = manifest.layers.iter().enumerate();
    let layers = layers.map(|(n, layer)| (layer.digest.clone(), place(n, of, &layer.digest)));
    config.chain(layers).collect()
}

/// A manifest or index of the export; an unreadable one is no manifest that
/// can be followed, and its hash tells on it.
fn read(export: &Export, digest: &str) -> Result<Option<Manifest>, String> {
    let Some(hash) = blob(export, digest) else {
        return Ok(None);
    };
    let text = export.text(&path(digest)).unwrap_or_default();
    match serde_json::from_slice(text) {
        Ok(manifest) => Ok(Some(manifest)),
        Err(_) if Some(hash) == digest.strip_prefix("sha256:") => {
            Err(format!("the manifest {} does not read", escape(digest)))
        }
        Err(_) => Ok(Some(Manifest {
            manifests: Vec::new(),
            config: None,
            layers: Vec::new(),
        })),
    }
}

fn path(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

fn blob<'a>(export: &'a Export, digest: &str) -> Option<&'a str> {
    export.hash(&path(digest))
}

/// Blobs of an export that are not what their names say: digest and hash. All
/// that a broken-off export can tell.
pub fn damaged(export: &Export) -> Vec<(String, String)> {
    let blobs = export.hashes().filter_map(|(name, hash)| {
        let hex = name.strip_prefix("blobs/sha256/")?;
        (hex != hash).then(|| (format!("sha256:{hex}"), hash.to_owned()))
    });
    blobs.collect()
}

/// A part of an image, as a containerd store's own files tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its digest.
    pub digest: String,
    /// What it is to the image, with its digest; fit to print.
    pub place: String,
    /// Its blob is there.
    pub here: bool,
}

/// The parts of an image, where its manifest can be read; `blob` gives a
/// blob's bytes, `Some(None)` for one that is there and too long to be a
/// manifest. Other platforms' parts are not here, and are left out.
pub fn parts(id: &ImageId, blob: impl Fn(&str) -> Option<Option<Vec<u8>>>) -> Vec<Part> {
    let manifest = |digest: &str| -> Option<Manifest> {
        serde_json::from_slice(&blob(digest).flatten()?).ok()
    };
    let Some(root) = manifest(id.as_str()) else {
        return Vec::new();
    };
    let children = match root.manifests.as_slice() {
        [] => vec![root],
        list => list
            .iter()
            .filter(|child| !child.only_tells())
            .filter_map(|child| manifest(&child.digest))
            .collect(),
    };
    let mut found = Vec::new();
    for child in children {
        let all = of_manifest(&child).into_iter();
        let all: Vec<Part> = all
            .map(|(digest, place)| Part {
                here: blob(&digest).is_some(),
                digest,
                place,
            })
            .collect();
        if all.iter().any(|part| part.here) {
            found.extend(all);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cache::checks::whole::layers::tests::{diff, export, hash};
    use crate::cache::checks::whole::layers::{Verdict, judge};
    use crate::model::Store;

    type Files = Vec<(String, Vec<u8>)>;

    /// As the containerd store writes it: blobs, compressed layers.
    fn oci(layers: &[&[u8]]) -> (Files, ImageId) {
        let blob = |bytes: &[u8]| (format!("blobs/sha256/{}", hash(bytes)), bytes.to_vec());
        let config = b"{\"rootfs\":{\"diff_ids\":[]}}".to_vec();
        let descriptors: Vec<_> = layers
            .iter()
            .map(|l| serde_json::json!({"digest": diff(l)}))
            .collect();
        let manifest =
            serde_json::json!({"config": {"digest": diff(&config)}, "layers": descriptors})
                .to_string();
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
        judge(&export(files), id, Store::Containerd, &Beside::default())
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

    /// One manifest of an index: its platform, one layer more than its
    /// configuration for each text, and what of it an export has.
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

    /// An index as BuildKit writes it. An export has all parts of a manifest,
    /// or none.
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

    fn judged(children: &[Made], engine: Option<&str>, lost: &[&str]) -> Verdict {
        let (files, id) = index(children);
        let beside = Beside {
            platform: engine.map(platform),
            lost: lost.iter().map(|text| diff(text.as_bytes())).collect(),
            ..Beside::default()
        };
        judge(&export(&files), &id, Store::Containerd, &beside)
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
        let seen = judged(&[ours, made(ARM64, &["c"], Has::All)], Some(AMD64), &[]);
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
        whole(&judged(&all, Some(AMD64), &["c"]), 2);
        let none_of_ours = [
            made(AMD64, &["a", "b"], Has::ManifestAlone),
            made(ARM64, &["c"], Has::All),
        ];
        let seen = judged(&none_of_ours, Some(AMD64), &["b"]);
        broken(
            &seen,
            &["linux/amd64: layer 2 of 2", &diff(b"b"), "is missing"],
        );
        let unnamed = judged(&none_of_ours, Some(AMD64), &[]);
        broken(&unnamed, &["not all of linux/amd64 is here", "there are 2"]);
    }

    #[test]
    fn an_attestation_is_no_image() {
        let with = |has| {
            let ours = made(AMD64, &["a"], has);
            [ours, made(ATTESTED, &["told"], Has::All)]
        };
        for engine in [Some(AMD64), None] {
            whole(&judged(&with(Has::All), engine, &[]), 1);
            broken(
                &judged(&with(Has::ManifestAlone), engine, &[]),
                &["none of its layers"],
            );
        }
        let gone = judged(&with(Has::Nothing), Some(AMD64), &[]);
        broken(&gone, &["nothing of linux/amd64 is here", "manifest"]);
        let told = [
            made(AMD64, &["a"], Has::All),
            made(ATTESTED, &["t"], Has::ManifestAlone),
        ];
        whole(&judged(&told, Some(AMD64), &["t"]), 1);
    }

    #[test]
    fn an_image_for_other_platforms_alone_is_whole_if_one_of_them_is() {
        let all = [
            made("windows/amd64", &["w"], Has::Nothing),
            made(ARM64, &["a", "b"], Has::All),
        ];
        whole(&judged(&all, Some(AMD64), &[]), 2);
        whole(&judged(&all, None, &[]), 2);
    }

    #[test]
    fn one_of_many_variants_is_enough() {
        let arm = |has| made("linux/arm", &["v7"], has);
        let all = [made("linux/arm", &["v6"], Has::Nothing), arm(Has::All)];
        whole(&judged(&all, Some("linux/arm"), &[]), 1);
        let lost = [
            made("linux/arm", &["v6"], Has::Nothing),
            arm(Has::ManifestAlone),
        ];
        broken(
            &judged(&lost, Some("linux/arm"), &["v7"]),
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
        let beside = Beside {
            platform: Some(platform(AMD64)),
            ..Beside::default()
        };
        let seen = judge(&export(&files), &id, Store::Containerd, &beside);
        broken(&seen, &["layer 1 of 1", &diff(b"b"), "is not what it says"]);
    }

    #[test]
    fn what_one_manifest_lacks_is_named_where_the_store_shows_it() {
        let (entries, _) = oci(&[b"one", b"two"]);
        let manifest = entries[3].clone();
        let id = hash(&manifest.1).parse().unwrap();
        let beside = Beside {
            lost: [diff(b"two")].into(),
            ..Beside::default()
        };
        let seen = judge(&export(&[manifest]), &id, Store::Containerd, &beside);
        let named = format!("layer 2 of 2, {}, is missing", diff(b"two"));
        assert_eq!(seen, Verdict::Broken(vec![named]));
    }
}
