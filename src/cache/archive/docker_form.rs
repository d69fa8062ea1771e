//! manifest.json: docker's own list of images, which overlay2 engines read instead of the index.
//! It makes `tar -C DIR -c . | docker load` work. Items of other tools are kept.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use crate::cache::archive::digest::Digest;
use crate::cache::archive::error::{ArchiveError, Damage};
use crate::cache::archive::index::LONGEST_INDEX;
use crate::cache::archive::open::{Archive, blob_path};
use crate::engine::Platform;
use crate::host::files::{read_trusted, write_for_all};
use crate::model::text::json_error;

const NAME: &str = "manifest.json";

/// Marks the items that secateur wrote; docker ignores it.
const OURS: &str = "invalid.secateur";

#[derive(Debug)]
pub struct DockerManifest {
    /// Unchanged items of other tools.
    foreign: Vec<Box<RawValue>>,
    /// The files of each manifest of ours; `None` if it has no item.
    known: BTreeMap<Digest, Option<Parts>>,
}

#[derive(Debug, Clone)]
struct Parts {
    config: String,
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Marked {
    #[serde(rename = "invalid.secateur")]
    ours: Option<bool>,
}

impl DockerManifest {
    pub fn read(dir: &Path) -> Result<Self, ArchiveError> {
        let path = dir.join(NAME);
        let bytes = read_trusted(&path, LONGEST_INDEX)?;
        let bytes = bytes.unwrap_or_else(|| b"[]".to_vec());
        let items: Vec<Box<RawValue>> = serde_json::from_slice(&bytes).map_err(|error| {
            ArchiveError::damaged(&path, Damage::Unreadable(json_error(&error)))
        })?;
        let is_ours = |item: &RawValue| {
            let marked: Option<Marked> = serde_json::from_str(item.get()).ok();
            marked.is_some_and(|marked| marked.ours == Some(true))
        };
        let foreign = items.into_iter().filter(|item| !is_ours(item)).collect();
        Ok(Self {
            foreign,
            known: BTreeMap::new(),
        })
    }

    /// Writes the items of our entries. An entry for another platform, or with an invalid
    /// manifest, gets none.
    pub fn write(&mut self, archive: &Archive, platform: &Platform) -> Result<(), ArchiveError> {
        let mut names: BTreeMap<&Digest, Vec<String>> = BTreeMap::new();
        for entry in archive.entries().filter(|entry| entry.ours.is_some()) {
            let digest = &entry.descriptor.digest;
            let tag = entry.name.as_ref().filter(|name| !name.is_digest());
            names
                .entry(digest)
                .or_default()
                .extend(tag.map(ToString::to_string));
            if !self.known.contains_key(digest) {
                let found = archive.resolve(entry, platform).ok();
                let parts = found.map(|found| Parts {
                    config: blob_path(&found.config.digest),
                    layers: found
                        .layers
                        .iter()
                        .map(|it| blob_path(&it.digest))
                        .collect(),
                });
                self.known.insert(digest.clone(), parts);
            }
        }
        let ours = names.iter().filter_map(|(digest, tags)| {
            let parts = self.known.get(*digest)?.as_ref()?;
            let item = json!({
                "Config": parts.config,
                "RepoTags": tags,
                "Layers": parts.layers,
                OURS: true,
            });
            Some(to_raw_value(&item).expect("strings are JSON"))
        });
        let items: Vec<Box<RawValue>> = self.foreign.iter().cloned().chain(ours).collect();
        let bytes = serde_json::to_vec(&items).expect("it is JSON already");
        write_for_all(&archive.dir().join(NAME), &bytes)?;
        Ok(())
    }
}
