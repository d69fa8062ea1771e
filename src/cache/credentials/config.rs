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
use serde_json::Value;

use crate::cache::credentials::fields::{Fields, position};
use crate::model::secret::{Credentials, Secret};

/// What the text says.
pub enum Said {
    /// Nothing of this registry.
    Nothing,
    /// Ask this helper, `docker-credential-<name>`; where it fails or is gone, docker takes what
    /// stands in the file [T 20.10, 28.5]. Not where it says that it has none.
    Helper(String, Option<Credentials>),
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

/// Looks a registry up in a config.json. The error never quotes the text.
pub fn look_up(text: &[u8], registry: &str) -> Result<Said, String> {
    // Docker takes an empty file for one that says nothing.
    if text.trim_ascii().is_empty() {
        return Ok(Said::Nothing);
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
    let said = |found: Option<Credentials>| found.map_or(Said::Nothing, Said::Credentials);
    match helper.filter(|name| !name.is_empty()) {
        None => stored.map(said),
        Some(name) if is_helper_name(&name) => Ok(Said::Helper(name, stored.ok().flatten())),
        Some(name) => match stored {
            Ok(Some(found)) => Ok(Said::Credentials(found)),
            Ok(None) | Err(_) => Err(format!(
                "{:?} is no name of a credential helper",
                crate::model::text::escape(&name)
            )),
        },
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

/// With its padding, or docker refuses it. Line ends in it are nothing, to docker.
fn decode(auth: &str) -> Result<Credentials, String> {
    let bytes = STANDARD
        .decode(auth.replace(['\r', '\n'], ""))
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
            Ok(Said::Helper(name, None)) => format!("helper {name}"),
            Ok(Said::Helper(name, Some(_))) => format!("helper {name}, or the file"),
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
        assert_eq!(said(all, "q.example"), "helper s, or the file");
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

    #[test]
    fn what_docker_reads_is_read() {
        let auth = r#""r.example":{"auth":"bWU6cA=="}"#;
        for (config, wanted) in [
            (
                r#"{"auths":{"r.example":{"auth":"bWU6\ncA==\r\n"}}}"#,
                "me/p",
            ),
            (r#"{"Auths":{"r.example":{"Auth":"bWU6cA=="}}}"#, "me/p"),
            (
                r#"{"auths":{"r.example":{"UserName":"me","PASSWORD":"p"}}}"#,
                "me/p",
            ),
            (&format!("{{\"auths\":{{{auth}}}}} }}}} behind"), "me/p"),
            (
                &format!(r#"{{"auths":{{{auth}}},"Auths":{{"q.example":{{}}}}}}"#),
                "me/p",
            ),
            (
                &format!(r#"{{"credsStore":"gone","auths":{{{auth}}}}}"#),
                "helper gone, or the file",
            ),
            (
                &format!(r#"{{"credsStore":"../x","auths":{{{auth}}}}}"#),
                "me/p",
            ),
            (
                &format!(
                    r#"{{"credsStore":"x","credHelpers":{{"r.example":""}},"auths":{{{auth}}}}}"#
                ),
                "me/p",
            ),
            ("", "nothing"),
            ("\n", "nothing"),
        ] {
            assert_eq!(said(config, "r.example"), wanted, "{config}");
        }
        // Docker takes neither a space in the base64 nor a byte order mark.
        for config in [
            r#"{"auths":{"r.example":{"auth":" bWU6cA=="}}}"#,
            &format!("\u{feff}{{\"auths\":{{{auth}}}}}"),
        ] {
            assert!(said(config, "r.example").starts_with("error: "), "{config}");
        }
    }
}
