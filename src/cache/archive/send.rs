//! The files that load an image of an archive into an engine. Each store has its own form; 20.10
//! reads no OCI layout. Every blob is checked while it is sent.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::Arc;

use serde_json::json;

use crate::cache::archive::annotations::IMAGE_NAME;
use crate::cache::archive::blob::PIECE;
use crate::cache::archive::descriptor::Descriptor;
use crate::cache::archive::digest::Digest;
use crate::cache::archive::document::Document;
use crate::cache::archive::entry::Entry;
use crate::cache::archive::error::ArchiveError;
use crate::cache::archive::open::{Archive, INDEX, LAYOUT, blob_path};
use crate::cache::archive::resolve::{MOST_DOCUMENTS, Resolved};
use crate::engine::Part;
use crate::model::reference::Reference;

pub struct Sending {
    pub parts: Vec<Part>,
    blobs: Vec<Descriptor>,
    /// Bytes of all blobs.
    pub bytes: u64,
}

impl Sending {
    fn of(first: Vec<Part>, archive: &Arc<Archive>, blobs: &[&Descriptor]) -> Self {
        let mut known = BTreeSet::new();
        let each = blobs.iter().filter(|blob| known.insert(&blob.digest));
        let each: Vec<Descriptor> = each.copied().cloned().collect();
        let parts = each.iter().map(|blob| part(archive, blob));
        Self {
            bytes: each
                .iter()
                .fold(0, |sum, blob| blob.size.saturating_add(sum)),
            parts: first.into_iter().chain(parts).collect(),
            blobs: each,
        }
    }

