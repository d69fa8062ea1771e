//! An image as the engine exports it (GET /images/{id}/get), piece by piece. Decides only how
//! long to wait for each piece; it knows nothing of the content.

use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use tokio::time::Instant;

use crate::engine::error::EngineError;
use crate::engine::reader::{Reader, call, piece};
use crate::model::{ImageId, Pace};

/// A graphdriver engine first copies all layers, then answers.
const FIRST: Duration = Duration::from_secs(30 * 60);

/// No disk and no engine is slower.
const PACE: Pace = Pace {
    pause: Duration::from_secs(60),
    slowest: 64 << 10,
};

#[derive(Debug)]
pub struct Export {
    doing: String,
    body: Incoming,
    began: Instant,
    bytes: u64,
}

impl Reader {
    /// No limit on the length of answers applies here: the caller counts the bytes.
    pub async fn export(&self, id: &ImageId) -> Result<Export, EngineError> {
        let doing = format!("read image {} out of the engine", id.short());
        let path = format!("/images/{id}/get");
        let body = call(&doing, FIRST, self.socket.stream(&path)).await?;
        Ok(Export {
            doing,
            body,
            began: Instant::now(),
            bytes: 0,
        })
    }
}

impl Export {
    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        let left = PACE.left(self.bytes, self.began.elapsed());
        let piece = call(&self.doing, left, piece(&mut self.body)).await?;
        self.bytes += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Ok(piece)
    }
}
