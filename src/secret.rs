//! Passwords and tokens. Decides that they are never shown: a [`Secret`] has no
//! `Debug`, `Display` or `Serialize`, so that printing one does not compile,
//! and foreign text that may quote one is cleared of it before it is shown.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// Something that must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes it out of the open.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// To be sent, and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn hide(&self, text: &str) -> String {
        // What is this short hides nothing, and would garble the text.
        if self.0.len() < 4 {
            return text.to_owned();
        }
        let plain = text.replace(&self.0, "[secret]");
        plain.replace(&STANDARD.encode(&self.0), "[secret]")
    }
}

/// What opens a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A name and a password.
    Login {
        /// The account.
        user: String,
        /// Its password.
        password: Secret,
    },
    /// Exchanged for an access token at the registry's token server.
    IdentityToken(Secret),
    /// Sent to the registry as it is.
    RegistryToken(Secret),
}

impl Credentials {
    /// For an `Authorization: Basic` header.
    pub(crate) fn basic(&self) -> Option<Secret> {
        match self {
            Self::Login { user, password } => {
                let pair = format!("{user}:{}", password.expose());
                Some(Secret::new(format!("Basic {}", STANDARD.encode(pair))))
            }
            Self::IdentityToken(_) | Self::RegistryToken(_) => None,
        }
    }

    /// For the engine's X-Registry-Auth: base64url with its padding, or the
    /// engine quietly takes it for "anonymous". `server` must be the
    /// registry's own name, or the containerd store leaves it out.
    pub(crate) fn for_engine(&self, server: &str) -> Secret {
        let value = match self {
            Self::Login { user, password } => serde_json::json!({
                "username": user, "password": password.expose(), "serveraddress": server,
            }),
            Self::IdentityToken(token) => serde_json::json!({
                "identitytoken": token.expose(), "serveraddress": server,
            }),
            Self::RegistryToken(token) => serde_json::json!({
                "registrytoken": token.expose(), "serveraddress": server,
            }),
        };
        Secret::new(URL_SAFE.encode(value.to_string()))
    }

    /// Foreign text without any of this in it.
    pub fn redact(&self, text: &str) -> String {
        match self {
            Self::Login { user, password } => {
                // The pair first: it holds the password's own code.
                let pair = STANDARD.encode(format!("{user}:{}", password.expose()));
                password.hide(&text.replace(&pair, "[secret]"))
            }
            Self::IdentityToken(token) | Self::RegistryToken(token) => token.hide(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Credentials {
        Credentials::Login {
            user: "me".into(),
            password: Secret::new("p?ss~word"),
        }
    }

    #[test]
    fn the_engine_gets_padded_base64url() {
        let header = login().for_engine("r.example:5000");
        let text = header.expose();
        assert!(
            !text.contains(['+', '/']) && text.len().is_multiple_of(4),
            "{text}"
        );
        let json: serde_json::Value =
            serde_json::from_slice(&URL_SAFE.decode(text).unwrap()).unwrap();
        assert_eq!(json["password"], "p?ss~word");
        assert_eq!(json["serveraddress"], "r.example:5000");
    }

    #[test]
    fn foreign_text_is_cleared_of_the_secret_in_every_form() {
        let pair = STANDARD.encode("me:p?ss~word");
        let said = format!(
            "bad password p?ss~word (Basic {pair}) {}",
            STANDARD.encode("p?ss~word")
        );
        let shown = login().redact(&said);
        assert_eq!(shown, "bad password [secret] (Basic [secret]) [secret]");
    }
}