    /// Reads and checks all blobs before anything is sent. A containerd store keeps an incomplete
    /// load for hours, and for a minute it looks like somebody's pull.
    ///
    /// # Errors
    ///
    /// As [`Archive::blob`]; also if a blob's digest is wrong.
    pub async fn check(&self, archive: &Archive) -> Result<(), ArchiveError> {
        let mut piece = vec![0; PIECE];
        for blob in &self.blobs {
            let mut read = archive.blob(&blob.digest, blob.size)?;
            while read.read_piece(&mut piece)? > 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
}

/// For a graphdriver store: as `docker save` writes it, without a name. `here`: the number of
/// lowest layers that the engine has, which are left out.
pub fn to_graphdriver(archive: &Arc<Archive>, image: &Resolved, here: usize) -> Sending {
    let layers: Vec<String> = image
        .layers
        .iter()
        .map(|it| blob_path(&it.digest))
        .collect();
    let manifest = json!([{"Config": blob_path(&image.config.digest), "Layers": layers}]);
    let manifest = Part::whole("manifest.json", manifest.to_string());
    let upper = image.layers.iter().skip(here);
    let blobs: Vec<&Descriptor> = std::iter::once(&image.config).chain(upper).collect();
    Sending::of(vec![manifest], archive, &blobs)
}

/// For a containerd store: an OCI layout of the image for one platform, and its attestations.
/// `here`: layers that the store has, which are left out.
///
/// # Errors
///
/// As [`Archive::document`].
pub fn to_containerd(
    archive: &Arc<Archive>,
    entry: &Entry,
    image: &Resolved,
    name: Option<&Reference>,
    here: &BTreeSet<Digest>,
) -> Result<Sending, ArchiveError> {
    let root = &entry.descriptor;
    let mut top = json!({
        "mediaType": root.media_type.raw(),
        "digest": root.digest.as_str(),
        "size": root.size,
    });
    if let Some(name) = name {
        top["annotations"] = json!({IMAGE_NAME: name.to_string()});
    }
    let index = json!({"schemaVersion": 2, "manifests": [top]});
    let first = vec![
        Part::whole(LAYOUT, &br#"{"imageLayoutVersion":"1.0.0"}"#[..]),
        Part::whole(INDEX, index.to_string()),
    ];
    let attestations = attestations(archive, image)?;
    let layers = image.layers.iter();
    let layers = layers.filter(|layer| !here.contains(&layer.digest));
    let blobs: Vec<&Descriptor> = image
        .indexes
        .iter()
        .chain([&image.manifest, &image.config])
        .chain(layers)
        .chain(&attestations)
        .collect();
    Ok(Sending::of(first, archive, &blobs))
}

/// The attestations of the image that are complete here.
fn attestations(archive: &Archive, image: &Resolved) -> Result<Vec<Descriptor>, ArchiveError> {
    let (mut found, mut budget) = (Vec::new(), MOST_DOCUMENTS);
    for index in &image.indexes {
        let document = archive.read(index, &mut budget)?;
        let attestations = document.blobs().filter(|blob| blob.is_attestation);
        for manifest in attestations.filter(|manifest| archive.has(manifest)) {
            let document = archive.read(manifest, &mut budget)?;
            if let Document::Manifest { config, layers } = &document
                && document.blobs().all(|blob| archive.has(blob))
            {
                found.push(manifest.clone());
                found.push(config.clone());
                found.extend(layers.iter().cloned());
            }
        }
    }
    Ok(found)
}

fn part(archive: &Arc<Archive>, blob: &Descriptor) -> Part {
    let (archive, digest, size) = (Arc::clone(archive), blob.digest.clone(), blob.size);
    Part {
        path: blob_path(&digest),
        size,
        open: Box::new(move || {
            let blob = archive.blob(&digest, size).map_err(io::Error::other)?;
            Ok(Box::new(blob) as Box<dyn Read + Send>)
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;
    use crate::cache::archive::testing::{
        INDEX_TYPE, Layout, MANIFEST_TYPE, amd64, for_platform, named, read, with,
    };

    /// The files that an engine would get.
    fn files(sending: Sending) -> BTreeMap<String, Vec<u8>> {
        let read = |part: Part| {
            let mut bytes = Vec::new();
            (part.open)().unwrap().read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes.len() as u64, part.size);
            (part.path, bytes)
        };
        sending.parts.into_iter().map(read).collect()
    }

    /// The descriptor of a blob, and a change to its file.
    type Spoilt = (&'static str, fn(&std::path::Path));

    fn one(layout: &Layout) -> (Arc<Archive>, Entry, Resolved) {
        let archive = layout.open().unwrap();
        let entry = archive.entries().next().unwrap().clone();
        let image = archive.resolve(&entry, &amd64()).unwrap();
        (Arc::new(archive), entry, image)
    }

    #[test]
    fn a_graphdriver_gets_configuration_and_layers_but_those_that_it_has_and_no_name() {
        let layout = Layout::empty();
        let image = layout.image("amd64", &["one", "two", "one", "three"]);
        layout.index(&[named(image, "docker.io/library/app:1")]);
        let (archive, _, image) = one(&layout);
        let sent = |here| {
            let sending = to_graphdriver(&archive, &image, here);
            let bytes = sending.bytes;
            let mut files = files(sending);
            let manifest = files.remove("manifest.json").unwrap();
            assert_eq!(bytes, files.values().map(|it| it.len() as u64).sum::<u64>());
            let manifest: Value = serde_json::from_slice(&manifest).unwrap();
            assert_eq!(manifest[0]["RepoTags"], Value::Null);
            assert_eq!(manifest[0]["Layers"].as_array().unwrap().len(), 4);
            let config = manifest[0]["Config"].as_str().unwrap();
            files.remove(config).expect("the configuration");
            let mut layers: Vec<Vec<u8>> = files.into_values().collect();
            layers.sort();
            layers
        };
        assert_eq!(sent(0), [&b"one"[..], b"three", b"two"]);
        assert_eq!(
            sent(1),
            [&b"one"[..], b"three", b"two"],
            "it is also the third"
        );
        assert_eq!(sent(3), [b"three"]);
        assert!(sent(4).is_empty());
    }

    #[test]
    fn a_containerd_store_gets_one_image_of_an_index_and_what_is_told_about_it() {
        let layout = Layout::empty();
        let ours = for_platform(layout.image("amd64", &["one", "two"]), "amd64");
        let other = for_platform(layout.image("arm64", &["other"]), "arm64");
        let attestations = for_platform(layout.image("unknown", &["attestations"]), "unknown");
        let kind = json!({"vnd.docker.reference.type": "attestation-manifest"});
        let attestations = with(attestations, "annotations", kind);
        let list = json!({"schemaVersion": 2, "manifests": [other, ours, attestations]});
        let index = layout.blob(INDEX_TYPE, list.to_string());
        layout.index(std::slice::from_ref(&index));
        let (archive, entry, image) = one(&layout);
        let name = "docker.io/library/app:1".parse().unwrap();
        let here = BTreeSet::from([Digest::of(b"one")]);
        let sending = to_containerd(&archive, &entry, &image, Some(&name), &here).unwrap();
        let files = files(sending);
        let top: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let top = &top["manifests"][0];
        assert_eq!(top["digest"], index["digest"]);
        assert_eq!(top["mediaType"], INDEX_TYPE);
        assert_eq!(
            top["annotations"]["io.containerd.image.name"],
            name.to_string()
        );
        let has = |bytes: &[u8]| files.contains_key(&blob_path(&Digest::of(bytes)));
        assert!(files.contains_key("oci-layout"));
        assert!(has(b"two") && has(b"attestations") && has(list.to_string().as_bytes()));
        assert!(!has(b"one") && !has(b"other"));
        let child = |it: &Value| files.contains_key(&blob_path(&read(it).digest));
        assert!(child(&ours) && child(&attestations) && !child(&other));
        let nameless = to_containerd(&archive, &entry, &image, None, &here).unwrap();
        let nameless = self::files(nameless);
        let top: Value = serde_json::from_slice(&nameless["index.json"]).unwrap();
        assert!(top["manifests"][0].get("annotations").is_none());
        assert_ne!(MANIFEST_TYPE, INDEX_TYPE);
    }

    #[test]
    fn a_blob_that_is_damaged_or_a_link_ends_what_is_sent() {
        let spoil: [Spoilt; 3] = [
            ("is damaged", |path| std::fs::write(path, "tWo").unwrap()),
            ("has 2 bytes, wanted 3", |path| {
                std::fs::write(path, "tw").unwrap();
            }),
            ("is no plain file", |path| {
                std::fs::rename(path, path.with_extension("real")).unwrap();
                std::os::unix::fs::symlink(path.with_extension("real"), path).unwrap();
            }),
        ];
        for (wanted, spoil) in spoil {
            let layout = Layout::empty();
            let entry = layout.image("amd64", &["one", "two"]);
            layout.index(&[entry]);
            let (archive, _, image) = one(&layout);
            spoil(&archive.path(&Digest::of(b"two")));
            let sending = to_graphdriver(&archive, &image, 0);
            let last = sending.parts.into_iter().last().unwrap();
            let mut bytes = Vec::new();
            let read = (last.open)().and_then(|mut blob| blob.read_to_end(&mut bytes));
            let seen = read.unwrap_err().to_string();
            assert!(seen.contains(wanted), "{wanted}: {seen}");
        }
    }
}
