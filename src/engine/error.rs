use std::fmt;

use bollard::errors::Error as Bollard;

use crate::exit::{Exit, Fault};
use crate::model::text::escape;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineError {
    /// The action, fit to follow "cannot".
    pub doing: String,
    pub kind: Failure,
    /// Fit to print.
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No answer: the engine is not there, or went away while it answered. Whether the request
    /// changed anything is unknown.
    Lost,
    /// The socket may not be opened.
    Permission,
    /// 404.
    NotFound,
    /// 409: something still wants it.
    Conflict,
    /// Another status.
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
    pub(super) fn new(doing: impl Into<String>, kind: Failure, why: impl Into<String>) -> Self {
        Self {
            doing: doing.into(),
            kind,
            why: why.into(),
        }
    }

    pub fn nonsense(doing: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::new(doing, Failure::Nonsense, escape(&why.to_string()))
    }

    /// `clear` removes secrets before the text is cut.
    pub(super) fn from_bollard(
        doing: &str,
        error: &Bollard,
        clear: impl Fn(&str) -> String,
    ) -> Self {
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

/// hyper's own message leaves out the system's error.
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
