//! Which parts of an image exist, by the containerd store's own files.

use crate::cache::checks::whole::containerd::manifest::Manifest;
use crate::model::ImageId;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub digest: String,
    /// Its role in the image, and its digest; fit to print.
    pub place: String,
    pub here: bool,
}

/// The parts of an image; empty if its manifest cannot be read. `blob` returns a blob's bytes, or
/// `Some(None)` for one too long to be a manifest. Platforms of which no part exists are left
/// out.
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
            .filter(|child| !child.is_attestation())
            .filter_map(|child| manifest(&child.digest))
            .collect(),
    };
    let mut found = Vec::new();
    for child in children {
        let all = child.parts().into_iter();
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
