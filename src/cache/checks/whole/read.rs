//! Reads an export as it comes.

use crate::cache::checks::whole::export::Export;
use crate::cache::checks::whole::tar::{self, Sink};
use crate::engine::{EngineError, Reader};
use crate::model::text::escape;
use crate::model::{Bytes, Image, Observed};

/// Why an export cannot be compared.
pub enum Unread<S = Export> {
    /// It does not read as an image.
    Odd(String),
    /// The engine stopped in the middle: what came, and its words.
    BrokenOff(Box<S>, String),
}

/// `progress` is told the bytes so far.
pub async fn read(
    engine: &Reader,
    image: &Image,
    progress: &mut dyn FnMut(u64),
) -> Result<Result<Export, Unread>, EngineError> {
    read_into(engine, image, Export::default(), progress).await
}

/// Gives the export to `sink`, to its end or until `sink` wants no more.
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
            return Ok(Err(Unread::Odd(why)));
        }
        if tar.sink().is_done() {
            return Ok(Ok(tar.finish().0));
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
        (sink, None) => Ok(sink),
        (sink, Some(rest)) => Err(Unread::BrokenOff(Box::new(sink), words(&rest))),
    })
}

/// An engine that fails in the middle can only write its error in the place of the rest.
fn words(rest: &[u8]) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(rest).ok();
    let said = json.as_ref().and_then(|json| {
        let either = json["message"].as_str().or(json["error"].as_str());
        either.or(json["errorDetail"]["message"].as_str())
    });
    let said = said.unwrap_or("it did not say why; its log may");
    format!("the engine broke the export off: {}", escape(said))
}

/// In bytes. An export is the layers and a header for each file: one that is much longer
/// does not end.
fn longest(image: &Image) -> u64 {
    match &image.size {
        Observed::Known(size) => size.0.saturating_mul(4).saturating_add(1 << 30),
        Observed::Unknown(_) => 1 << 40,
    }
}
