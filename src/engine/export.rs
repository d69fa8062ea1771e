//! An image as the engine gives it out (GET /images/{id}/get), piece by piece.
//! Decides only how long to wait for each; it keeps nothing and knows nothing
//! of what is in it.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use serde::Deserialize;

use super::{ASK, EngineError, Reader, call};
use crate::model::ImageId;

/// A graphdriver engine first writes a copy of all layers, then answers.
const FIRST: Duration = Duration::from_secs(30 * 60);

/// Between two pieces nothing has to be written.
const NEXT: Duration = Duration::from_secs(60);

/// An export under way.
#[derive(Debug)]
pub struct Export {
    doing: String,
    body: Incoming,
}

impl Reader {
    /// Asks for an image. The limit on the length of answers does not hold
    /// here: the caller counts.
    pub async fn export(&self, id: &ImageId) -> Result<Export, EngineError> {
        let doing = format!("read image {} out of the engine", id.short());
        let path = format!("/images/{id}/get");
        let body = call(&doing, FIRST, self.socket.stream(&path)).await?;
        Ok(Export { doing, body })
    }

    /// The DiffIDs of an image's layers, lowest first.
    pub async fn layers(&self, id: &ImageId) -> Result<Vec<String>, EngineError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Inspected {
            #[serde(rename = "RootFS")]
            root_fs: Option<RootFs>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct RootFs {
            layers: Option<Vec<String>>,
        }
        let doing = format!("look at image {}", id.short());
        let body = call(&doing, ASK, self.socket.get(&format!("/images/{id}/json"))).await?;
        let inspected: Inspected =
            serde_json::from_slice(&body).map_err(|error| EngineError::nonsense(doing, error))?;
        Ok(inspected
            .root_fs
            .and_then(|fs| fs.layers)
            .unwrap_or_default())
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
            match call(&self.doing, NEXT, frame).await? {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}
