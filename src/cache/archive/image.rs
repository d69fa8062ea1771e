//! Converts an engine's export of an image into blobs of the archive.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::json;

use crate::cache::archive::descriptor::Descriptor;
use crate::cache::archive::digest::Digest;
use crate::cache::archive::document::{Config, Document, MANIFEST_TYPE};
use crate::cache::archive::incoming::{Arrived, Incoming};
use crate::cache::archive::writer::{NewBlob, Writer};
use crate::cache::checks::whole::export::Export;
use crate::host::files::FileError;
use crate::model::text::Untrusted;
use crate::model::{ImageId, Store};

const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
const GZIP_LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A complete image: its blobs are in the archive, or drafts.
#[derive(Debug)]
pub struct ImageBlobs {
    /// The image's manifest or index.
    pub root: Descriptor,
    /// Drafts; a blob comes before those that list it.
    pub blobs: Vec<NewBlob>,
}

/// Why an image cannot be saved.
#[derive(Debug)]
pub enum Unusable {
    /// Fit to print.
    Invalid(String),
    File(FileError),
}

impl From<FileError> for Unusable {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

/// An export that was compared with the image's id and is whole.
pub struct Received {
    export: Export,
    arrived: BTreeMap<Digest, Arrived>,
}

impl Received {
    pub fn of(incoming: Incoming<'_>) -> Self {
        Self {
            export: incoming.export,
            arrived: incoming.arrived,
        }
    }

    /// `layers`: the layer blobs in the archive, by DiffID (the hash of the uncompressed layer).
    pub fn into_blobs(
        mut self,
        writer: &Writer,
        id: &ImageId,
        store: Store,
        layers: &BTreeMap<Digest, Descriptor>,
    ) -> Result<ImageBlobs, Unusable> {
        let root: Digest = id.as_str().parse().expect("an id is a digest");
        match store {
            Store::Containerd => self.unchanged(writer, &root),
            Store::Graphdriver | Store::Podman => {
                self.with_generated_manifest(writer, &root, layers)
            }
        }
    }

    /// A JSON file of the export.
    fn text(&self, digest: &Digest) -> Option<&[u8]> {
        self.export.text_of(digest.hex())
    }

    /// The draft of this blob, if it is new.
    fn new_blob(&mut self, digest: &Digest) -> Option<NewBlob> {
        match self.arrived.remove(digest)? {
            Arrived::New(blob) => Some(blob),
            Arrived::There => None,
        }
    }

