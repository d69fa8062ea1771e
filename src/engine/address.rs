//! Which engine is meant. Decides from `--host`, $DOCKER_HOST and the docker context, in
//! that order, and refuses anything but a local socket: locks, pulls and the disk can only
//! be read on the host itself. It connects to nothing and ignores proxy settings.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::engine::context::context;
use crate::engine::environment::{AddressError, Environment};
use crate::exit::Exit;
use crate::model::text::{escape, escape_path};

/// Where docker listens by default.
const DEFAULT: &str = "/var/run/docker.sock";

/// A local engine's socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    socket: PathBuf,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", escape_path(&self.socket))
    }
}

impl Address {
    /// `host` is `--host`. `warn` gets a warning that is fit to print.
    pub fn resolve(
        host: Option<&str>,
        environment: &Environment,
        warn: impl FnOnce(&str),
    ) -> Result<Self, AddressError> {
        let named = |(host, from): (&str, &str)| {
            Self::parse(host).map_err(|why| AddressError {
                exit: Exit::Usage,
                message: format!("{from} is {}{why}", escape(host)),
            })
        };
        let variable = environment.docker_host.as_deref();
        let variable = variable.map(|host| (host, "DOCKER_HOST"));
        if let Some(asked) = host.map(|host| (host, "--host")).or(variable) {
            return named(asked);
        }
        let Some((name, host)) = context(environment, warn)? else {
            return Ok(Self {
                socket: DEFAULT.into(),
            });
        };
        Self::parse(&host).map_err(|why| {
            AddressError::of_context(&name, &format!("its host is {}{why}", escape(&host)))
        })
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The error continues a sentence that ends with the text.
    fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix://") {
            Some(path) if path.starts_with('/') => Ok(Self {
                socket: path.into(),
            }),
            _ => Err(match text.strip_prefix("unix:").unwrap_or(text) {
                path if path.starts_with('/') && !path.starts_with("//") => {
                    format!("; did you mean unix://{}?", escape(path))
                }
                _ => format!(
                    ": wanted a local socket such as unix://{DEFAULT}, for deploy locks, pulls and the disk \
                     can only be judged on the engine's own host; run secateur there"
                ),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
