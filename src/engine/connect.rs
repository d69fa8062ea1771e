//! The beginning of a conversation with an engine: the API version that both speak, and its
//! description of itself.

use std::time::Duration;

use bollard::Docker;
use bollard::models::SystemVersion;
use futures_util::future::try_join;

use crate::engine::address::Address;
use crate::engine::error::{EngineError, Failure};
use crate::engine::info::{DESCRIBE, Info};
use crate::engine::platform::Platform;
use crate::engine::reader::{BEFORE_SIGNATURES, OURS, Reader, ask, piece};
use crate::engine::socket::Socket;

impl Reader {
    /// Connects, agrees on an API version, and reads the engine's description of itself. No
    /// answer may take longer than `patience`.
    pub async fn connect(
        address: &Address,
        patience: Duration,
    ) -> Result<(Self, Info), EngineError> {
        let first = First::of(address, patience);
        // At once, because an engine asks runc for its version to answer either.
        let described = ask(DESCRIBE, patience, first.docker.info());
        let described = async { Ok(described.await) };
        let both = Box::pin(try_join(first.version(), described)).await;
        let (version, described) = both?;
        let (reader, newest) = first.agree(version)?;
        // The first answer was of the newest version that the engine speaks.
        let info = if reader.api == newest {
            reader.info_of(described?)?
        } else {
            reader.info().await?
        };
        Ok((reader, info))
    }

    /// Connects and agrees on an API version; without the engine's platform where the head of one
    /// short answer tells the version: for GET /version an engine starts runc and docker-init,
    /// which takes longer than a short list. No answer may take longer than `patience`.
    pub async fn reach(address: &Address, patience: Duration) -> Result<Self, EngineError> {
        let first = First::of(address, patience);
        let version = match first.told_api().await? {
            Some(api) => SystemVersion {
                api_version: Some(api),
                ..SystemVersion::default()
            },
            None => first.version().await?,
        };
        Ok(first.agree(version)?.0)
    }
}

/// The first questions to an engine.
struct First<'a> {
    address: &'a Address,
    socket: Socket,
    docker: Docker,
    patience: Duration,
}

impl<'a> First<'a> {
    fn of(address: &'a Address, patience: Duration) -> Self {
        let socket = Socket::new(address.socket().to_owned());
        Self {
            address,
            docker: socket.docker(),
            socket,
            patience,
        }
    }

    async fn version(&self) -> Result<SystemVersion, EngineError> {
        let version = self.docker.version();
        let version = ask(&reach(self.address), self.patience, version).await;
        version.map_err(|error| unreached(self.address, error))
    }

    /// The engine's newest API version, by the head of an answer. `None` where GET /version must
    /// be asked.
    async fn told_api(&self) -> Result<Option<String>, EngineError> {
        match self.ping("/_ping").await {
            // Of whoever stands before the engine and lets it be asked other things.
            Err(error) if matches!(error.kind, Failure::NotFound | Failure::Status(403)) => {
                return Ok(None);
            }
            answered => answered.map_err(|error| unreached(self.address, error))?,
        }
        let Some(text) = self.socket.docker_api().map(str::to_owned) else {
            return Ok(None);
        };
        let api = parse_api(&text).filter(|api| (LOWEST..=OURS).contains(api));
        let Some(api) = api else { return Ok(None) };
        // Whoever starts an engine may set the lowest version that it speaks
        // (`DOCKER_MIN_API_VERSION`).
        let (major, minor) = BEFORE_SIGNATURES;
        let below = format!("/v{major}.{minor}/_ping");
        let does = api <= BEFORE_SIGNATURES || self.ping(&below).await.is_ok();
        Ok(does.then_some(text))
    }

    async fn ping(&self, path: &str) -> Result<(), EngineError> {
        let asked = async {
            let mut body = self.socket.stream(path).await?;
            let mut said = Vec::new();
            while said.len() <= PONG.len()
                && let Some(more) = piece(&mut body).await?
            {
                said.extend_from_slice(&more);
            }
            Ok(said)
        };
        let doing = reach(self.address);
        if ask(&doing, self.patience, asked).await? == PONG {
            Ok(())
        } else {
            let why = "GET /_ping is not answered with OK";
            Err(EngineError::nonsense(doing, why))
        }
    }

    /// Returns the newest API version that the engine speaks, too.
    fn agree(self, version: SystemVersion) -> Result<(Reader, (u32, u32)), EngineError> {
        let doing = reach(self.address);
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
        self.socket.speak(api);
        let podman = version
            .components
            .iter()
            .flatten()
            .any(|component| component.name == "Podman Engine");
        let reader = Reader {
            docker: self.docker,
            socket: self.socket,
            api,
            inspecting: api.min(BEFORE_SIGNATURES).max(lowest),
            podman,
            platform: Platform::given(version.os, version.arch),
            patience: self.patience,
        };
        Ok((reader, theirs))
    }
}

/// All that GET /_ping says.
const PONG: &[u8] = b"OK";

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
        let low = parse_api(lowest).unwrap() > BEFORE_SIGNATURES;
        let slow = async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let (body, told) = (body.clone(), told.clone());
                tokio::spawn(async move {
                    let mut asked = Vec::with_capacity(4096);
                    while client.read_buf(&mut asked).await.unwrap() > 0 {
                        let is = |path| String::from_utf8_lossy(&asked).contains(path);
                        let (info, ping) = (is("/info "), is("/_ping "));
                        let refused = is("/v1.52/_ping ") && low;
                        asked.clear();
                        tokio::time::sleep(needs).await;
                        let body = match (info, ping) {
                            (true, _) => INFO,
                            (_, true) => "OK",
                            _ => &body,
                        };
                        let status = if refused { 400 } else { 200 };
                        let head =
                            format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n");
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
            return Reader::reach(&address, patience).await;
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
            let inspecting = reader.inspecting.1;
            Ok((reader.api, inspecting, reader.platform.is_some()))
        };
        let is = |api, minor, asked| Ok::<_, EngineError>((api, minor, asked));
        let old = agreed("1.40", "1.12", "Docker").await;
        assert_eq!(old, is((1, 40), 40, false));
        let new = agreed("1.55", "1.44", "Docker").await;
        assert_eq!(new, is((1, 55), 52, false));
        let raised = agreed("1.55", "1.53", "Docker").await;
        assert_eq!(raised, is((1, 55), 53, true));
        // Which of ours an engine of later days still speaks, only GET /version tells.
        let later = agreed("1.60", "1.54", "Docker").await;
        assert_eq!(later, is((1, 55), 54, true));
        let podman = agreed("1.51", "1.24", "Libpod").await;
        assert_eq!(podman, is((1, 51), 51, true));
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
