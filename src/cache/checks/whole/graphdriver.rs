//! Compares an export of a graphdriver store with the image: its configuration lists the DiffID,
//! the hash of each layer.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::cache::checks::whole::export::Export;
use crate::cache::checks::whole::verdict::{Compared, StoreFacts, differs, only_for, place};
use crate::engine::Platform;
use crate::model::ImageId;

/// An image in manifest.json, as `docker save` writes it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
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

pub fn compare(export: &Export, id: &ImageId, beside: &StoreFacts) -> Compared {
    let manifest = export
        .text("manifest.json")
        .ok_or("the export has no manifest.json")?;
    let images: Vec<SavedImage> =
        serde_json::from_slice(manifest).map_err(|_| "the export's manifest.json does not read")?;
    let [saved] = images.as_slice() else {
        return Err(format!(
            "the export holds {} images, wanted one",
            images.len()
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

/// The reason, if the image is for a platform that this engine does not run. The store keeps no
/// index, so it is unknown whether the name also has an image for the engine's platform.
fn elsewhere(image: &Platform, beside: &StoreFacts) -> Option<String> {
    let engine = beside.platform.as_ref().filter(|_| beside.pulled)?;
    let only = || only_for(&image.to_string(), &engine.to_string());
    (!engine.runs(image)).then(|| format!("{} where the registry has it", only()))
}

/// The DiffIDs in an image's configuration; empty if it is invalid.
pub fn diff_ids(config: &[u8]) -> Vec<String> {
    let config: Option<Config> = serde_json::from_slice(config).ok();
    let diffs = config.and_then(|config| config.rootfs.diff_ids);
    diffs.unwrap_or_default()
}

/// The ids of an image's layers in a graphdriver store (chain IDs): each is a hash over that
/// layer and all below it.
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
mod tests;
