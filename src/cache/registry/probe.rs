//! The first request to a registry, as `docker login` sends it. It names no repository, so that
//! one denied repository does not affect the others.

use hyper::Method;

use crate::cache::registry::admission::Admission;
use crate::cache::registry::authorization::NoToken;
use crate::cache::registry::challenge::Challenge;
use crate::cache::registry::client::Registry;
use crate::cache::registry::transport::{Answer, RequestError};

impl Registry {
    /// Whether the registry accepts the credentials.
    pub async fn probe(&self) -> Admission {
        let admission = match self.first_answer().await {
            Ok(admission) => admission,
            Err(failed) => Admission::Unreachable(self.shown(&failed.why)),
        };
        self.refused.set(matches!(admission, Admission::Refused(_)));
        admission
    }

    async fn first_answer(&self) -> Result<Admission, RequestError> {
        let answer = self.ask(&Method::GET, self.base.clone(), None).await?;
        match (answer.status, self.other_host(&answer)) {
            (200, Some(host)) => return Ok(Admission::Redirected { host, asks: false }),
            (200, None) => return Ok(Admission::Open),
            (401, _) => {}
            (429 | 500..=599, _) => return Err(format!("it answered {}", answer.status).into()),
            (status, _) => {
                return Ok(Admission::NotARegistry(format!(
                    "GET /v2/ answered {status}"
                )));
            }
        }
        let Some(challenge) = Challenge::of(&answer.headers) else {
            let what = "it answered 401 and does not say what it wants";
            return Ok(Admission::NotARegistry(what.into()));
        };
        self.learn(&answer.endpoint, &challenge);
        if let Some(host) = self.other_host(&answer) {
            return Ok(Admission::Redirected { host, asks: true });
        }
        if self.credentials.is_none() {
            return Ok(match challenge {
                Challenge::Basic => Admission::Required,
                Challenge::Bearer { .. } => Admission::Anonymous,
            });
        }
        let authorization = match self.authorization(&challenge, &self.base, "").await {
            Ok(Some(secret)) => secret,
            // The credentials are a token, and it asks for a password.
            Ok(None) => return Ok(Admission::Refused(answer.status)),
            Err(NoToken::Status(status)) => return Ok(Admission::Refused(status)),
            Err(NoToken::Unreachable(failed)) => return Err(failed),
        };
        let again = self.ask(&Method::GET, self.base.clone(), Some(&authorization));
        let answer = again.await?;
        match (answer.status, self.other_host(&answer)) {
            // No credentials were sent to the other host.
            (200 | 401 | 403, Some(host)) => Ok(Admission::Redirected { host, asks: false }),
            (200, None) => Ok(Admission::Accepted),
            (401 | 403, None) => Ok(Admission::Refused(answer.status)),
            (status, _) => Err(format!("it answered {status}").into()),
        }
    }

    /// The host that it redirected to, fit to print.
    fn other_host(&self, answer: &Answer) -> Option<String> {
        let own = answer.endpoint.same_host(&self.base);
        (!own).then(|| self.shown(&answer.endpoint.host))
    }
}
