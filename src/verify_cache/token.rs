//! What a token server gives. Decides for how long a token is sent.

use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::secret::Secret;

/// How long a token lasts that does not say so (the token specification).
const SHORTEST: Duration = Duration::from_secs(60);
/// No run lasts longer than the longest that is believed.
const LONGEST: Duration = Duration::from_hours(1);
/// A token must still be good when the registry reads it.
const ON_THE_WAY: Duration = Duration::from_secs(10);

/// A token, as the header's value, and until when it is sent.
pub struct Token {
    header: Secret,
    until: Instant,
}

impl Token {
    /// From the server's answer; `None`: there is no token in it.
    pub fn read(answer: &[u8], asked: Instant) -> Option<Self> {
        #[derive(Deserialize)]
        struct Grant {
            token: Option<String>,
            access_token: Option<String>,
            /// Seconds.
            expires_in: Option<u64>,
        }
        let grant: Grant = serde_json::from_slice(answer).ok()?;
        let lasts = grant.expires_in.map_or(SHORTEST, Duration::from_secs);
        Some(Self {
            header: bearer(&grant.token.or(grant.access_token)?),
            until: asked + lasts.min(LONGEST).saturating_sub(ON_THE_WAY),
        })
    }

    /// The value of `Authorization`.
    pub fn header(&self) -> &Secret {
        &self.header
    }

    /// Whether it may still be sent.
    pub fn is_good(&self, now: Instant) -> bool {
        now < self.until
    }
}

/// A token as the value of `Authorization`.
pub fn bearer(token: &str) -> Secret {
    Secret::new(format!("Bearer {token}"))
}
