//! Finds the credentials of a registry: reads docker's configuration and runs the helper that it
//! names. It never stores anything.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::cache::credentials::config::{Configured, look_up, look_up_environment};
use crate::cache::credentials::helper::{self, ConfigFile};
use crate::cache::credentials::lookup::Lookup;
use crate::cache::credentials::search::Search;
use crate::host::files::{FileError, read_of_owner};
use crate::host::variables;
use crate::model::secret::Secret;
use crate::model::text::escape_path;

/// Bytes; no config.json is longer.
const LONGEST: u64 = 1 << 20;

#[derive(Default)]
pub struct Finder {
    dir: Option<PathBuf>,
    /// Whether the folder was given by an option.
    named: bool,
    /// $DOCKER_AUTH_CONFIG. An error affects every registry.
    environment: Option<Result<Secret, String>>,
    /// Replaces $PATH.
    search: Option<OsString>,
}

impl Finder {
    /// For the user whose docker configuration is in `dir`; with `None`, for this process's user
    /// and environment.
    pub fn of(dir: Option<&Path>) -> Self {
        if let Some(dir) = dir {
            // This process's environment is not that user's.
            return Self {
                dir: Some(dir.to_owned()),
                named: true,
                ..Self::default()
            };
        }
        let home = || Some(crate::host::user::home()?.join(".docker"));
        Self {
            dir: variables::path("DOCKER_CONFIG").or_else(home),
            environment: variables::text("DOCKER_AUTH_CONFIG")
                .map(|text| text.map(Secret::new))
                .transpose(),
            ..Self::default()
        }
    }

    pub async fn find(&self, registry: &str) -> Lookup {
        let text = match &self.environment {
            None => return self.find_in_file(registry).await,
            Some(Err(why)) => return Lookup::Unreadable(why.clone()),
            Some(Ok(text)) => text,
        };
        match look_up_environment(text.expose().as_bytes(), registry) {
            Ok(Configured::Credentials(found)) => Lookup::Found(found, "DOCKER_AUTH_CONFIG".into()),
            Ok(_) => self.find_in_file(registry).await,
            // docker also ignores it, with a warning.
            Err(odd) => match self.find_in_file(registry).await {
                Lookup::None(why) => Lookup::None(format!(
                    "DOCKER_AUTH_CONFIG is passed over, for {odd}; {why}"
                )),
                found => found,
            },
        }
    }

    async fn find_in_file(&self, registry: &str) -> Lookup {
        let Some(dir) = &self.dir else {
            return Lookup::None("there is no home and no DOCKER_CONFIG to look in".into());
        };
        let path = dir.join("config.json");
        let shown = escape_path(&path);
        let file = match read_of_owner(dir, "config.json", LONGEST) {
            Ok(Some(file)) => file,
            Ok(None) => return Lookup::None(format!("{shown} is not there")),
            // The file's owner may read it nevertheless.
            Err(error @ FileError::Untrusted { .. }) => return Lookup::NotTried(error.to_string()),
            Err(error) => return Lookup::Unreadable(error.to_string()),
        };
        let (name, stored) = match look_up(&file.bytes, registry) {
            Err(why) => return Lookup::Unreadable(format!("{shown}: {why}")),
            Ok(Configured::Nothing) => return Lookup::None(format!("{shown} has none")),
            Ok(Configured::Credentials(found)) => return Lookup::Found(found, shown),
            Ok(Configured::Helper(name, stored)) => (name, stored),
        };
        let search = self.search.as_ref();
        let search = search.map_or_else(Search::read, |path| Search::of(path));
        let config = ConfigFile {
            dir,
            named: self.named,
            owner: file.owner,
        };
        let program = format!("docker-credential-{name}");
        let found = helper::ask(program, &search, &config, registry).await;
        let why = match &found {
            Lookup::HelperMissing(program, _) => format!("{program} is missing"),
            Lookup::HelperFailed(why) => why.clone(),
            _ => return found,
        };
        stored.map_or(found, |stored| {
            Lookup::Found(stored, format!("{shown} ({why})"))
        })
    }
}

#[cfg(test)]
mod tests;
