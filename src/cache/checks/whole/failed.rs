//! Whether a failed export means that the image is damaged, or that the engine could not be
//! asked.

use std::path::Path;

use crate::cache::check::Status;
use crate::cache::checks::whole::containerd::{Part, damaged};
use crate::cache::checks::whole::export::Export;
use crate::cache::checks::whole::graphdriver::chain_ids;
use crate::cache::checks::whole::store::{layers_here, parts_here};
use crate::cache::checks::whole::verdict::{differs, only_for, place};
use crate::engine::{EngineError, Failure, Info, Reader};
use crate::host::storage;
use crate::model::{EngineFacts, Image, Store};

/// An engine that cannot read a layer reports an error, before or during the export. One that was
/// stopped or takes too long says nothing about layers.
pub fn meaning(error: &EngineError) -> Status {
    if error.kind == Failure::Lost || error.why.contains("no space left") {
        Status::Unknown
    } else {
        Status::Broken
    }
}

/// The image was removed meanwhile, or a part of it is missing. On a containerd store, everything
/// for the platform that a deploy uses may be missing while another platform is complete.
pub async fn not_found(
    engine: &Reader,
    info: &Info,
    image: &Image,
    error: &EngineError,
) -> Result<(Status, String), EngineError> {
    if !engine.images(info).await?.contains_key(&image.id) {
        return Ok((Status::Unknown, "it went while it was checked".to_owned()));
    }
    let (facts, why) = (&info.facts, error.to_string());
    if facts.store != Store::Containerd {
        return explain(engine, facts, image, Status::Broken, why).await;
    }
    let lost = missing(&parts_here(facts, image));
    if !lost.is_empty() {
        return Ok((Status::Broken, lost.join("; ")));
    }
    let here = match engine.described(&image.id).await {
        Err(error) if error.kind == Failure::Lost => return Err(error),
        described => described.ok().and_then(|described| described.platform),
    };
    Ok(match (&here, engine.platform()) {
        (Some(here), Some(wanted)) if here != wanted => {
            let only = only_for(&here.to_string(), &wanted.to_string());
            (Status::Unknown, only)
        }
        _ => (Status::Broken, why),
    })
}

/// Which layers' folders are missing, if the store's files show it; otherwise the engine's error.
pub async fn explain(
    engine: &Reader,
    facts: &EngineFacts,
    image: &Image,
    status: Status,
    why: String,
) -> Result<(Status, String), EngineError> {
    if facts.store != Store::Graphdriver {
        return Ok((status, why));
    }
    let (root, driver) = (&facts.data_root, facts.driver.raw());
    let diffs = match engine.described(&image.id).await {
        // moby refuses an image without layers as "empty export". It checked the hash of the
        // configuration before it described the image, and there is nothing else to read.
        Ok(described) if described.layers == Some(Vec::new()) && status == Status::Broken => {
            let why = "no layers: the configuration is all of it, and it reads";
            return Ok((Status::Ok, why.to_owned()));
        }
        Ok(described) => described.layers.unwrap_or_default(),
        Err(error) if error.kind == Failure::Lost => return Err(error),
        // The engine cannot describe an image whose top layer folder is gone; the store's own
        // files can.
        Err(_) => layers_here(facts, image).unwrap_or_default(),
    };
    let chain = chain_ids(&diffs);
    let missing = storage::missing_layers(root, driver, &chain);
    let named = |n: &usize| place(*n, diffs.len(), &diffs[*n]);
    if !missing.is_empty() {
        let each = missing
            .iter()
            .map(|n| format!("{} has lost its folder", named(n)));
        return Ok((Status::Broken, each.collect::<Vec<_>>().join("; ")));
    }
    let holds = damaged_file(&why)
        .map(|file| storage::layers_with(root, driver, &chain, Path::new(file)))
        .unwrap_or_default();
    if holds.is_empty() {
        return Ok((status, why));
    }
    let each: Vec<String> = holds.iter().map(named).collect();
    Ok((
        Status::Broken,
        format!("{} is damaged: {why}", each.join(" or ")),
    ))
}

/// What is wrong with an image of a containerd store whose export was cut short. The engine stops
/// at the first missing or damaged blob; the store may still have the rest.
pub fn describe_damage(facts: &EngineFacts, image: &Image, export: &Export, why: String) -> String {
    let parts = parts_here(facts, image);
    let place = |digest: &String| {
        let part = parts.iter().find(|part| part.digest == *digest);
        part.map_or_else(|| format!("the blob {digest}"), |part| part.place.clone())
    };
    let damaged = damaged(export)
        .into_iter()
        .map(|(digest, hash)| differs(&place(&digest), &hash));
    let all: Vec<String> = damaged.chain(missing(&parts)).collect();
    if all.is_empty() { why } else { all.join("; ") }
}

fn missing(parts: &[Part]) -> Vec<String> {
    let lost = parts.iter().filter(|part| !part.here);
    lost.map(|part| format!("{} is missing", part.place))
        .collect()
}

/// The engine names only the file, not its layer: `file integrity checksum failed for
/// "etc/passwd"`.
fn damaged_file(why: &str) -> Option<&str> {
    let (_, rest) = why.split_once("checksum failed for \"")?;
    rest.split_once('"').map(|(file, _)| file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_engine_that_cannot_read_an_image_says_that_it_is_broken() {
        let failed = |kind, why: &str| EngineError {
            doing: "export".into(),
            kind,
            why: why.into(),
        };
        let slow = failed(Failure::Lost, "no answer within 30m");
        assert_eq!(meaning(&slow), Status::Unknown);
        let full = failed(Failure::Status(500), "write: no space left on device");
        assert_eq!(meaning(&full), Status::Unknown);
        let gone = failed(Failure::Status(500), "layer does not exist");
        assert_eq!(meaning(&gone), Status::Broken);
    }
}
