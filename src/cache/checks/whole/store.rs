//! What an image's store tells without its layers being read.

use crate::cache::checks::whole::containerd::{Part, parts};
use crate::cache::checks::whole::verdict::Beside;
use crate::engine::Reader;
use crate::host::storage;
use crate::model::{EngineFacts, Image};

/// In bytes. No manifest, index or configuration is longer.
pub const LONGEST_MANIFEST: u64 = 4 << 20;

pub fn beside(engine: &Reader, facts: &EngineFacts, image: &Image) -> Beside {
    let lost = parts_here(facts, image)
        .into_iter()
        .filter(|part| !part.here);
    Beside {
        platform: engine.platform().cloned(),
        pulled: !image.digests.is_empty(),
        lost: lost.map(|part| part.digest).collect(),
    }
}

/// The image's parts by a containerd store's own files; none where they cannot be read.
pub fn parts_here(facts: &EngineFacts, image: &Image) -> Vec<Part> {
    let Some(root) = &facts.containerd_root else {
        return Vec::new();
    };
    parts(&image.id, |digest| {
        storage::blob(root, digest, LONGEST_MANIFEST)
    })
}
