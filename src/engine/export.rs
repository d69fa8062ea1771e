//! An image as the engine gives it out (GET /images/{id}/get), piece by piece.
//! Decides only how long to wait for each; it keeps nothing and knows nothing
//! of what is in it.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use serde::Deserialize;
use tokio::time::Instant;

use crate::engine::list::{LONGEST_ITEM, object};
use crate::engine::sparing::Texts;
use crate::engine::{EngineError, Platform, Reader, call};
use crate::model::ImageId;

/// A graphdriver engine first writes a copy of all layers, then answers.
const FIRST: Duration = Duration::from_secs(30 * 60);

/// Between two pieces nothing has to be written.
const NEXT: Duration = Duration::from_secs(60);

/// Fewer bytes a second, from the first piece on, are no disk and no engine,
/// and would keep us for ever.
const SLOWEST: u64 = 64 << 10;

/// An export under way.
#[derive(Debug)]
pub struct Export {
    doing: String,
    body: Incoming,
    began: Instant,
    bytes: u64,
}

/// An image by itself.
#[derive(Debug)]
pub struct Described {
    /// The DiffIDs of its layers, lowest first; `None` where it says nothing of them.
    pub layers: Option<Vec<String>>,
    /// What it is for; on a containerd store, of all that is here the best.
    pub platform: Option<Platform>,
}

impl Reader {
    /// Asks for an image. The limit on the length of answers does not hold
    /// here: the caller counts.
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

    /// What the engine says of an image by itself.
    pub async fn described(&self, id: &ImageId) -> Result<Described, EngineError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Inspected {
            #[serde(rename = "RootFS")]
            root_fs: Option<RootFs>,
            os: Option<String>,
            architecture: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct RootFs {
            layers: Option<Texts>,
        }
        let doing = format!("look at image {}", id.short());
        let path = format!("/images/{id}/json");
        let body = self.whole(&doing, &path, LONGEST_ITEM).await?;
        let inspected: Inspected =
            object(&body).map_err(|why| EngineError::nonsense(doing, why))?;
        // Engines leave the list out where it is empty.
        let layers = inspected.root_fs.map(|fs| fs.layers.unwrap_or_default().0);
        Ok(Described {
            layers,
            platform: Platform::given(inspected.os, inspected.architecture),
        })
    }
}

impl Export {
    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        loop {
            let frame = async {
                match self.body.frame().await {
                    None => Ok(None),
                    Some(frame) => Ok(Some(frame?)),
                }
            };
            let left = patience(self.bytes, self.began.elapsed());
            match call(&self.doing, left, frame).await? {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame.into_data() {
                        self.bytes += data.len() as u64;
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// How long the next piece may take, when so many bytes came in that time.
fn patience(bytes: u64, took: Duration) -> Duration {
    let by_now = NEXT + Duration::from_secs(bytes / SLOWEST);
    by_now.saturating_sub(took).min(NEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_that_only_trickles_is_given_up() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        assert_eq!(patience(0, minutes(0)), NEXT);
        assert_eq!(
            patience(3600, minutes(60)),
            Duration::ZERO,
            "a byte a second"
        );
        assert_eq!(patience(10 << 30, minutes(60)), NEXT, "3 MiB a second");
        assert_eq!(patience(10 << 30, minutes(60 * 48)), Duration::ZERO);
    }
}
