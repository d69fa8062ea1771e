//! What docker's own configuration says of a registry: which helper to ask, or
//! which credentials stand in the file. Decides from text alone, in docker's
//! order: a helper for the registry, the general store, the file. It reads no
//! file, and no error of its quotes the text, for secrets stand in it.
//!
//! docker_credential was weighed: it asks the file before the store, which
//! docker does not, knows no DOCKER_AUTH_CONFIG, cannot tell a helper that is
//! missing from one that fails, has no deadline, and its values and errors
//! print secrets.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::secret::{Credentials, Secret};

/// docker's file, as far as it matters here.
#[derive(Deserialize, Default)]
#[serde(default)]
struct File {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
    #[serde(rename = "credHelpers")]
    helpers: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// What the text says.
pub enum Said {
    /// Nothing of this registry.
    Nothing,
    /// Ask this helper, `docker-credential-<name>`.
    Helper(String),
    /// These.
    Credentials(Credentials),
}

/// docker's key for a registry: its name, and for Docker Hub this one.
pub fn key(registry: &str) -> &str {
    match registry {
        "docker.io" => "https://index.docker.io/v1/",
        other => other,
    }
}

/// Looks a registry up in $DOCKER_AUTH_CONFIG, as docker does from 28.3 on: by its
/// very key, and in nothing that holds more than logins or one that does not
/// read. The error never quotes the text.
pub fn look_up_environment(text: &[u8], registry: &str) -> Result<Said, String> {
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
    let mut said = Said::Nothing;
    for (name, login) in variable.auths.unwrap_or_default() {
        let found = decode(&login.auth)?;
        if name == key(registry) {
            said = Said::Credentials(found);
        }
    }
    Ok(said)
}

/// serde's own words would quote the value that it stumbled over.
fn position(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    format!("it does not read at line {line}, column {column}")
}

/// Looks a registry up in a config.json. The error never quotes the text.
pub fn look_up(text: &[u8], registry: &str) -> Result<Said, String> {
    let file: File = serde_json::from_slice(text).map_err(|error| position(&error))?;
    let key = key(registry);
    let helpers = file.helpers.unwrap_or_default();
    let helper = helpers.get(key).or(file.store.as_ref());
    if let Some(name) = helper.filter(|name| !name.is_empty()) {
        return if is_helper_name(name) {
            Ok(Said::Helper(name.clone()))
        } else {
            Err(format!(
                "{:?} is no name of a credential helper",
                crate::text::escape(name)
            ))
        };
    }
    let auths = file.auths.unwrap_or_default();
    let exact = auths.get(key);
    let entry = exact.or_else(|| {
        let alike = |found: &&String| host_of(found) == key;
        auths.keys().find(alike).and_then(|found| auths.get(found))
    });
    match entry {
        Some(Some(entry)) => credentials(entry),
        _ => Ok(Said::Nothing),
    }
}

/// The name becomes a part of a command's name: with a slash in it, whoever
/// may write the file could name any program.
fn is_helper_name(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    name.len() <= 100 && name.bytes().all(letter)
}

/// Old files hold URLs: `https://host/v1/`.
fn host_of(key: &str) -> &str {
    let rest = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    rest.split('/').next().unwrap_or(rest)
}

fn credentials(entry: &Entry) -> Result<Said, String> {
    let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(token) = some(&entry.identitytoken) {
        return Ok(Said::Credentials(Credentials::IdentityToken(Secret::new(
            token,
        ))));
    }
    if let Some(token) = some(&entry.registrytoken) {
        return Ok(Said::Credentials(Credentials::RegistryToken(Secret::new(
            token,
        ))));
    }
    if let Some(auth) = some(&entry.auth) {
        return Ok(Said::Credentials(decode(&auth)?));
    }
    let pair = some(&entry.username).zip(some(&entry.password));
    Ok(pair.map_or(Said::Nothing, |(user, password)| {
        Said::Credentials(login(&user, &password))
    }))
}

fn login(user: &str, password: &str) -> Credentials {
    Credentials::Login {
        user: user.to_owned(),
        password: Secret::new(password),
    }
}

/// With its padding, or docker refuses it.
fn decode(auth: &str) -> Result<Credentials, String> {
    let bytes = STANDARD
        .decode(auth.trim())
        .map_err(|_| "its auth is no base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "its auth is no UTF-8")?;
    match text.split_once(':') {
        // docker pads old files so.
        Some((user, password)) if !user.is_empty() => Ok(login(user, password.trim_matches('\0'))),
        _ => Err("its auth is no user:password".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(config: &str, registry: &str) -> String {
        match look_up(config.as_bytes(), registry) {
            Err(why) => format!("error: {why}"),
            Ok(Said::Nothing) => "nothing".into(),
            Ok(Said::Helper(name)) => format!("helper {name}"),
            Ok(Said::Credentials(Credentials::Login { user, password })) => {
                format!("{user}/{}", password.expose())
            }
            Ok(Said::Credentials(Credentials::IdentityToken(t))) => {
                format!("identity {}", t.expose())
            }
            Ok(Said::Credentials(Credentials::RegistryToken(t))) => {
                format!("registry {}", t.expose())
            }
        }
    }

    const AUTH: &str = r#"{"auths":{"r.example:5000":{"auth":"bWU6cGFzczp3b3Jk"}}}"#;

    #[test]
    fn a_login_stands_in_the_file_and_its_password_may_hold_a_colon() {
        assert_eq!(said(AUTH, "r.example:5000"), "me/pass:word");
        assert_eq!(said(AUTH, "r.example"), "nothing");
        assert_eq!(said("{}", "r.example"), "nothing");
        assert_eq!(said(r#"{"auths":null}"#, "r.example"), "nothing");
        assert_eq!(
            said(r#"{"auths":{"r.example":{}}}"#, "r.example"),
            "nothing"
        );
    }

    #[test]
    fn docker_hub_and_old_files_have_keys_of_their_own() {
        let hub = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"bWU6cA=="}}}"#;
        assert_eq!(said(hub, "docker.io"), "me/p");
        let old = r#"{"auths":{"https://r.example/v1/":{"auth":"bWU6cA=="}}}"#;
        assert_eq!(said(old, "r.example"), "me/p");
    }

    #[test]
    fn an_old_key_stands_for_its_host_and_none_for_docker_hub_but_its_own() {
        // Docker Hub's own key is no host, so nothing is ever taken for it.
        for alike in [
            "index.docker.io",
            "docker.io",
            "https://index.docker.io/v2/",
        ] {
            let config = format!(r#"{{"auths":{{"{alike}":{{"auth":"bWU6cA=="}}}}}}"#);
            assert_eq!(said(&config, "docker.io"), "nothing", "{alike}");
        }
        let old = r#"{"auths":{"http://r.example:5000/x":{"auth":"bWU6cA=="}}}"#;
        assert_eq!(said(old, "r.example:5000"), "me/p");
        assert_eq!(said(old, "r.example"), "nothing");
    }

    #[test]
    fn a_helper_goes_before_the_store_and_the_store_before_the_file() {
        let all = r#"{"credsStore":"s","credHelpers":{"r.example":"h"},"auths":{"q.example":{"auth":"bWU6cA=="}}}"#;
        assert_eq!(said(all, "r.example"), "helper h");
        assert_eq!(said(all, "q.example"), "helper s");
    }

    #[test]
    fn a_helper_is_a_plain_name_and_no_path() {
        for name in ["../../tmp/x", "a b", "a/b"] {
            let config = format!(r#"{{"credsStore":"{name}"}}"#);
            assert!(said(&config, "r.example").starts_with("error: "), "{name}");
        }
    }

    #[test]
    fn tokens_go_before_the_login_that_stands_beside_them() {
        let entry = r#"{"auths":{"r.example":{"auth":"bWU6cA==","identitytoken":"T"}}}"#;
        assert_eq!(said(entry, "r.example"), "identity T");
        let entry = r#"{"auths":{"r.example":{"registrytoken":"T"}}}"#;
        assert_eq!(said(entry, "r.example"), "registry T");
    }

    #[test]
    fn an_error_never_quotes_the_text() {
        for config in [
            r#"{"auths":{"r.example":"hunter2"}}"#,
            r#"{"auths":{"r.example":{"auth":"hunter2!"}}}"#,
            r#"{"auths":{"r.example":{"auth":"aHVudGVyMg"}}}"#,
            r#"{"auths":{"r.example":{"auth":"Omh1bnRlcjI="}}}"#,
            r#"{"credHelpers":"hunter2"}"#,
            "hunter2",
        ] {
            let said = said(config, "r.example");
            assert!(
                said.starts_with("error: ") && !said.contains("hunter2"),
                "{said}"
            );
        }
    }
}
