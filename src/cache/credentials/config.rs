//! What docker's own configuration says of a registry: the helper to ask, or the credentials in
//! the file. Decides from the text alone, in docker's order: a helper for the registry, the
//! general store, the file. Errors never quote the text, which contains secrets.
//!
//! Why not the docker_credential crate: it reads the file before the store, unlike docker; it
//! knows no DOCKER_AUTH_CONFIG, cannot tell a missing helper from a failing one, has no deadline,
//! and its values and errors print secrets.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::cache::credentials::fields::{Fields, position};
use crate::model::secret::{Credentials, Secret};

pub enum Configured {
    Nothing,
    /// The helper `docker-credential-<name>`. If it fails or is missing, docker uses the
    /// credentials of the file [T 20.10, 28.5]; if it says that it has none, docker does not.
    Helper(String, Option<Credentials>),
    Credentials(Credentials),
}

/// docker's key of a registry: its name, except for Docker Hub.
pub fn key(registry: &str) -> &str {
    match registry {
        "docker.io" => "https://index.docker.io/v1/",
        other => other,
    }
}

/// Looks up a registry in $DOCKER_AUTH_CONFIG, as docker does since 28.3: by its exact key. The
/// whole text is invalid if it contains anything but logins, or an invalid login.
pub fn look_up_environment(text: &[u8], registry: &str) -> Result<Configured, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Variable {
        auths: Option<BTreeMap<String, Login>>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Login {
        auth: String,
    }
    let variable: Variable = serde_json::from_slice(text).map_err(|error| position(&error))?;
    let mut configured = Configured::Nothing;
    for (name, login) in variable.auths.unwrap_or_default() {
        let found = decode(&login.auth)?;
        if name == key(registry) {
            configured = Configured::Credentials(found);
        }
    }
    Ok(configured)
}

/// Looks up a registry in a config.json.
pub fn look_up(text: &[u8], registry: &str) -> Result<Configured, String> {
    // docker accepts an empty file.
    if text.trim_ascii().is_empty() {
        return Ok(Configured::Nothing);
    }
    let mut file = Fields::read(text)?;
    let key = key(registry);
    let helpers = file.object("credhelpers")?;
    let store = file.text("credsstore")?;
    let helper = match helpers.get(key) {
        None | Some(Value::Null) => store,
        Some(Value::String(name)) => Some(name.clone()),
        Some(_) => return Err("its credHelpers hold what is no name".into()),
    };
    let auths = file.object("auths")?;
    let entry = auths.get(key).or_else(|| {
        let mut entries = auths.iter();
        let alike = entries.find(|(found, _)| host_of(found) == key);
        alike.map(|(_, entry)| entry)
    });
    let stored = match entry {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(entry)) => credentials(Fields::of(entry.clone())),
        Some(_) => Err("its auths hold what is no login".to_owned()),
    };
    let configured =
        |found: Option<Credentials>| found.map_or(Configured::Nothing, Configured::Credentials);
    match helper.filter(|name| !name.is_empty()) {
        None => stored.map(configured),
        Some(name) if is_helper_name(&name) => Ok(Configured::Helper(name, stored.ok().flatten())),
        Some(name) => match stored {
            Ok(Some(found)) => Ok(Configured::Credentials(found)),
            Ok(None) | Err(_) => Err(format!(
                "{:?} is no name of a credential helper",
                crate::model::text::escape(&name)
            )),
        },
    }
}

/// The name becomes part of a command's name: with a slash in it, whoever may write the file
/// could choose any program.
fn is_helper_name(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    name.len() <= 100 && name.bytes().all(letter)
}

/// Old files have URLs as keys: `https://host/v1/`.
fn host_of(key: &str) -> &str {
    let rest = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    rest.split('/').next().unwrap_or(rest)
}

fn credentials(mut entry: Fields) -> Result<Option<Credentials>, String> {
    let mut text = |name| Ok::<_, String>(entry.text(name)?.filter(|text| !text.is_empty()));
    if let Some(token) = text("identitytoken")? {
        return Ok(Some(Credentials::IdentityToken(Secret::new(token))));
    }
    if let Some(token) = text("registrytoken")? {
        return Ok(Some(Credentials::RegistryToken(Secret::new(token))));
    }
    if let Some(auth) = text("auth")? {
        return decode(&auth).map(Some);
    }
    let pair = text("username")?.zip(text("password")?);
    Ok(pair.map(|(user, password)| login(&user, &password)))
}

fn login(user: &str, password: &str) -> Credentials {
    Credentials::Login {
        user: user.to_owned(),
        password: Secret::new(password),
    }
}

/// As docker does, it requires padding and ignores line ends.
fn decode(auth: &str) -> Result<Credentials, String> {
    let bytes = STANDARD
        .decode(auth.replace(['\r', '\n'], ""))
        .map_err(|_| "its auth is no base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "its auth is no UTF-8")?;
    match text.split_once(':') {
        // docker pads the passwords of old files with NULs.
        Some((user, password)) if !user.is_empty() => Ok(login(user, password.trim_matches('\0'))),
        _ => Err("its auth is no user:password".into()),
    }
}

#[cfg(test)]
mod tests;
