//! Reads one image out of the engine and has its layers judged: the edge to
//! [`crate::cache::checks::whole::layers`]. Decides what a failed export means: a layer that is not
//! there, or only that it could not be looked at. Nothing is written here.
//! (A graphdriver engine writes a temporary copy of its own before it sends.)

pub mod blobs;
pub mod layers;
pub mod tar;

use std::path::Path;

use crate::engine::{EngineError, Failure, Info, Reader as Engine};
use crate::host::clock::monotonic;
use crate::host::storage;
use crate::model::{Bytes, EngineFacts, Image, Observed, Store};

use crate::cache::checks::whole::blobs::{Part, damaged, only, parts};
use crate::cache::checks::whole::layers::{
    Beside, Export, Verdict, chain_ids, diff_ids, differs, judge,
};
use crate::cache::checks::whole::tar::Reader;
use crate::cache::{Check, Kind, Status};

/// No manifest, index or configuration is longer.
const LONGEST_MANIFEST: u64 = 4 << 20;

/// Looks at one image; `progress` is told the bytes so far. The outer error:
/// the engine itself is gone.
pub async fn look(
    engine: &Engine,
    info: &Info,
    image: &Image,
    progress: &mut dyn FnMut(u64),
) -> Result<Check, EngineError> {
    let started = monotonic();
    let facts = &info.facts;
    let judged = |export: &Export| {
        judge(
            export,
            &image.id,
            facts.store,
            &beside(engine, facts, image),
        )
    };
    let (status, message) = match read(engine, image, progress).await {
        Ok(Ok(export)) => match judged(&export) {
            Verdict::Whole { layers, bytes } => {
                let s = if layers == 1 { "" } else { "s" };
                let seconds = started.elapsed().as_secs_f64();
                (
                    Status::Ok,
                    format!("{layers} layer{s} read and hashed, {bytes} in {seconds:.1} s"),
                )
            }
            Verdict::Broken(problems) => (Status::Broken, problems.join("; ")),
            Verdict::Unclear(why) => (Status::Unknown, why),
        },
        Ok(Err(Unread::Odd(why))) => (Status::Unknown, why),
        Ok(Err(Unread::BrokenOff(export, why))) => match facts.store {
            Store::Containerd => (Status::Broken, in_content(facts, image, &export, why)),
            Store::Graphdriver | Store::Podman => {
                explained(engine, facts, image, Status::Broken, why).await?
            }
        },
        Err(error) if error.kind == Failure::NotFound => {
            not_found(engine, info, image, &error).await?
        }
        Err(error) => {
            // A broken-off answer may be an engine that is gone.
            if error.kind == Failure::Lost {
                engine.info().await?;
            }
            explained(engine, facts, image, meaning(&error), error.to_string()).await?
        }
    };
    Ok(Check::new(Kind::Whole, status, message).took(started.elapsed()))
}

/// What a failed export means. An engine that cannot read a layer says so, with
/// a status or in the middle of the export; one that says nothing more, for it
/// was stopped or takes too long, says nothing about layers.
fn meaning(error: &EngineError) -> Status {
    if error.kind == Failure::Lost || error.why.contains("no space left") {
        Status::Unknown
    } else {
        Status::Broken
    }
}

/// The image went meanwhile; or it is there and a part of it is not, which on a
/// containerd store may be all that a deploy takes of it.
async fn not_found(
    engine: &Engine,
    info: &Info,
    image: &Image,
    error: &EngineError,
) -> Result<(Status, String), EngineError> {
    if !engine.images(info).await?.contains_key(&image.id) {
        return Ok((Status::Unknown, "it went while it was looked at".to_owned()));
    }
    let (facts, why) = (&info.facts, error.to_string());
    if facts.store != Store::Containerd {
        return explained(engine, facts, image, Status::Broken, why).await;
    }
    let lost = missing(&in_store(facts, image));
    if !lost.is_empty() {
        return Ok((Status::Broken, lost.join("; ")));
    }
    let here = match engine.described(&image.id).await {
        Err(error) if error.kind == Failure::Lost => return Err(error),
        described => described.ok().and_then(|described| described.platform),
    };
    Ok(match (&here, engine.platform()) {
        (Some(here), Some(wanted)) if here != wanted => {
            let only = only(&here.to_string(), &wanted.to_string());
            (Status::Unknown, only)
        }
        _ => (Status::Broken, why),
    })
}

