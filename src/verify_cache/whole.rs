//! Reads one image out of the engine and has its layers judged: the edge to
//! [`super::layers`]. Decides what a failed export means: a layer that is not
//! there, or only that it could not be looked at. Nothing is written here.
//! (A graphdriver engine writes a temporary copy of its own before it sends.)

use crate::engine::{EngineError, Failure, Reader as Engine};
use crate::host::clock::monotonic;
use crate::host::storage;
use crate::model::{Bytes, EngineFacts, Image, Observed, Store};

use super::layers::{Export, Verdict, chain_ids, judge};
use super::tar::Reader;
use super::{Check, Kind, Status};

/// Looks at one image; `progress` is told the bytes so far. The outer error:
/// the engine itself is gone.
pub async fn look(
    engine: &Engine,
    facts: &EngineFacts,
    image: &Image,
    progress: &mut dyn FnMut(u64),
) -> Result<Check, EngineError> {
    let started = monotonic();
    let (status, message) = match read(engine, image, progress).await {
        Ok(Ok(export)) => match judge(&export, &image.id, facts.store) {
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
        Ok(Err(why)) => explained(engine, facts, image, Status::Unknown, why).await?,
        Err(error) if error.kind == Failure::NotFound => {
            (Status::Unknown, "it went while it was looked at".to_owned())
        }
        Err(error) => {
            // A broken-off answer may be an engine that is gone.
            if error.kind == Failure::Lost {
                engine.info().await?;
            }
            let full = error.why.contains("no space left");
            let status = if full {
                Status::Unknown
            } else {
                Status::Broken
            };
            explained(engine, facts, image, status, error.to_string()).await?
        }
    };
    Ok(Check::new(Kind::Whole, status, message).took(started.elapsed()))
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
    let diffs = engine.layers(&image.id).await?;
    let chain = chain_ids(&diffs);
    let missing = storage::missing_layers(&facts.data_root, facts.driver.raw(), &chain);
    if missing.is_empty() {
        return Ok((status, why));
    }
    let named: Vec<String> = missing
        .iter()
        .map(|n| {
            format!(
                "layer {} of {}, {}, has lost its folder",
                n + 1,
                diffs.len(),
                crate::text::escape(&diffs[*n])
            )
        })
        .collect();
    Ok((Status::Broken, named.join("; ")))
}

/// The inner error: what came is no tar file, or not all of one.
async fn read(
    engine: &Engine,
    image: &Image,
    progress: &mut dyn FnMut(u64),
) -> Result<Result<Export, String>, EngineError> {
    let mut stream = engine.export(&image.id).await?;
    let mut tar = Reader::new(Export::default());
    let limit = longest(image);
    let mut bytes = 0;
    while let Some(piece) = stream.next().await? {
        bytes += piece.len() as u64;
        progress(bytes);
        if let Err(why) = tar.feed(&piece) {
            return Ok(Err(why));
        }
        if bytes > limit {
            return Ok(Err(format!(
                "the export does not end: {} came, which is far more than the image has",
                Bytes(bytes)
            )));
        }
    }
    Ok(tar.finish())
}

/// An export is the layers and a header for each file: no engine may keep us
/// reading for ever.
fn longest(image: &Image) -> u64 {
    match &image.size {
        Observed::Known(size) => size.0.saturating_mul(4).saturating_add(1 << 30),
        Observed::Unknown(_) => 1 << 40,
    }
}
