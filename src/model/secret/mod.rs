//! Passwords and tokens, which are never shown. A [`Secret`] has no `Debug`, `Display` or
//! `Serialize`, so that printing one does not compile; [`Credentials::redact`] clears
//! foreign text that may quote one.

mod quoted;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Only for sending.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    Login {
        user: String,
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

    /// For the engine's `X-Registry-Auth`: base64url with its padding, for without the
    /// padding the engine reads "anonymous" and reports nothing. `server` must be the
    /// registry's own name, for the containerd store ignores credentials of another.
    pub(crate) fn for_engine(&self, server: &str) -> Secret {
        let mut value = match self {
            Self::Login { user, password } => {
                serde_json::json!({ "username": user, "password": password.expose() })
            }
            Self::IdentityToken(token) => serde_json::json!({ "identitytoken": token.expose() }),
            Self::RegistryToken(token) => serde_json::json!({ "registrytoken": token.expose() }),
        };
        value["serveraddress"] = server.into();
        Secret::new(URL_SAFE.encode(value.to_string()))
    }

    /// Foreign text with these credentials replaced: plain or in base64, the secret alone
    /// or in the form in which it is sent, however it is quoted. Do this before the text
    /// is cut.
    pub fn redact(&self, text: &str) -> String {
        let (secret, sent) = match self {
            Self::Login { user, password } => {
                let password = password.expose();
                (password, format!("{user}:{password}"))
            }
            Self::IdentityToken(token) | Self::RegistryToken(token) => {
                (token.expose(), token.expose().to_owned())
            }
        };
        // A secret this short protects nothing, and replacing it would garble the text.
        let secret = Some(secret).filter(|secret| secret.len() >= SHORTEST);
        let mut forms: Vec<String> = Vec::new();
        for plain in secret.into_iter().chain([sent.as_str()]) {
            for base64 in [STANDARD, URL_SAFE, STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                forms.push(base64.encode(plain));
            }
        }
        forms.extend(secret.map(str::to_owned));
        quoted::clear(text, &forms)
    }

    /// As [`Self::redact`], where there may be no credentials.
    pub fn cleared(credentials: Option<&Self>, text: &str) -> String {
        credentials.map_or_else(|| text.to_owned(), |secret| secret.redact(text))
    }
}

/// The fewest bytes of a secret that is replaced.
const SHORTEST: usize = 4;

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

    #[test]
    fn text_that_is_all_quoting_takes_no_longer_than_other_text() {
        // As long as all headers of an answer may be. Reading to its end at every place would
        // take minutes.
        let quoting = ["\\", r"\u{", "%", r"\u{0"];
        let text: String = quoting
            .iter()
            .map(|quoting| quoting.repeat(100_000 / quoting.len()))
            .collect();
        assert!(login().redact(&text) == text);
    }

    #[test]
    fn however_a_secret_is_quoted_or_cut_no_piece_of_it_is_shown() {
        let login = Credentials::Login {
            user: "me".into(),
            password: Secret::new("p\"<ä~ w/\\rd"),
        };
        let pair = STANDARD.encode("me:p\"<ä~ w/\\rd");
        for said in [
            "p%22%3C%C3%A4~%20w%2F%5Crd".to_owned(),
            "p%22%3c%c3%a4%7e+w/%5crd".to_owned(),
            r#"p\"<ä~ w\/\\rd"#.to_owned(),
            r"p\u0022\u003c\u00e4~ w/\\rd".to_owned(),
            r#"p\\\"<ä~ w/\\\\rd"#.to_owned(),
            pair.clone(),
            pair.trim_end_matches('=').to_owned(),
            pair.replace('+', "%2B")
                .replace('/', "%2F")
                .replace('=', "%3D"),
            "p\"<ä~…".to_owned(),
            format!("{}…", &pair[..9]),
            "p…".to_owned(),
        ] {
            let shown = login.redact(&format!("no: {said}"));
            let rest = shown.strip_prefix("no: [secret]");
            let rest = rest.unwrap_or_else(|| panic!("{said}: {shown}"));
            assert!(rest.chars().all(|c| "=%3D…".contains(c)), "{said}: {shown}");
        }
        let innocent = "no such host: registry.lan, pw 403 (p) %20 \\u00";
        assert_eq!(login.redact(innocent), innocent);
    }

    #[test]
    fn a_password_that_reads_as_percent_encoded_is_found_either_way() {
        let login = Credentials::Login {
            user: "me".into(),
            password: Secret::new("a%25b%41c"),
        };
        for said in ["a%25b%41c", "a%2525b%2541c"] {
            assert_eq!(login.redact(said), "[secret]", "{said}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd_to_be_cleared(text in ".{0,80}", password in ".{4,12}") {
            let login = Credentials::Login { user: "me".into(), password: Secret::new(&password) };
            let shown = login.redact(&format!("{text}{password}{text}"));
            proptest::prop_assert!(shown.contains("[secret]"));
        }
    }
}
