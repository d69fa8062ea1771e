//! What is known about an image without reading its layers.

use crate::cache::checks::whole::containerd::{Part, parts};
use crate::cache::checks::whole::graphdriver::diff_ids;
use crate::cache::checks::whole::verdict::StoreFacts;
use crate::engine::Reader;
use crate::host::storage;
use crate::model::{EngineFacts, Image};

/// Bytes. Registries accept no longer manifest, index or configuration.
pub const LONGEST_DOCUMENT: u64 = 4 << 20;

pub fn beside(engine: &Reader, facts: &EngineFacts, image: &Image) -> StoreFacts {
    let lost = parts_here(facts, image)
        .into_iter()
        .filter(|part| !part.here);
    StoreFacts {
        platform: engine.platform().cloned(),
        pulled: !image.digests.is_empty(),
        lost: lost.map(|part| part.digest).collect(),
    }
}

/// The DiffIDs of an image's layers, from an overlay2 store's own files.
pub fn layers_here(facts: &EngineFacts, image: &Image) -> Option<Vec<String>> {
    let (root, driver) = (&facts.data_root, facts.driver.raw());
    let config = storage::config(root, driver, image.id.hex(), LONGEST_DOCUMENT);
    config.map(|config| diff_ids(&config))
}

/// The image's parts, from a containerd store's own files; empty if they cannot be read.
pub fn parts_here(facts: &EngineFacts, image: &Image) -> Vec<Part> {
    let Some(root) = &facts.containerd_root else {
        return Vec::new();
    };
    parts(&image.id, |digest| {
        storage::blob(root, digest, LONGEST_DOCUMENT)
    })
}
