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

use crate::text::escape;

pub use address::{Address, AddressError, Environment};
pub use events::{Claim, Did, Meanwhile};
pub use export::{Described, Export};
pub use platform::Platform;
pub use pull::Puller;
pub use read::{Contents, Info};
pub use registries::{Insecure, host_and_port};
pub use remove::{Dropped, Leads, Remover, Seen};
pub use stream::{End, Lines as PullLines, Message as PullMessage, Pulled};
pub use swarm::wanted_by_swarm;

/// How long one question may take. An engine under load answers a list in
/// seconds; one that needs longer is not fit to be relied on.
const ASK: Duration = Duration::from_secs(30);

/// How long dropping a name may take: it deletes the layers' files.
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

    fn from_bollard(doing: &str, error: &Bollard) -> Self {
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
        Self::new(doing, kind, escape(&why))
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
}

impl Reader {
    /// Connects and agrees on an API version.
    pub async fn connect(address: &Address) -> Result<Self, EngineError> {
        let path: PathBuf = address.socket().to_owned();
        let doing = format!("reach the engine at {address}");
        let socket = socket::Socket::new(path);
        let docker = socket.docker();
        let version = call(&doing, ASK, docker.version()).await;
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
        })
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

/// One call with a deadline over headers and body alike; bollard's own covers
/// the headers only.
async fn call<T>(
    doing: &str,
    deadline: Duration,
    request: impl Future<Output = Result<T, Bollard>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(deadline, request).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(EngineError::from_bollard(doing, &error)),
        Err(_) => {
            let why = format!("no answer within {}", humantime::format_duration(deadline));
            Err(EngineError::new(doing, Failure::Lost, why))
        }
    }
}
