//! Which engine is meant. Decides from `--host`, $DOCKER_HOST and the docker
//! context, in that order, and refuses anything but a local socket: locks,
//! pulls and the disk can only be judged on the host itself. It connects to
//! nothing, and no proxy setting is ever looked at.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::text::escape;

/// Where docker listens unless told otherwise.
const DEFAULT: &str = "/var/run/docker.sock";

/// A local engine's socket, and what named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    socket: PathBuf,
}

/// An address that secateur does not go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressError(String);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AddressError {}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", escape(&self.socket.to_string_lossy()))
    }
}

/// What the environment says, so far as it matters here.
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
    /// Reads this process's environment.
    pub fn read() -> Self {
        let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let config = text("DOCKER_CONFIG").map(PathBuf::from);
        let home = || Some(crate::host::user::home()?.join(".docker"));
        Self {
            docker_host: text("DOCKER_HOST"),
            docker_context: text("DOCKER_CONTEXT"),
            docker_config: config.or_else(home),
        }
    }
}

impl Address {
    /// Resolves what was asked for; `host` is `--host`.
    pub fn resolve(host: Option<&str>, environment: &Environment) -> Result<Self, AddressError> {
        if let Some(host) = host {
            return Self::parse(host, "--host");
        }
        if let Some(host) = &environment.docker_host {
            return Self::parse(host, "DOCKER_HOST");
        }
        match context(environment)? {
            Some((name, host)) => Self::parse(&host, &format!("docker context {}", escape(&name))),
            None => Ok(Self {
                socket: DEFAULT.into(),
            }),
        }
    }

    /// The socket's path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    fn parse(text: &str, from: &str) -> Result<Self, AddressError> {
        match text.strip_prefix("unix://") {
            Some(path) if path.starts_with('/') => Ok(Self {
                socket: path.into(),
            }),
            _ => Err(AddressError(format!(
                "{from} is {}: wanted a local socket such as unix://{DEFAULT}, for deploy locks, pulls and the disk \
                 can only be judged on the engine's own host; run secateur there",
                escape(text)
            ))),
        }
    }
}

/// The current docker context and its host, where it is not the default one.
fn context(environment: &Environment) -> Result<Option<(String, String)>, AddressError> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(rename = "currentContext")]
        current: Option<String>,
    }
    let Some(config) = &environment.docker_config else {
        return Ok(None);
    };
    let current = match &environment.docker_context {
        Some(name) => Some(name.clone()),
        None => read::<Config>(&config.join("config.json"))?.and_then(|config| config.current),
    };
    let Some(name) = current.filter(|name| !name.is_empty() && name != "default") else {
        return Ok(None);
    };
    find_context(&config.join("contexts/meta"), &name)
}

/// docker keeps each context below a folder named by a hash of its name; the
/// name itself stands inside.
fn find_context(folder: &Path, wanted: &str) -> Result<Option<(String, String)>, AddressError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Meta {
        name: String,
        endpoints: std::collections::BTreeMap<String, Endpoint>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Endpoint {
        host: Option<String>,
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let Some(meta) = read::<Meta>(&entry.path().join("meta.json"))? else {
            continue;
        };
        if meta.name == wanted {
            let host = meta
                .endpoints
                .into_iter()
                .find(|(kind, _)| kind == "docker")
                .and_then(|(_, e)| e.host);
            return Ok(host.map(|host| (meta.name, host)));
        }
    }
    Err(AddressError(format!(
        "docker context {} is not in {}; name the engine with --host",
        escape(wanted),
        escape(&folder.to_string_lossy())
    )))
}

/// `None` where the file is not there.
fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, AddressError> {
    let fault = |why: String| {
        AddressError(format!(
            "{}: {}; name the engine with --host",
            escape(&path.to_string_lossy()),
            escape(&why)
        ))
    };
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| fault(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(host: Option<&str>, environment: &Environment) -> String {
        Address::resolve(host, environment).map_or_else(|e| e.to_string(), |a| a.to_string())
    }

    #[test]
    fn the_command_line_goes_before_the_environment() {
        let environment = Environment {
            docker_host: Some("unix:///env.sock".into()),
            ..Environment::default()
        };
        assert_eq!(
            resolve(Some("unix:///arg.sock"), &environment),
            "unix:///arg.sock"
        );
        assert_eq!(resolve(None, &environment), "unix:///env.sock");
        assert_eq!(
            resolve(None, &Environment::default()),
            "unix:///var/run/docker.sock"
        );
    }

    #[test]
    fn only_a_local_socket_is_taken() {
        for host in [
            "tcp://10.0.0.1:2375",
            "ssh://me@host",
            "http://x",
            "unix://relative",
            "/var/run/docker.sock",
            "",
        ] {
            let seen = resolve(Some(host), &Environment::default());
            assert!(
                seen.starts_with(&format!("--host is {host}: wanted a local socket")),
                "{seen}"
            );
        }
    }

    #[test]
    fn a_docker_context_is_followed_and_a_missing_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let meta = folder.path().join("contexts/meta/abc");
        std::fs::create_dir_all(&meta).unwrap();
        std::fs::write(
            folder.path().join("config.json"),
            r#"{"currentContext":"lab"}"#,
        )
        .unwrap();
        std::fs::write(
            meta.join("meta.json"),
            r#"{"Name":"lab","Endpoints":{"docker":{"Host":"unix:///lab.sock"}}}"#,
        )
        .unwrap();
        let mut environment = Environment {
            docker_config: Some(folder.path().into()),
            ..Environment::default()
        };
        assert_eq!(resolve(None, &environment), "unix:///lab.sock");
        environment.docker_context = Some("default".into());
        assert_eq!(resolve(None, &environment), "unix:///var/run/docker.sock");
        environment.docker_context = Some("gone".into());
        assert!(resolve(None, &environment).contains("docker context gone is not in"));
    }
}
