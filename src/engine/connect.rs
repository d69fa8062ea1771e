//! The beginning of a conversation with an engine: the API version that both speak, and its
//! description of itself.

use std::time::Duration;

use futures_util::future::try_join;

use crate::engine::address::Address;
use crate::engine::error::{EngineError, Failure};
use crate::engine::info::{DESCRIBE, Info};
use crate::engine::platform::Platform;
use crate::engine::reader::{BEFORE_SIGNATURES, OURS, Reader, ask};
use crate::engine::socket::Socket;

impl Reader {
    /// Connects, agrees on an API version, and reads the engine's description of itself. No
    /// answer may take longer than `patience`.
    pub async fn connect(
        address: &Address,
        patience: Duration,
    ) -> Result<(Self, Info), EngineError> {
        let doing = format!("reach the engine at {address}");
        let socket = Socket::new(address.socket().to_owned());
        let docker = socket.docker();
        // At once, because an engine asks runc for its version to answer either.
        let version = ask(&doing, patience, docker.version());
        let described = ask(DESCRIBE, patience, docker.info());
        let described = async { Ok(described.await) };
        let both = Box::pin(try_join(version, described)).await;
        let (version, described) = both.map_err(|error| match error.kind {
            Failure::Lost => EngineError {
                why: format!(
                    "{}; is it running (systemctl status docker), is it the right one (--host, $DOCKER_HOST, docker context)?",
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
        let reader = Self {
            docker,
            socket,
            api,
            inspecting: api.min(BEFORE_SIGNATURES).max(lowest),
            podman,
            platform: Platform::given(version.os, version.arch),
            version: version.version.unwrap_or_default(),
            patience,
        };
        // The first answer was of the newest version that the engine speaks.
        let info = if api == theirs {
            reader.info_of(described?)?
        } else {
            reader.info().await?
        };
        Ok((reader, info))
    }
}

/// The oldest API version that secateur was tested with.
const LOWEST: (u32, u32) = (1, 40);

fn parse_api(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;
    use crate::engine::environment::Environment;
    use crate::testing::INFO;

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
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let body = body.clone();
                tokio::spawn(async move {
                    let mut asked = Vec::with_capacity(4096);
                    while client.read_buf(&mut asked).await.unwrap() > 0 {
                        let info = String::from_utf8_lossy(&asked).contains("/info ");
                        asked.clear();
                        tokio::time::sleep(needs).await;
                        let body = if info { INFO } else { &body };
                        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json";
                        let length = body.len();
                        let answer = format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}");
                        // Nobody may be left to read it.
                        let _ = client.write_all(answer.as_bytes()).await;
                    }
                });
            }
        };
        let host = format!("unix://{}", path.display());
        let address = Address::resolve(Some(&host), &Environment::default(), |_| ()).unwrap();
        tokio::spawn(slow);
        Ok(Reader::connect(&address, patience).await?.0)
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
