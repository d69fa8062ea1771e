//! Whether an exported image's layers are what they say. Decides from the
//! hashes of an export's entries and its few small JSON files: on a graphdriver
//! store each layer against the DiffID in the image's configuration, on the
//! containerd store each blob against its own name and the manifest. Nothing
//! is kept of a layer but its hash.

use std::collections::BTreeMap;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::model::{Bytes, ImageId, Store};

use super::tar::{Entry, Sink};

/// No manifest, configuration or index is longer: registries take 4 MiB.
const LONGEST_TEXT: usize = 4 << 20;

/// What is kept of small JSON files, and how many entries, at most.
const MOST_TEXT: usize = 8 << 20;
const MOST_ENTRIES: usize = 20_000;

/// An export, as far as it is kept.
#[derive(Default)]
pub struct Export {
    hashes: BTreeMap<String, String>,
    links: BTreeMap<String, String>,
    texts: BTreeMap<String, Vec<u8>>,
    text_bytes: usize,
    bytes: u64,
    too_many: bool,
    current: Option<Current>,
}

struct Current {
    name: String,
    hash: Sha256,
    text: Option<Vec<u8>>,
}

impl Export {
    /// Bytes of entries so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn text(&self, name: &str) -> Option<&[u8]> {
        self.texts.get(name).map(Vec::as_slice)
    }

    /// The hash of an entry; old exports link a layer that came before.
    fn hash(&self, name: &str) -> Option<&str> {
        let mut name = name.to_owned();
        for _ in 0..4 {
            match self.links.get(&name) {
                Some(link) => name = resolved(&name, link),
                None => break,
            }
        }
        self.hashes.get(&name).map(String::as_str)
    }
}

