//! Whether an exported image's layers are what they say. Decides from the
//! hashes of an export's entries and its few small JSON files: on a graphdriver
//! store each layer against the DiffID in the image's configuration, on the
//! containerd store each blob against its own name and the manifest (see
//! `blobs`). Nothing is kept of a layer but its hash.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::engine::Platform;
use crate::model::{Bytes, ImageId, Store};

use crate::cache::checks::whole::blobs::{blobs, only};
use crate::cache::checks::whole::tar::{Entry, Sink};

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

    /// Name and hash of each file.
    pub(super) fn hashes(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.hashes.iter();
        all.map(|(name, hash)| (name.as_str(), hash.as_str()))
    }

    /// A JSON file.
    pub(super) fn text(&self, name: &str) -> Option<&[u8]> {
        self.texts.get(name).map(Vec::as_slice)
    }

    /// The hash of an entry; old exports link a layer that came before.
    pub(super) fn hash(&self, name: &str) -> Option<&str> {
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
    /// Whether it is what a deploy takes cannot be told: why.
    Unclear(String),
}

/// What is known of an image beside its export.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// What the engine pulls where nobody names a platform.
    pub platform: Option<Platform>,
    /// It came from a registry.
    pub pulled: bool,
    /// Digests of its parts that the containerd store's own files show gone.
    pub lost: BTreeSet<String>,
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
    os: Option<String>,
    architecture: Option<String>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<String>>,
}

/// Judges a whole export of this image.
pub fn judge(export: &Export, id: &ImageId, store: Store, beside: &Beside) -> Verdict {
    if export.too_many {
        return Verdict::Unclear(format!("the export has more than {MOST_ENTRIES} entries"));
    }
    let judged = match store {
        Store::Containerd => blobs(export, id, beside),
        Store::Graphdriver | Store::Podman => diffs(export, id, beside),
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

fn diffs(export: &Export, id: &ImageId, beside: &Beside) -> Result<(usize, Vec<String>), String> {
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
    let platform = Platform::given(config.os, config.architecture);
    match platform.and_then(|platform| elsewhere(&platform, beside)) {
        Some(why) if problems.is_empty() => Err(why),
        _ => Ok((wanted.len(), problems)),
    }
}

/// An image for a platform that this engine does not run. The store keeps no
/// index that would tell whether its name has one for ours, too.
fn elsewhere(image: &Platform, beside: &Beside) -> Option<String> {
    let engine = beside.platform.as_ref().filter(|_| beside.pulled)?;
    let only = || only(&image.to_string(), &engine.to_string());
    (!engine.runs(image)).then(|| format!("{} where the registry has it", only()))
}

/// Which layer.
pub(super) fn place(n: usize, of: usize, digest: &str) -> String {
    format!(
        "layer {} of {of}, {},",
        n + 1,
        crate::model::text::escape(digest)
    )
}

/// How a part is told that hashes to something else.
pub fn differs(place: &str, hash: &str) -> String {
    format!(
        "{place} is not what it says: its bytes hash to {}",
        crate::cache::checks::current::short(&format!("sha256:{hash}"))
    )
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
pub(super) mod tests {
    use super::*;
    use crate::cache::checks::whole::tar::Reader;
    use crate::cache::checks::whole::tar::tests::entry;

    pub fn hash(bytes: &[u8]) -> String {
        format!("{:x}", Sha256::digest(bytes))
    }

    pub fn export(entries: &[(String, Vec<u8>)]) -> Export {
        let mut reader = Reader::new(Export::default());
        for (name, bytes) in entries {
            reader.feed(&entry(name, b'0', "", bytes)).unwrap();
        }
        reader.feed(&[0; 1024]).unwrap();
        reader.finish().0
    }

    /// As 20.10 writes it: manifest.json comes last.
    fn saved(layers: &[&[u8]], diffs: &[String]) -> (Vec<(String, Vec<u8>)>, ImageId) {
        let config = serde_json::json!({"rootfs": {"type": "layers", "diff_ids": diffs}});
        with_config(layers, &config)
    }

    fn with_config(
        layers: &[&[u8]],
        config: &serde_json::Value,
    ) -> (Vec<(String, Vec<u8>)>, ImageId) {
        let config = config.to_string();
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

    pub fn diff(bytes: &[u8]) -> String {
        format!("sha256:{}", hash(bytes))
    }

    #[test]
    fn layers_are_held_against_their_diff_ids() {
        let (entries, id) = saved(&[b"one", b"two"], &[diff(b"one"), diff(b"two")]);
        let whole = judge(
            &export(&entries),
            &id,
            Store::Graphdriver,
            &Beside::default(),
        );
        assert!(
            matches!(whole, Verdict::Whole { layers: 2, .. }),
            "{whole:?}"
        );
        let (entries, id) = saved(&[b"one", b"twO"], &[diff(b"one"), diff(b"two")]);
        let Verdict::Broken(problems) = judge(
            &export(&entries),
            &id,
            Store::Graphdriver,
            &Beside::default(),
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
            judge(&export, &id, Store::Graphdriver, &Beside::default()),
            Verdict::Whole { .. }
        ));
    }

    #[test]
    fn another_configuration_than_the_ids_is_found() {
        let (entries, _) = saved(&[b"one"], &[diff(b"one")]);
        let other = hash(b"other").parse().unwrap();
        assert!(matches!(
            judge(
                &export(&entries),
                &other,
                Store::Graphdriver,
                &Beside::default()
            ),
            Verdict::Broken(_)
        ));
    }

    #[test]
    fn a_pulled_image_of_a_platform_that_the_engine_does_not_run_is_unclear() {
        let config = serde_json::json!({"os": "linux", "architecture": "arm64",
            "rootfs": {"diff_ids": [diff(b"one")]}});
        let (entries, id) = with_config(&[b"one"], &config);
        let judged = |architecture: &str, pulled| {
            let platform = Platform {
                os: "linux".into(),
                architecture: architecture.into(),
            };
            let beside = Beside {
                platform: Some(platform),
                pulled,
                ..Beside::default()
            };
            judge(&export(&entries), &id, Store::Graphdriver, &beside)
        };
        let Verdict::Unclear(why) = judged("amd64", true) else {
            panic!()
        };
        assert!(why.starts_with("only linux/arm64 is here"), "{why}");
        assert!(matches!(judged("amd64", false), Verdict::Whole { .. }));
        assert!(matches!(judged("arm64", true), Verdict::Whole { .. }));
        let unknown = judge(
            &export(&entries),
            &id,
            Store::Graphdriver,
            &Beside::default(),
        );
        assert!(matches!(unknown, Verdict::Whole { .. }));
    }

    #[test]
    fn what_is_no_image_is_unclear() {
        let empty = export(&[]);
        assert!(matches!(
            judge(
                &empty,
                &crate::testing::id(1),
                Store::Graphdriver,
                &Beside::default()
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
}
