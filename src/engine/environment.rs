//! The environment variables that may name the engine, and the error where they name none.

use std::fmt;
use std::path::PathBuf;

use crate::exit::{Exit, Fault};
use crate::host::variables;
use crate::model::text::escape;

#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `$DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// `$DOCKER_CONTEXT`.
    pub docker_context: Option<String>,
    /// `$DOCKER_CONFIG`, else `~/.docker`.
    pub docker_config: Option<PathBuf>,
}

impl Environment {
    /// An error names the variable that cannot be read, fit to print.
    pub fn read() -> Result<Self, String> {
        let home = || Some(crate::host::user::home()?.join(".docker"));
        Ok(Self {
            docker_host: variables::text("DOCKER_HOST")?,
            docker_context: variables::text("DOCKER_CONTEXT")?,
            docker_config: variables::path("DOCKER_CONFIG").or_else(home),
        })
    }
}

/// Fit to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressError {
    /// 2 where the command line or the environment names a wrong one; 69 where a docker
    /// context leads to no engine.
    pub exit: Exit,
    pub(super) message: String,
}

impl AddressError {
    pub(super) fn of_context(name: &str, why: &str) -> Self {
        Self {
            exit: Exit::Engine,
            message: format!(
                "docker context {}: {why}; name the engine with --host",
                escape(name)
            ),
        }
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for AddressError {}

impl From<AddressError> for Fault {
    fn from(error: AddressError) -> Self {
        Self::new(error.exit, error.message)
    }
}
