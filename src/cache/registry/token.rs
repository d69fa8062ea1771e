//! A token, and how long it is used.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cache::credentials::fields::Fields;
use crate::model::secret::Secret;

/// The lifetime of a token whose answer gives none (distribution's token specification).
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
/// No run takes longer.
const MAX_LIFETIME: Duration = Duration::from_hours(1);
/// Subtracted, because a token must still be valid when the registry reads it.
const SAFETY_MARGIN: Duration = Duration::from_secs(10);

pub struct Token {
    header: Secret,
    /// Not used afterwards.
    until: Instant,
}

impl Token {
    /// `asked`: when the request was sent. `None` if the answer has no token.
    pub fn read(answer: &[u8], asked: Instant) -> Option<Self> {
        let mut grant = Fields::read(answer).ok()?;
        let text = |value: Option<Value>| match value {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        };
        let token = text(grant.take("token")).or_else(|| text(grant.take("access_token")))?;
        let lifetime = match grant.take("expires_in") {
            None | Some(Value::Null) => DEFAULT_LIFETIME,
            // docker treats a negative lifetime as none.
            Some(seconds) => {
                u64::try_from(seconds.as_i64()?).map_or(DEFAULT_LIFETIME, Duration::from_secs)
            }
        };
        Some(Self {
            header: bearer(&token),
            until: asked + lifetime.min(MAX_LIFETIME).saturating_sub(SAFETY_MARGIN),
        })
    }

    /// The value of `Authorization`.
    pub fn header(&self) -> &Secret {
        &self.header
    }

    pub fn is_valid(&self, now: Instant) -> bool {
        now < self.until
    }
}

/// The value of `Authorization` for a token.
pub fn bearer(token: &str) -> Secret {
    Secret::new(format!("Bearer {token}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(answer: &str) -> Option<(String, u64)> {
        let asked = crate::host::clock::monotonic();
        let token = Token::read(answer.as_bytes(), asked)?;
        let left = token.until.duration_since(asked) + SAFETY_MARGIN;
        Some((token.header().expose().to_owned(), left.as_secs()))
    }

    #[test]
    fn a_token_is_read_as_docker_reads_it() {
        let token = |name: &str, seconds| Some((format!("Bearer {name}"), seconds));
        for (answer, wanted) in [
            (r#"{"token":"A","access_token":"B"}"#, token("A", 60)),
            (r#"{"token":"","access_token":"B"}"#, token("B", 60)),
            (r#"{"Token":"A","EXPIRES_IN":300}"#, token("A", 300)),
            (
                r#"{"token":null,"access_token":"B","expires_in":null}"#,
                token("B", 60),
            ),
            (r#"{"token":"A","expires_in":-1}"#, token("A", 60)),
            (r#"{"token":"A","expires_in":"300"}"#, None),
            (r#"{"token":""}"#, None),
            ("<html>", None),
        ] {
            assert_eq!(given(answer), wanted, "{answer}");
        }
    }
}