/// Which layers' folders are not there, where that can be seen; else what the
/// engine said.
async fn explained(
    engine: &Engine,
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
        // The engine exports nothing of it (moby: "empty export"). It hashes a configuration
        // before it answers from it, and there is no more to read.
        Ok(described) if described.layers == Some(Vec::new()) && status == Status::Broken => {
            let why = "no layers: the configuration is all of it, and it reads";
            return Ok((Status::Ok, why.to_owned()));
        }
        Ok(described) => described.layers.unwrap_or_default(),
        Err(error) if error.kind == Failure::Lost => return Err(error),
        // It cannot describe an image whose uppermost folder is gone; the
        // store's own files can.
        Err(_) => storage::config(root, driver, image.id.hex(), LONGEST_MANIFEST)
            .map(|config| diff_ids(&config))
            .unwrap_or_default(),
    };
    let chain = chain_ids(&diffs);
    let missing = storage::missing_layers(root, driver, &chain);
    let named = |n: &usize| {
        let digest = crate::model::text::escape(&diffs[*n]);
        format!("layer {} of {}, {digest},", n + 1, diffs.len())
    };
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

/// What is known of an image without reading its layers.
fn beside(engine: &Engine, facts: &EngineFacts, image: &Image) -> Beside {
    let lost = in_store(facts, image).into_iter().filter(|part| !part.here);
    Beside {
        platform: engine.platform().cloned(),
        pulled: !image.digests.is_empty(),
        lost: lost.map(|part| part.digest).collect(),
    }
}

/// Its parts by a containerd store's own files; none where they cannot be read.
fn in_store(facts: &EngineFacts, image: &Image) -> Vec<Part> {
    let Some(root) = &facts.containerd_root else {
        return Vec::new();
    };
    parts(&image.id, |digest| {
        storage::blob(root, digest, LONGEST_MANIFEST)
    })
}

/// What is wrong with an image of a containerd store whose export broke off:
/// it stops at the first blob that is gone or damaged, wherever that stands, so
/// that the rest is missing from the export and not from the store.
fn in_content(facts: &EngineFacts, image: &Image, export: &Export, why: String) -> String {
    let parts = in_store(facts, image);
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

/// The engine names the file, not its layer: `file integrity checksum failed
/// for "etc/passwd"`.
fn damaged_file(why: &str) -> Option<&str> {
    let (_, rest) = why.split_once("checksum failed for \"")?;
    rest.split_once('"').map(|(file, _)| file)
}

/// Why an export gave nothing to judge.
enum Unread {
    /// It does not read as an image.
    Odd(String),
    /// The engine stopped in the middle: what came, and its words.
    BrokenOff(Box<Export>, String),
}

async fn read(
    engine: &Engine,
    image: &Image,
    progress: &mut dyn FnMut(u64),
) -> Result<Result<Export, Unread>, EngineError> {
    let mut stream = engine.export(&image.id).await?;
    let mut tar = Reader::new(Export::default());
    let limit = longest(image);
    let mut bytes = 0;
    while let Some(piece) = stream.next().await? {
        bytes += piece.len() as u64;
        progress(bytes);
        if let Err(why) = tar.feed(&piece) {
            return Ok(Err(Unread::Odd(why)));
        }
        if bytes > limit {
            let why = format!(
                "the export does not end: {} came, far more than the image has",
                Bytes(bytes)
            );
            return Ok(Err(Unread::Odd(why)));
        }
    }
    Ok(match tar.finish() {
        (export, None) => Ok(export),
        (export, Some(rest)) => Err(Unread::BrokenOff(Box::new(export), words(&rest))),
    })
}

/// An engine that fails in the middle can only write its error where the rest
/// should be.
fn words(rest: &[u8]) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(rest).ok();
    let said = json.as_ref().and_then(|json| {
        let either = json["message"].as_str().or(json["error"].as_str());
        either.or(json["errorDetail"]["message"].as_str())
    });
    let said = said.unwrap_or("it did not say why; its log may");
    format!(
        "the engine broke the export off: {}",
        crate::model::text::escape(said)
    )
}

/// An export is the layers and a header for each file: no engine may keep us
/// reading for ever.
fn longest(image: &Image) -> u64 {
    match &image.size {
        Observed::Known(size) => size.0.saturating_mul(4).saturating_add(1 << 30),
        Observed::Unknown(_) => 1 << 40,
    }
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
