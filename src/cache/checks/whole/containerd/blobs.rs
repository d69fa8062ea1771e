//! The blobs of an export. Each is named by its digest.

use crate::cache::checks::whole::containerd::manifest::Manifest;
use crate::cache::checks::whole::export::Export;
use crate::model::text::escape;

/// A manifest or index of the export. One that cannot be parsed is empty if its hash shows
/// damage, and an error if its hash is right.
pub fn read(export: &Export, digest: &str) -> Result<Option<Manifest>, String> {
    let Some(hash) = blob(export, digest) else {
        return Ok(None);
    };
    let text = export.text(&path(digest)).unwrap_or_default();
    match serde_json::from_slice(text) {
        Ok(manifest) => Ok(Some(manifest)),
        Err(_) if Some(hash) == digest.strip_prefix("sha256:") => {
            Err(format!("the manifest {} does not read", escape(digest)))
        }
        Err(_) => Ok(Some(Manifest::default())),
    }
}

pub fn path(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

/// The blob's hash, in hex.
pub fn blob<'a>(export: &'a Export, digest: &str) -> Option<&'a str> {
    export.hash(&path(digest))
}

/// Digest and actual hash of each damaged blob. An export that was cut short tells no more.
pub fn damaged(export: &Export) -> Vec<(String, String)> {
    let blobs = export.hashes().filter_map(|(name, hash)| {
        let hex = name.strip_prefix("blobs/sha256/")?;
        (hex != hash).then(|| (format!("sha256:{hex}"), hash.to_owned()))
    });
    blobs.collect()
}
