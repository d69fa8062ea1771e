//! Reads an engine's export as a stream.

use crate::cache::checks::whole::export::Export;
use crate::cache::checks::whole::tar::{self, Sink};
use crate::engine::{EngineError, Reader};
use crate::model::text::escape;
use crate::model::{Bytes, Image, Observed};

/// Why an export cannot be compared.
pub enum Unread<S = Export> {
    /// It is no valid image export.
    Invalid(String),
    /// The engine stopped early: what came, and its error.
    CutShort(Box<S>, String),
}

/// `progress` is called with the bytes so far.
pub async fn read(
    engine: &Reader,
    image: &Image,
    progress: &mut dyn FnMut(u64),
) -> Result<Result<Export, Unread>, EngineError> {
    read_into(engine, image, Export::default(), progress).await
}

/// Feeds the export to `sink` until the end, or until `sink` is done.
pub async fn read_into<S: Sink>(
    engine: &Reader,
    image: &Image,
    sink: S,
    progress: &mut dyn FnMut(u64),
) -> Result<Result<S, Unread<S>>, EngineError> {
    let mut stream = engine.export(&image.id).await?;
    let mut tar = tar::Reader::new(sink);
    let limit = longest(image);
    let mut bytes = 0;
    while let Some(piece) = stream.next().await? {
        bytes += piece.len() as u64;
        progress(bytes);
        if let Err(why) = tar.feed(&piece) {
            return Ok(Err(Unread::Invalid(why)));
        }
        if tar.sink().is_done() {
            return Ok(Ok(tar.finish().0));
        }
        if bytes > limit {
            let why = format!(
                "the export does not end: {} came, far more than the image has",
                Bytes(bytes)
            );
            return Ok(Err(Unread::Invalid(why)));
        }
    }
    Ok(match tar.finish() {
        (sink, None) => Ok(sink),
        (sink, Some(rest)) => Err(Unread::CutShort(Box::new(sink), error_message(&rest))),
    })
}

/// An engine that fails during an export can only write its error in place of the rest.
fn error_message(rest: &[u8]) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(rest).ok();
    let said = json.as_ref().and_then(|json| {
        let either = json["message"].as_str().or(json["error"].as_str());
        either.or(json["errorDetail"]["message"].as_str())
    });
    let said = said.unwrap_or("it did not say why; its log may");
    format!("the engine broke the export off: {}", escape(said))
}

/// Bytes. An export is the layers plus a header for each file; a much longer one does not end.
fn longest(image: &Image) -> u64 {
    match &image.size {
        Observed::Known(size) => size.0.saturating_mul(4).saturating_add(1 << 30),
        Observed::Unknown(_) => 1 << 40,
    }
}