    /// As [`Self::new_blob`], for a file whose bytes the export kept.
    fn new_text(&self, writer: &Writer, digest: &Digest) -> Result<Option<NewBlob>, FileError> {
        match self.text(digest) {
            Some(text) if !is_whole(writer, digest, text.len() as u64) => {
                writer.draft(text).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// A graphdriver store keeps no manifest, so one is generated: always the same for the same
    /// image.
    fn with_generated_manifest(
        &mut self,
        writer: &Writer,
        config: &Digest,
        layers: &BTreeMap<Digest, Descriptor>,
    ) -> Result<ImageBlobs, Unusable> {
        let invalid = |why: &str| Unusable::Invalid(why.to_owned());
        let text = self.text(config);
        let text = text.ok_or_else(|| invalid("the export has no configuration of the image"))?;
        let told = Config::read(text)
            .map_err(|how| Unusable::Invalid(format!("its configuration {how}")))?;
        let config_part = json!({
            "mediaType": CONFIG_TYPE, "digest": config.as_str(), "size": text.len(),
        });
        let (mut blobs, mut parts) = (Vec::new(), Vec::new());
        let mut known: BTreeMap<Digest, serde_json::Value> = BTreeMap::new();
        for diff in told.diff_ids {
            if let Some(part) = known.get(&diff) {
                parts.push(part.clone());
                continue;
            }
            let new = match self.new_blob(&diff) {
                // A small layer may look like JSON.
                None => self.new_text(writer, &diff)?,
                new => new,
            };
            let part = if let Some(blob) = new {
                let kind = if blob.digest == diff {
                    LAYER_TYPE
                } else {
                    GZIP_LAYER_TYPE
                };
                let part = json!({
                    "mediaType": kind, "digest": blob.digest.as_str(), "size": blob.size,
                });
                blobs.push(blob);
                part
            } else if let Some(layer) = layers.get(&diff).filter(|it| writer.archive.has(it)) {
                json!({
                    "mediaType": layer.media_type, "digest": layer.digest, "size": layer.size,
                })
            } else {
                let meta = std::fs::symlink_metadata(writer.archive.path(&diff));
                let meta = meta.map_err(|_| invalid("a layer went from the archive meanwhile"))?;
                json!({
                    "mediaType": LAYER_TYPE, "digest": diff.as_str(), "size": meta.len(),
                })
            };
            known.insert(diff, part.clone());
            parts.push(part);
        }
        blobs.extend(self.new_text(writer, config)?);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config_part,
            "layers": parts,
        });
        let manifest = manifest.to_string();
        let root = Descriptor::bare(
            Untrusted::new(MANIFEST_TYPE),
            Digest::of(manifest.as_bytes()),
            manifest.len() as u64,
        );
        if !is_whole(writer, &root.digest, root.size) {
            blobs.push(writer.draft(manifest.as_bytes())?);
        }
        Ok(ImageBlobs { root, blobs })
    }

    /// A containerd store exports an image unchanged, except that missing parts (other platforms)
    /// are left out.
    fn unchanged(&mut self, writer: &Writer, root: &Digest) -> Result<ImageBlobs, Unusable> {
        #[derive(Deserialize)]
        struct Typed {
            #[serde(rename = "mediaType")]
            media_type: Option<String>,
        }
        let invalid = |why: &str| Unusable::Invalid(why.to_owned());
        let text = self.text(root);
        let text = text.ok_or_else(|| invalid("the export has no manifest of the image"))?;
        let size = text.len() as u64;
        let index = self.export.text("index.json").unwrap_or_default();
        let named = Document::read(index, &untyped(root, 0)).ok();
        let named = named.and_then(|index| index.blobs().find(|it| it.digest == *root).cloned());
        let typed = || {
            let typed: Option<Typed> = serde_json::from_slice(text).ok();
            Untrusted::new(typed.and_then(|typed| typed.media_type).unwrap_or_default())
        };
        let root = Descriptor {
            media_type: named.map_or_else(typed, |named| named.media_type),
            ..untyped(root, size)
        };
        let mut blobs = Vec::new();
        self.gather(writer, &root, &mut BTreeSet::new(), &mut blobs)?;
        Ok(ImageBlobs { root, blobs })
    }

    fn gather(
        &mut self,
        writer: &Writer,
        from: &Descriptor,
        known: &mut BTreeSet<Digest>,
        blobs: &mut Vec<NewBlob>,
    ) -> Result<(), Unusable> {
        if !known.insert(from.digest.clone()) {
            return Ok(());
        }
        // Layers and the blobs of attestations may also be JSON, but list nothing.
        let document = self
            .text(&from.digest)
            .map(|text| Document::read(text, from));
        if let Some(Ok(document)) = document {
            for blob in document.blobs() {
                self.gather(writer, blob, known, blobs)?;
            }
        }
        let new = match self.new_blob(&from.digest) {
            None => self.new_text(writer, &from.digest)?,
            new => new,
        };
        blobs.extend(new);
        Ok(())
    }
}

fn untyped(digest: &Digest, size: u64) -> Descriptor {
    Descriptor::bare(Untrusted::new(""), digest.clone(), size)
}

/// Whether the archive has the document undamaged.
fn is_whole(writer: &Writer, digest: &Digest, size: u64) -> bool {
    writer.archive.document(&untyped(digest, size)).is_ok()
}
