//! Read access to one engine: the connection, the agreed API version, and how long an
//! answer may take.

use std::future::Future;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as Bollard;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};

use crate::engine::address::Address;
use crate::engine::error::{EngineError, Failure};
use crate::engine::platform::Platform;
use crate::engine::socket::Socket;

/// One engine, at the API version that both speak.
#[derive(Debug)]
pub struct Reader {
    pub(super) docker: Docker,
    pub(super) socket: Socket,
    pub(super) api: (u32, u32),
    /// The version by which one image is inspected.
    inspecting: (u32, u32),
    pub(super) podman: bool,
    pub(super) version: String,
    pub(super) platform: Option<Platform>,
    /// How long one answer may take (`limits.max_answer`).
    pub(super) patience: Duration,
}

impl Reader {
    /// Connects and agrees on an API version. No answer may take longer than `patience`.
    pub async fn connect(address: &Address, patience: Duration) -> Result<Self, EngineError> {
        let doing = format!("reach the engine at {address}");
        let socket = Socket::new(address.socket().to_owned());
        let docker = socket.docker();
        let version = ask(&doing, patience, docker.version()).await;
        let version = version.map_err(|error| match error.kind {
            Failure::Lost => EngineError {
                why: format!(
                    "{}; is it running (systemctl status docker), is --host right?",
                    error.why
                ),
                ..error
            },
            _ => error,
        })?;
        let api = version.api_version.as_deref().and_then(parse_api);
        let Some(theirs) = api else {
            return Err(EngineError::nonsense(doing, "it names no API version"));
        };
        let lowest = version
            .min_api_version
            .as_deref()
            .and_then(parse_api)
            .unwrap_or((1, 0));
        let api = theirs.min(OURS);
        if api < lowest || theirs < LOWEST {
            let why = format!(
                "it speaks API {}.{} to {}.{}, secateur {}.{} to {}.{}",
                lowest.0, lowest.1, theirs.0, theirs.1, LOWEST.0, LOWEST.1, OURS.0, OURS.1
            );
            return Err(EngineError::nonsense(doing, why));
        }
        socket.speak(api);
        let podman = version
            .components
            .iter()
            .flatten()
            .any(|component| component.name == "Podman Engine");
        Ok(Self {
            docker,
            socket,
            api,
            inspecting: api.min(BEFORE_SIGNATURES).max(lowest),
            podman,
            platform: Platform::given(version.os, version.arch),
            version: version.version.unwrap_or_default(),
            patience,
        })
    }

    /// One call, within the time that the policy gives for an answer.
    pub(super) async fn ask<T>(
        &self,
        doing: &str,
        request: impl Future<Output = Result<T, Bollard>>,
    ) -> Result<T, EngineError> {
        // Futures that ask several things would become large.
        Box::pin(ask(doing, self.patience, request)).await
    }

    /// The path by which an image is inspected.
    pub(super) fn inspect_path(&self, image: &str) -> String {
        let (major, minor) = self.inspecting;
        format!("/v{major}.{minor}/images/{image}/json")
    }

    /// A reader that no engine was asked for.
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
            version: String::new(),
        }
    }

    /// What the engine pulls where nobody names a platform; `None` where it does not say.
    pub fn platform(&self) -> Option<&Platform> {
        self.platform.as_ref()
    }
}

/// The newest API version that secateur was tested with, and the oldest.
const OURS: (u32, u32) = (1, 55);
const LOWEST: (u32, u32) = (1, 40);

/// From 1.53 on an engine with the containerd store checks the signatures of an image that is
/// inspected, and may ask the network for their keys.
const BEFORE_SIGNATURES: (u32, u32) = (1, 52);

fn parse_api(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

async fn ask<T>(
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

/// One call with a deadline over headers and body alike; bollard's own covers
/// the headers only.
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;
    use crate::engine::environment::Environment;

    /// Connects to an engine of these API versions that takes so long to answer.
    async fn agrees(
        newest: &str,
        lowest: &str,
        needs: Duration,
        patience: Duration,
    ) -> Result<Reader, EngineError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let body =
            format!(r#"{{"Version":"29.7.2","ApiVersion":"{newest}","MinAPIVersion":"{lowest}"}}"#);
        let slow = async move {
            let (mut client, _) = listener.accept().await.unwrap();
            client
                .read_buf(&mut Vec::with_capacity(4096))
                .await
                .unwrap();
            tokio::time::sleep(needs).await;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";
            let answer = format!("{head}{}\r\n\r\n{body}", body.len());
            // Nobody may be left to read it.
            let _ = client.write_all(answer.as_bytes()).await;
        };
        let host = format!("unix://{}", path.display());
        let address = Address::resolve(Some(&host), &Environment::default(), |_| ()).unwrap();
        tokio::spawn(slow);
        Reader::connect(&address, patience).await
    }

    /// Connects to an engine that takes so long to answer.
    async fn connects(needs: Duration, patience: Duration) -> Result<Reader, EngineError> {
        agrees("1.51", "1.24", needs, patience).await
    }

    #[tokio::test]
    async fn both_speak_the_newest_version_that_both_know() {
        let soon = Duration::from_secs(30);
        let agreed = async |newest, lowest| {
            let reader = agrees(newest, lowest, Duration::ZERO, soon).await?;
            Ok((reader.api, reader.inspect_path("x")))
        };
        let is = |api, path: &str| Ok::<_, EngineError>((api, path.to_owned()));
        let old = "/v1.41/images/x/json";
        assert_eq!(agreed("1.41", "1.12").await, is((1, 41), old));
        let new = "/v1.52/images/x/json";
        assert_eq!(agreed("1.52", "1.44").await, is((1, 52), new));
        assert_eq!(agreed("1.55", "1.40").await, is((1, 55), new));
        assert_eq!(agreed("1.99", "1.44").await, is((1, 55), new));
        let newest = "/v1.54/images/x/json";
        assert_eq!(agreed("1.60", "1.54").await, is((1, 55), newest));
        let error = agreed("1.99", "1.56").await.unwrap_err();
        assert!(error.why.contains("it speaks API 1.56 to 1.99"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_may_take_as_long_as_the_policy_says_and_the_error_names_the_key() {
        let seconds = Duration::from_secs;
        let error = connects(seconds(40), seconds(30)).await.unwrap_err();
        assert_eq!(error.kind, Failure::Lost);
        let words = "no answer within 30s (limits.max_answer)";
        assert!(error.why.contains(words), "{error}");
        let reader = connects(seconds(40), seconds(60)).await.unwrap();
        assert_eq!(reader.api, (1, 51));
    }
}
