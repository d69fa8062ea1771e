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
    /// As [`Self::connect`], without the engine's platform where the head of one answer tells the
    /// rest: for GET /version an engine starts runc and docker-init once more, which takes longer
    /// than a short list.
    pub async fn connect_by_one_answer(
        address: &Address,
        patience: Duration,
    ) -> Result<(Self, Info), EngineError> {
        let socket = Socket::new(address.socket().to_owned());
        let docker = socket.docker();
        let described = ask(DESCRIBE, patience, docker.info()).await;
        let described = described.map_err(|error| unreached(address, error))?;
        let told = socket.told().filter(|told| told.is_docker);
        let api = told.and_then(|told| parse_api(told.api.as_deref()?));
        let Some(api) = api.filter(|api| (LOWEST..=OURS).contains(api)) else {
            return Self::connect(address, patience).await;
        };
        socket.speak(api);
        let reader = Self {
            docker,
            socket,
            api,
            inspecting: api.min(BEFORE_SIGNATURES),
            podman: false,
            platform: None,
            version: described.server_version.clone().unwrap_or_default(),
            patience,
        };
        let info = reader.info_of(described)?;
        Ok((reader, info))
    }

    /// Connects, agrees on an API version, and reads the engine's description of itself. No
    /// answer may take longer than `patience`.
    pub async fn connect(
        address: &Address,
        patience: Duration,
    ) -> Result<(Self, Info), EngineError> {
        let doing = reach(address);
        let socket = Socket::new(address.socket().to_owned());
        let docker = socket.docker();
        // At once, because an engine asks runc for its version to answer either.
        let version = ask(&doing, patience, docker.version());
        let described = ask(DESCRIBE, patience, docker.info());
        let described = async { Ok(described.await) };
        let both = Box::pin(try_join(version, described)).await;
        let (version, described) = both.map_err(|error| unreached(address, error))?;
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

fn reach(address: &Address) -> String {
    format!("reach the engine at {address}")
}

/// The error of a first question.
fn unreached(address: &Address, error: EngineError) -> EngineError {
    match error.kind {
        Failure::Lost => EngineError {
            doing: reach(address),
            why: format!(
                "{}; is it running (systemctl status docker), is it the right one (--host, $DOCKER_HOST, docker context)?",
                error.why
            ),
            ..error
        },
        Failure::Permission => EngineError {
            doing: reach(address),
            ..error
        },
        _ => error,
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
        tells: Option<&str>,
        needs: Duration,
        patience: Duration,
    ) -> Result<Reader, EngineError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let body = format!(
            r#"{{"Version":"29.7.2","ApiVersion":"{newest}","MinAPIVersion":"{lowest}","Os":"linux","Arch":"amd64"}}"#
        );
        let told = if let Some(tells) = tells {
            format!("Api-Version: {newest}\r\nServer: {tells}/29 (linux)\r\n")
        } else {
            String::new()
        };
        let slow = async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let (body, told) = (body.clone(), told.clone());
                tokio::spawn(async move {
                    let mut asked = Vec::with_capacity(4096);
                    while client.read_buf(&mut asked).await.unwrap() > 0 {
                        let info = String::from_utf8_lossy(&asked).contains("/info ");
                        asked.clear();
                        tokio::time::sleep(needs).await;
                        let body = if info { INFO } else { &body };
                        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
                        let length = body.len();
                        let answer = format!("{head}{told}Content-Length: {length}\r\n\r\n{body}");
                        // Nobody may be left to read it.
                        let _ = client.write_all(answer.as_bytes()).await;
                    }
                });
            }
        };
        let host = format!("unix://{}", path.display());
        let address = Address::resolve(Some(&host), &Environment::default(), |_| ()).unwrap();
        tokio::spawn(slow);
        if tells.is_some() {
            return Ok(Reader::connect_by_one_answer(&address, patience).await?.0);
        }
        Ok(Reader::connect(&address, patience).await?.0)
    }

    /// Connects to an engine that takes so long to answer.
    async fn connects(needs: Duration, patience: Duration) -> Result<Reader, EngineError> {
        agrees("1.51", "1.24", None, needs, patience).await
    }

    #[tokio::test]
    async fn one_answer_tells_which_version_both_speak_or_another_is_asked_for() {
        let soon = Duration::from_secs(30);
        let agreed = async |newest, lowest, server| {
            let reader = agrees(newest, lowest, Some(server), Duration::ZERO, soon).await?;
            Ok((reader.api, reader.platform.is_some()))
        };
        let is = |api, asked| Ok::<_, EngineError>((api, asked));
        assert_eq!(agreed("1.40", "1.12", "Docker").await, is((1, 40), false));
        assert_eq!(agreed("1.55", "1.44", "Docker").await, is((1, 55), false));
        // Which of ours an engine of later days still speaks, only GET /version tells.
        assert_eq!(agreed("1.60", "1.54", "Docker").await, is((1, 55), true));
        assert_eq!(agreed("1.51", "1.24", "Libpod").await, is((1, 51), true));
        for unknown in ["1.39", "one", "1"] {
            let error = agreed(unknown, "1.12", "Docker").await.unwrap_err();
            assert_eq!(error.kind, Failure::Nonsense, "{unknown}: {error}");
        }
    }

    #[tokio::test]
    async fn both_speak_the_newest_version_that_both_know() {
        let soon = Duration::from_secs(30);
        let agreed = async |newest, lowest| {
            let reader = agrees(newest, lowest, None, Duration::ZERO, soon).await?;
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
