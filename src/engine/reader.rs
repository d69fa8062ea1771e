//! Read access to one engine, and how long an answer may take.

use std::future::Future;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as Bollard;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};

use crate::engine::error::{EngineError, Failure};
use crate::engine::platform::Platform;
use crate::engine::socket::Socket;

/// One engine, at the API version that both speak.
#[derive(Debug)]
pub struct Reader {
    pub(super) docker: Docker,
    pub(super) socket: Socket,
    pub(super) api: (u32, u32),
    /// The API version for inspections.
    pub(super) inspecting: (u32, u32),
    pub(super) podman: bool,
    pub(super) platform: Option<Platform>,
    /// How long one answer may take (`limits.max_answer`).
    pub(super) patience: Duration,
}

impl Reader {
    /// One call, within `limits.max_answer`.
    pub(super) async fn ask<T>(
        &self,
        doing: &str,
        request: impl Future<Output = Result<T, Bollard>>,
    ) -> Result<T, EngineError> {
        // Futures that ask several things would become large.
        Box::pin(ask(doing, self.patience, request)).await
    }

    pub(super) fn inspect_path(&self, image: &str) -> String {
        let (major, minor) = self.inspecting;
        format!("/v{major}.{minor}/images/{image}/json")
    }

    /// A reader without an engine.
    #[cfg(test)]
    pub(super) fn of(socket: Socket) -> Self {
        Self {
            patience: Duration::from_secs(30),
            docker: socket.docker(),
            socket,
            api: OURS,
            inspecting: BEFORE_SIGNATURES,
            podman: false,
            platform: None,
        }
    }

    /// What the engine pulls by default; `None` where it does not tell.
    pub fn platform(&self) -> Option<&Platform> {
        self.platform.as_ref()
    }
}

/// The newest API version that secateur was tested with.
pub(super) const OURS: (u32, u32) = (1, 55);

/// The last version before an engine with the containerd store checks the signatures of an
/// image when it is inspected, and may ask the network for their keys.
pub(super) const BEFORE_SIGNATURES: (u32, u32) = (1, 52);

pub(super) async fn ask<T>(
    doing: &str,
    patience: Duration,
    request: impl Future<Output = Result<T, Bollard>>,
) -> Result<T, EngineError> {
    within(
        doing,
        patience,
        " (limits.max_answer)",
        request,
        str::to_owned,
    )
    .await
}

/// One call that no key of the policy limits.
pub(super) async fn call<T>(
    doing: &str,
    deadline: Duration,
    request: impl Future<Output = Result<T, Bollard>>,
) -> Result<T, EngineError> {
    within(doing, deadline, "", request, str::to_owned).await
}

/// The next piece of an answer; `None` at its end.
pub(super) async fn piece(body: &mut Incoming) -> Result<Option<Bytes>, Bollard> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// One call with a deadline for headers and body; bollard's own covers the headers only.
pub(super) async fn within<T>(
    doing: &str,
    deadline: Duration,
    key: &str,
    request: impl Future<Output = Result<T, Bollard>>,
    clear: impl Fn(&str) -> String,
) -> Result<T, EngineError> {
    match tokio::time::timeout(deadline, request).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(EngineError::from_bollard(doing, &error, clear)),
        Err(_) => {
            let time = humantime::format_duration(deadline);
            let why = format!("no answer within {time}{key}");
            Err(EngineError::new(doing, Failure::Lost, why))
        }
    }
}
