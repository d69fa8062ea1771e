//! What a token server answers. Decides for how long its token is used.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cache::credentials::fields::Fields;
use crate::model::secret::Secret;

/// How long a token lasts where the answer does not say (distribution's token specification).
const SHORTEST: Duration = Duration::from_secs(60);
/// No run lasts longer.
const LONGEST: Duration = Duration::from_hours(1);
/// A token must still be good when the registry reads it.
const ON_THE_WAY: Duration = Duration::from_secs(10);

pub struct Token {
    header: Secret,
    /// It is sent until then.
    until: Instant,
}

impl Token {
    /// `asked`: when the request was sent. `None`: the answer has no token.
    pub fn read(answer: &[u8], asked: Instant) -> Option<Self> {
        let mut grant = Fields::read(answer).ok()?;
        let text = |value: Option<Value>| match value {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        };
        let token = text(grant.take("token")).or_else(|| text(grant.take("access_token")))?;
        let lasts = match grant.take("expires_in") {
            None | Some(Value::Null) => SHORTEST,
            // Docker takes a negative time for none.
            Some(seconds) => u64::try_from(seconds.as_i64()?).map_or(SHORTEST, Duration::from_secs),
        };
        Some(Self {
            header: bearer(&token),
            until: asked + lasts.min(LONGEST).saturating_sub(ON_THE_WAY),
        })
    }

    /// The value of `Authorization`.
    pub fn header(&self) -> &Secret {
        &self.header
    }

    pub fn is_good(&self, now: Instant) -> bool {
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
        let left = token.until.duration_since(asked) + ON_THE_WAY;
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
