//! The engine: the only place that names bollard and speaks HTTP. It turns an
//! engine's answers into the model's values, sentinels into Unknown, and never
//! decides. Two types: [`Reader`] has no way to change anything; [`Remover`],
//! which only a cleared plan leads to, can name one image and drop one name.

mod address;
mod context;
mod deploys;
mod events;
mod export;
mod list;
mod platform;
mod pull;
mod read;
mod registries;
mod remove;
mod socket;
mod sparing;
mod stream;
mod swarm;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as Bollard;

use crate::exit::{Exit, Fault};
use crate::model::text::escape;

pub use address::{Address, AddressError, Environment};
pub use events::{Claim, Did, Meanwhile};
pub use export::{Described, Export};
pub use platform::Platform;
pub use pull::Puller;
pub use read::{Contents, Info};
pub use registries::{Insecure, host_and_port};
pub use remove::{Dropped, Inspected, Leads, Remover};
pub use stream::{End, Lines as PullLines, Message as PullMessage, Pulled};
pub use swarm::wanted_by_swarm;

/// How long dropping a name may take at least: it deletes the layers' files.
const REMOVE: Duration = Duration::from_mins(2);

/// What went wrong between us and the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineError {
    /// What was being done, fit to follow "cannot".
    pub doing: String,
    /// What kind of failure.
    pub kind: Failure,
    /// What was seen, fit to print.
    pub why: String,
}

/// Kinds of failure, as far as anybody acts on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No answer: not there, or gone while answering. What a request that
    /// changes something did is unknown.
    Lost,
    /// The socket may not be opened.
    Permission,
    /// 404.
    NotFound,
    /// 409: something still wants it.
    Conflict,
    /// Another status: the engine said no.
    Status(u16),
    /// An answer that makes no sense.
    Nonsense,
    /// Two answers that contradict each other.
    Contradiction,
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.doing, self.why)
    }
}

impl std::error::Error for EngineError {}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        let exit = match error.kind {
            Failure::Permission => Exit::Permission,
            Failure::Lost
            | Failure::NotFound
            | Failure::Conflict
            | Failure::Status(_)
            | Failure::Nonsense
            | Failure::Contradiction => Exit::Engine,
        };
        Self::new(exit, error.to_string())
    }
}

impl EngineError {
    fn new(doing: impl Into<String>, kind: Failure, why: impl Into<String>) -> Self {
        Self {
            doing: doing.into(),
            kind,
            why: why.into(),
        }
    }

    fn nonsense(doing: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::new(doing, Failure::Nonsense, escape(&why.to_string()))
    }

    /// `clear`: takes out what must not be shown, before the text is cut.
    fn from_bollard(doing: &str, error: &Bollard, clear: impl Fn(&str) -> String) -> Self {
        let (kind, why) = match error {
            Bollard::DockerResponseServerError {
                status_code,
                message,
            } => (
                match status_code {
                    404 => Failure::NotFound,
                    409 => Failure::Conflict,
                    status => Failure::Status(*status),
                },
                format!("the engine answered {status_code}: {}", message.trim()),
            ),
            Bollard::IOError { err } if err.kind() == std::io::ErrorKind::PermissionDenied => (
                Failure::Permission,
                format!(
                    "{err}; run as root, or as a member of the group that owns the socket (docker)"
                ),
            ),
            Bollard::IOError { err } => (Failure::Lost, err.to_string()),
            Bollard::RequestTimeoutError => (Failure::Lost, "no answer in time".to_owned()),
            Bollard::HyperResponseError { err } if err.is_parse() => {
                (Failure::Nonsense, with_causes(err))
            }
            Bollard::HyperResponseError { err } => (Failure::Lost, with_causes(err)),
            other => (Failure::Nonsense, with_causes(other)),
        };
        Self::new(doing, kind, escape(&clear(&why)))
    }
}

/// hyper's own words leave out what the system said.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Read-only access to one engine, at the API version that both speak.
#[derive(Debug)]
pub struct Reader {
    docker: Docker,
    socket: socket::Socket,
    api: (u32, u32),
    podman: bool,
    version: String,
    platform: Option<Platform>,
    /// How long one question may take (`limits.max_answer`).
    patience: Duration,
}

impl Reader {
    /// Connects and agrees on an API version. No answer may take longer than that.
    pub async fn connect(address: &Address, patience: Duration) -> Result<Self, EngineError> {
        let path: PathBuf = address.socket().to_owned();
        let doing = format!("reach the engine at {address}");
        let socket = socket::Socket::new(path);
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
            podman,
            platform: Platform::given(version.os, version.arch),
            version: version.version.unwrap_or_default(),
            patience,
        })
    }

    /// One question, within the time that the policy gives for an answer.
    async fn ask<T>(
        &self,
        doing: &str,
        request: impl Future<Output = Result<T, Bollard>>,
    ) -> Result<T, EngineError> {
        // Futures that ask several things would become large.
        Box::pin(ask(doing, self.patience, request)).await
    }

    /// What it pulls where nobody names a platform, if it says so.
    pub fn platform(&self) -> Option<&Platform> {
        self.platform.as_ref()
    }
}

/// The newest API version that secateur was tried with, and the oldest.
const OURS: (u32, u32) = (1, 51);
const LOWEST: (u32, u32) = (1, 40);

fn parse_api(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// One question, within the time that the policy gives for an answer.
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

/// One call that no policy has a limit for.
async fn call<T>(
    doing: &str,
    deadline: Duration,
    request: impl Future<Output = Result<T, Bollard>>,
) -> Result<T, EngineError> {
    within(doing, deadline, "", request, str::to_owned).await
}

/// One call with a deadline over headers and body alike; bollard's own covers
/// the headers only.
async fn within<T>(
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

    /// What comes of connecting to an engine that needs so long for an answer.
    async fn connects(needs: Duration, patience: Duration) -> Result<Reader, EngineError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let slow = async move {
            let (mut client, _) = listener.accept().await.unwrap();
            client
                .read_buf(&mut Vec::with_capacity(4096))
                .await
                .unwrap();
            tokio::time::sleep(needs).await;
            let body = r#"{"Version":"28.5.2","ApiVersion":"1.51","MinAPIVersion":"1.24"}"#;
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