/// A link's target, from where the link stands.
fn resolved(from: &str, link: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

impl Sink for Export {
    fn begin(&mut self, entry: &Entry) {
        let name = entry.name.trim_start_matches("./").to_owned();
        if self.hashes.len() + self.links.len() >= MOST_ENTRIES {
            self.too_many = true;
            return;
        }
        if let Some(link) = &entry.link {
            self.links.insert(name, link.clone());
        } else if entry.is_file {
            let size = usize::try_from(entry.size).unwrap_or(usize::MAX);
            let small = size <= LONGEST_TEXT.min(MOST_TEXT - self.text_bytes);
            // What a JSON file is called: layers of old exports end in .tar.
            let is_layer = std::path::Path::new(&name)
                .extension()
                .is_some_and(|end| end == "tar");
            let text = (small && !is_layer).then(Vec::new);
            self.current = Some(Current {
                name,
                hash: Sha256::new(),
                text,
            });
        }
    }

    fn data(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let Some(current) = &mut self.current else {
            return;
        };
        current.hash.update(bytes);
        if let Some(text) = &mut current.text {
            // A small layer is no JSON, and is not kept.
            if text.is_empty() && !matches!(bytes.first(), Some(b'{' | b'[')) {
                current.text = None;
            } else {
                text.extend_from_slice(bytes);
                self.text_bytes += bytes.len();
            }
        }
    }

    fn end(&mut self) {
        if let Some(current) = self.current.take() {
            if let Some(text) = current.text {
                self.texts.insert(current.name.clone(), text);
            }
            self.hashes
                .insert(current.name, format!("{:x}", current.hash.finalize()));
        }
    }
}

/// What an export shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All of it is what it says.
    Whole {
        /// How many layers.
        layers: usize,
        /// How many bytes were read.
        bytes: Bytes,
    },
    /// What is not, each in words fit to print.
    Broken(Vec<String>),
    /// The export does not read as an image: why.
    Unclear(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    layers: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
}

/// Judges a whole export of this image.
pub fn judge(export: &Export, id: &ImageId, store: Store) -> Verdict {
    if export.too_many {
        return Verdict::Unclear(format!("the export has more than {MOST_ENTRIES} entries"));
    }
    let judged = match store {
        Store::Containerd => blobs(export, id),
        Store::Graphdriver | Store::Podman => diffs(export, id),
    };
    match judged {
        Err(why) => Verdict::Unclear(why),
        Ok((layers, problems)) if problems.is_empty() => Verdict::Whole {
            layers,
            bytes: Bytes(export.bytes),
        },
        Ok((_, problems)) => Verdict::Broken(problems),
    }
}

fn diffs(export: &Export, id: &ImageId) -> Result<(usize, Vec<String>), String> {
    let saved = export
        .text("manifest.json")
        .ok_or("the export has no manifest.json")?;
    let saved: Vec<Saved> =
        serde_json::from_slice(saved).map_err(|_| "the export's manifest.json does not read")?;
    let [saved] = saved.as_slice() else {
        return Err(format!(
            "the export holds {} images, wanted one",
            saved.len()
        ));
    };
    let config = export
        .text(&saved.config)
        .ok_or("the export has no configuration of the image")?;
    let mut problems = Vec::new();
    if export.hash(&saved.config) != Some(id.hex()) {
        problems.push(format!(
            "the image's configuration is not what its id says, {id}"
        ));
    }
    let config: Config =
        serde_json::from_slice(config).map_err(|_| "the image's configuration does not read")?;
    let (layers, wanted) = (
        saved.layers.clone().unwrap_or_default(),
        config.rootfs.diff_ids.unwrap_or_default(),
    );
    if layers.len() != wanted.len() {
        problems.push(format!(
            "{} layers are here, the image has {}",
            layers.len(),
            wanted.len()
        ));
    }
    for (n, (layer, diff)) in layers.iter().zip(&wanted).enumerate() {
        let place = place(n, wanted.len(), diff);
        match export.hash(layer) {
            None => problems.push(format!("{place} is missing")),
            Some(hash) if diff.strip_prefix("sha256:") == Some(hash) => {}
            Some(hash) => problems.push(differs(&place, hash)),
        }
    }
    Ok((wanted.len(), problems))
}

fn blobs(export: &Export, id: &ImageId) -> Result<(usize, Vec<String>), String> {
    let mut problems = Vec::new();
    let mut layers = 0;
    let mut whole = 0;
    let mut named: Vec<String> = Vec::new();
    let root = read(export, id.as_str())?;
    let children: Vec<&str> = match root.as_ref() {
        None => return Ok((0, vec![format!("the image's manifest {id} is missing")])),
        Some(root) if root.manifests.is_empty() => vec![id.as_str()],
        Some(root) => root
            .manifests
            .iter()
            .map(|child| child.digest.as_str())
            .collect(),
    };
    named.push(id.as_str().to_owned());
    for child in children {
        // Other platforms' manifests are not here, which is as it should be.
        let Some(manifest) = read(export, child)? else {
            continue;
        };
        named.push(child.to_owned());
        let parts: Vec<&str> = manifest
            .config
            .iter()
            .chain(&manifest.layers)
            .map(|part| part.digest.as_str())
            .collect();
        if parts.iter().all(|part| blob(export, part).is_none()) {
            continue;
        }
        whole += 1;
        layers += manifest.layers.len();
        for (n, part) in parts.iter().enumerate() {
            let place = match (&manifest.config, n) {
                (Some(_), 0) => format!("the configuration {part}"),
                (config, n) => place(
                    n - usize::from(config.is_some()),
                    manifest.layers.len(),
                    part,
                ),
            };
            match blob(export, part) {
                None => problems.push(format!("{place} is missing")),
                Some(hash) if part.strip_prefix("sha256:") == Some(hash) => {}
                Some(hash) => problems.push(differs(&place, hash)),
            }
            named.push((*part).to_owned());
        }
    }
    if whole == 0 {
        problems.push("none of its layers is here".into());
    }
    for (name, hash) in &export.hashes {
        let Some(hex) = name.strip_prefix("blobs/sha256/") else {
            continue;
        };
        let digest = format!("sha256:{hex}");
        // Layers have had their say above.
        let said = problems.iter().any(|problem| problem.contains(&digest));
        if hex != hash && !said {
            problems.push(differs(
                &format!("the blob {}", crate::text::escape(&digest)),
                hash,
            ));
        }
    }
    problems.dedup();
    Ok((layers, problems))
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
        Err(_) if Some(hash) == digest.strip_prefix("sha256:") => Err(format!(
            "the manifest {} does not read",
            crate::text::escape(digest)
        )),
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

fn place(n: usize, of: usize, digest: &str) -> String {
    format!("layer {} of {of}, {},", n + 1, crate::text::escape(digest))
}

/// How a part is told that hashes to something else.
pub fn differs(place: &str, hash: &str) -> String {
    format!(
        "{place} is not what it says: its bytes hash to {}",
        super::current::short(&format!("sha256:{hash}"))
    )
}

/// Blobs of an export that are not what their names say: digest and hash. All
/// that a broken-off export can tell.
pub fn damaged(export: &Export) -> Vec<(String, String)> {
    let blobs = export.hashes.iter().filter_map(|(name, hash)| {
        let hex = name.strip_prefix("blobs/sha256/")?;
        (hex != hash).then(|| (format!("sha256:{hex}"), hash.clone()))
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
            .filter_map(|child| manifest(&child.digest))
            .collect(),
    };
    let mut found = Vec::new();
    for child in children {
        let config = child.config.iter().map(|config| {
            let digest = crate::text::escape(&config.digest);
            (&config.digest, format!("the configuration {digest}"))
        });
        let of = child.layers.len();
        let layers = child.layers.iter().enumerate();
        let layers = layers.map(|(n, layer)| (&layer.digest, place(n, of, &layer.digest)));
        let all: Vec<Part> = config
            .chain(layers)
            .map(|(digest, place)| Part {
                here: blob(digest).is_some(),
                digest: digest.clone(),
                place,
            })
            .collect();
        if all.iter().any(|part| part.here) {
            found.extend(all);
        }
    }
    found
}

/// The DiffIDs in an image's configuration; none where it does not read.
pub fn diff_ids(config: &[u8]) -> Vec<String> {
    let config: Option<Config> = serde_json::from_slice(config).ok();
    let diffs = config.and_then(|config| config.rootfs.diff_ids);
    diffs.unwrap_or_default()
}

/// The ids under which a graphdriver store keeps an image's layers: each is a
/// hash over all layers up to it.
pub fn chain_ids(diff_ids: &[String]) -> Vec<String> {
    let mut chain: Vec<String> = Vec::new();
    for diff in diff_ids {
        let next = match chain.last() {
            None => diff.clone(),
            Some(below) => format!("sha256:{:x}", Sha256::digest(format!("{below} {diff}"))),
        };
        chain.push(next);
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::super::tar::Reader;
    use super::super::tar::tests::entry;
    use super::*;

    fn hash(bytes: &[u8]) -> String {
        format!("{:x}", Sha256::digest(bytes))
    }

    fn export(entries: &[(String, Vec<u8>)]) -> Export {
        let mut reader = Reader::new(Export::default());
        for (name, bytes) in entries {
            reader.feed(&entry(name, b'0', "", bytes)).unwrap();
        }
        reader.feed(&[0; 1024]).unwrap();
        reader.finish().0
    }

    /// As 20.10 writes it: manifest.json comes last.
    fn saved(layers: &[&[u8]], diffs: &[String]) -> (Vec<(String, Vec<u8>)>, ImageId) {
        let config =
            serde_json::json!({"rootfs": {"type": "layers", "diff_ids": diffs}}).to_string();
        let name = hash(config.as_bytes());
        let names: Vec<String> = (0..layers.len())
            .map(|n| format!("{n}/layer.tar"))
            .collect();
        let manifest = serde_json::json!([{"Config": format!("{name}.json"), "RepoTags": null, "Layers": names}]);
        let mut entries: Vec<(String, Vec<u8>)> = names
            .into_iter()
            .zip(layers.iter().map(|l| l.to_vec()))
            .collect();
        entries.push((format!("{name}.json"), config.into_bytes()));
        entries.push(("manifest.json".into(), manifest.to_string().into_bytes()));
        (entries, name.parse().unwrap())
    }

    fn diff(bytes: &[u8]) -> String {
        format!("sha256:{}", hash(bytes))
    }

    #[test]
    fn layers_are_held_against_their_diff_ids() {
        let (entries, id) = saved(&[b"one", b"two"], &[diff(b"one"), diff(b"two")]);
        let whole = judge(&export(&entries), &id, Store::Graphdriver);
        assert!(
            matches!(whole, Verdict::Whole { layers: 2, .. }),
            "{whole:?}"
        );
        let (entries, id) = saved(&[b"one", b"twO"], &[diff(b"one"), diff(b"two")]);
        let Verdict::Broken(problems) = judge(&export(&entries), &id, Store::Graphdriver) else {
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
            judge(&export, &id, Store::Graphdriver),
            Verdict::Whole { .. }
        ));
    }

    #[test]
    fn another_configuration_than_the_ids_is_found() {
        let (entries, _) = saved(&[b"one"], &[diff(b"one")]);
        let other = hash(b"other").parse().unwrap();
        assert!(matches!(
            judge(&export(&entries), &other, Store::Graphdriver),
            Verdict::Broken(_)
        ));
    }

    /// As the containerd store writes it: blobs, compressed layers.
    fn oci(layers: &[&[u8]]) -> (Vec<(String, Vec<u8>)>, ImageId) {
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

    #[test]
    fn blobs_are_held_against_their_names_and_the_manifest() {
        let (entries, id) = oci(&[b"one", b"two"]);
        let whole = judge(&export(&entries), &id, Store::Containerd);
        assert!(
            matches!(whole, Verdict::Whole { layers: 2, .. }),
            "{whole:?}"
        );

        let mut flipped = entries.clone();
        flipped[1].1 = b"twO".to_vec();
        let Verdict::Broken(problems) = judge(&export(&flipped), &id, Store::Containerd) else {
            panic!()
        };
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("layer 2 of 2") && problems[0].contains(&diff(b"two")));

        let mut missing = entries.clone();
        missing.remove(0);
        let Verdict::Broken(problems) = judge(&export(&missing), &id, Store::Containerd) else {
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
        assert!(matches!(
            judge(&export(&none), &id, Store::Containerd),
            Verdict::Broken(_)
        ));
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
        assert!(matches!(
            judge(&export(&entries), &id, Store::Containerd),
            Verdict::Broken(_)
        ));
        entries.remove(last);
        assert!(matches!(
            judge(&export(&entries), &id, Store::Containerd),
            Verdict::Broken(_)
        ));
    }

    #[test]
    fn what_is_no_image_is_unclear() {
        let empty = export(&[]);
        assert!(matches!(
            judge(&empty, &crate::testing::id(1), Store::Graphdriver),
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
}
