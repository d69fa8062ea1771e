//! Loads an image into the engine from files (POST /images/load), and gives it its digest
//! references. Only an [`Undisturbed`] of the guards leads to a [`Loader`]. An image is loaded
//! without a name: a load would take a name from another image, and the containerd store also
//! names an image that it cannot unpack.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bollard::BollardRequest;
use bollard::errors::Error as Bollard;
use hyper::Request;
use hyper::http::request::Builder;
use tokio::time::Instant;

use crate::engine::descriptor::Descriptor;
use crate::engine::error::{EngineError, Failure};
use crate::engine::reader::{Reader, piece};
use crate::engine::stream::{Lines, Message};
use crate::engine::upload::{Part, Pieces, Sent};
use crate::guard::Undisturbed;
use crate::model::ImageId;
use crate::model::reference::Reference;
use crate::model::text::escape;

/// How often progress is reported.
const TICK: Duration = Duration::from_millis(200);

/// An engine that has all bytes is silent until all layers are unpacked.
const SILENT: Duration = Duration::from_mins(30);

/// Read access, and the requests that load and name one image.
#[derive(Debug)]
pub struct Loader<'a> {
    reader: &'a Reader,
}

/// Why an image was not loaded.
#[derive(Debug)]
pub enum NotLoaded {
    /// One of its files could not be read, or had the wrong content. The engine loaded nothing.
    File(io::Error),
    Engine(EngineError),
}

impl Reader {
    /// Access that can also load, while nothing else is at work.
    pub fn loader(&self, _: &Undisturbed) -> Loader<'_> {
        Loader { reader: self }
    }
}

impl Loader<'_> {
    /// Sends the files of an image. `on_bytes` gets the bytes sent so far, several times a
    /// second. Dropping the future aborts the load: the engine loads nothing, unless it had all
    /// bytes.
    pub async fn load(
        &self,
        id: &ImageId,
        parts: Vec<Part>,
        on_bytes: impl Fn(u64),
    ) -> Result<(), NotLoaded> {
        let doing = format!("load image {}", id.short());
        let sent = Sent::default();
        let pieces = futures_util::stream::iter(Pieces::of(parts, &sent));
        let request = request().body(bollard::body_try_stream(pieces));
        let request = request.map_err(|why| EngineError::nonsense(&*doing, why))?;
        let answer = post(self.reader, request);
        let Some(answer) = watched(answer, &sent, on_bytes).await else {
            let time = humantime::format_duration(SILENT);
            let why = format!("no sign of life within {time}");
            return Err(EngineError::new(doing, Failure::Lost, why).into());
        };
        if let Some(error) = sent.failed() {
            return Err(NotLoaded::File(error));
        }
        let answer = answer
            .map_err(|error| EngineError::from_bollard(&doing, &error, str::to_owned))?
            .map_err(|why| EngineError::nonsense(&*doing, why))?;
        let failed = answer.failed.or(answer.not_unpacked);
        failed.map_or(Ok(()), |why| Err(answered(&doing, &why).into()))
    }

    /// Gives an image of the containerd store these digest references, which it must not have.
    /// The image must be here, because the engine checks nothing.
    pub async fn name_by_digest(
        &self,
        names: &[Reference],
        descriptor: &Descriptor,
    ) -> Result<(), EngineError> {
        let doing = format!("give image {} its digest references", descriptor.digest);
        self.reader.set_digests(&doing, names, descriptor).await
    }
}

impl From<EngineError> for NotLoaded {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

#[derive(Debug, Default)]
pub(super) struct Answer {
    /// An error, unescaped.
    pub(super) failed: Option<String>,
    /// The engine stored the content but could not unpack it: its message, unescaped. Only the
    /// containerd store of 28 says so, and calls it no error.
    not_unpacked: Option<String>,
}

impl Answer {
    fn take(&mut self, message: Message) {
        let detail = message.error_detail.and_then(|detail| detail.message);
        self.failed = self.failed.take().or(detail).or(message.error);
        let stream = message.stream.unwrap_or_default();
        if stream.trim_start().starts_with("Error unpacking image") {
            self.not_unpacked.get_or_insert(stream);
        }
    }
}

/// A load request without its body.
pub(super) fn request() -> Builder {
    Request::post("/images/load?quiet=1").header("Content-Type", "application/x-tar")
}

/// Sends a load and reads its answer, whose errors come after status 200. The inner error is
/// fit to print.
pub(super) async fn post(
    reader: &Reader,
    request: BollardRequest,
) -> Result<Result<Answer, String>, Bollard> {
    let mut body = reader.socket.open(request).await?;
    let (mut lines, mut answer) = (Lines::default(), Answer::default());
    while let Some(piece) = piece(&mut body).await? {
        if let Err(why) = lines.feed(&piece, |message| answer.take(message)) {
            return Ok(Err(why));
        }
    }
    let ended = lines.finish(|message| answer.take(message));
    Ok(ended.map(|()| answer))
}

/// The engine's error instead of a load.
pub(super) fn answered(doing: &str, why: &str) -> EngineError {
    let why = format!("the engine answered: {}", escape(why.trim()));
    EngineError::new(doing, Failure::Status(200), why)
}

/// Waits for an answer while bytes are sent or the engine may still unpack them.
async fn watched<T>(
    answer: impl Future<Output = T>,
    sent: &Sent,
    on_bytes: impl Fn(u64),
) -> Option<T> {
    let mut answer = pin!(answer);
    let (mut bytes, mut since) = (0, Instant::now());
    loop {
        if let Ok(answer) = tokio::time::timeout(TICK, &mut answer).await {
            return Some(answer);
        }
        if sent.bytes() > bytes {
            (bytes, since) = (sent.bytes(), Instant::now());
        }
        on_bytes(bytes);
        if since.elapsed() >= SILENT {
            return None;
        }
    }
}

#[cfg(test)]
mod tests;
