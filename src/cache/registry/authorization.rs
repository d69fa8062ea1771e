//! Answers a registry's challenge. Secrets go only to the registry's own host and to the token
//! server that it names. Another host, to which the registry redirects, gets at most a token that
//! anybody can get.

use hyper::Method;

use crate::cache::registry::challenge::Challenge;
use crate::cache::registry::client::Registry;
use crate::cache::registry::token::{Token, bearer};
use crate::cache::registry::transport::{Endpoint, Request, RequestError};
use crate::host::clock::monotonic;
use crate::model::secret::{Credentials, Secret};
use crate::model::text::encode;

/// Why there is no token.
pub enum NoToken {
    /// The HTTP status of the token server's refusal.
    Status(u16),
    Unreachable(RequestError),
}

impl<T: Into<RequestError>> From<T> for NoToken {
    fn from(why: T) -> Self {
        Self::Unreachable(why.into())
    }
}

impl Registry {
    /// The credentials that may be sent to this host. Refused credentials are not sent again:
    /// accounts get locked.
    fn credentials_for(&self, host: &Endpoint) -> Option<&Credentials> {
        let own = host.same_host(&self.base);
        self.credentials
            .as_ref()
            .filter(|_| own && !self.refused.get())
    }

    /// The value of `Authorization` for a repository. `None` even if the token server denies a
    /// token: the registry's answer to a request without one tells more. A token server that
    /// cannot be asked is an error.
    pub(super) async fn granted(
        &self,
        challenge: &Challenge,
        host: &Endpoint,
        path: &str,
    ) -> Result<Option<Secret>, RequestError> {
        match self.authorization(challenge, host, path).await {
            Ok(secret) => Ok(secret),
            Err(NoToken::Status(_)) => Ok(None),
            Err(NoToken::Unreachable(failed)) => Err(failed),
        }
    }

    /// The value of `Authorization` for the host that sent the challenge; `None` if there is
    /// nothing to send. `path`: the repository, empty for /v2/.
    pub(super) async fn authorization(
        &self,
        challenge: &Challenge,
        host: &Endpoint,
        path: &str,
    ) -> Result<Option<Secret>, NoToken> {
        let credentials = self.credentials_for(host);
        if let Some(Credentials::RegistryToken(token)) = credentials {
            return Ok(Some(bearer(token.expose())));
        }
        let (realm, service) = match challenge {
            Challenge::Basic => return Ok(credentials.and_then(Credentials::basic)),
            Challenge::Bearer { realm, service } => (realm, service.as_deref()),
        };
        let key = (host.host.clone(), path.to_owned());
        if let Some(known) = self.tokens.borrow().get(&key)
            && known.is_valid(monotonic())
        {
            return Ok(Some(known.header().clone()));
        }
        let token = self.token(realm, service, host, path).await?;
        let header = token.header().clone();
        self.tokens.borrow_mut().insert(key, token);
        Ok(Some(header))
    }

    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        host: &Endpoint,
        path: &str,
    ) -> Result<Token, NoToken> {
        let without_tls = || format!("it sends to a token server without TLS, {realm}");
        let mut server = Endpoint::parse(realm, host).ok_or_else(without_tls)?;
        if !self.transport.may_lead(host, &server).await {
            return Err(without_tls().into());
        }
        let credentials = self.credentials_for(host);
        let basic = credentials.and_then(Credentials::basic);
        let query = query(service, path);
        let mut form = None;
        if let Some(Credentials::IdentityToken(token)) = credentials {
            // docker always sends a scope in this form.
            let empty = if path.is_empty() { "&scope=" } else { "" };
            form = Some(Secret::new(format!(
                "grant_type=refresh_token&client_id=secateur&{query}{empty}&refresh_token={}",
                encode(token.expose())
            )));
        } else {
            let separator = if server.path.contains('?') { '&' } else { '?' };
            server.path = format!("{}{separator}{query}", server.path);
        }
        let request = Request {
            method: if form.is_some() {
                Method::POST
            } else {
                Method::GET
            },
            endpoint: server,
            authorization: basic.as_ref(),
            accept: None,
            form,
        };
        self.cost.borrow_mut().others += 1;
        let asked = monotonic();
        let answer = self
            .transport
            .send(request)
            .await
            .map_err(|failed| RequestError {
                why: format!("its token server: {}", failed.why),
                ..failed
            })?;
        match answer.status {
            200 => Ok(Token::read(&answer.body, asked).ok_or("its token server gave no token")?),
            400..=403 => Err(NoToken::Status(answer.status)),
            status => Err(format!("its token server answered {status}").into()),
        }
    }
}

/// The query that asks for a token.
fn query(service: Option<&str>, path: &str) -> String {
    let service = service.map(|service| format!("service={}", encode(service)));
    let scope = encode(&format!("repository:{path}:pull"));
    let scope = (!path.is_empty()).then(|| format!("scope={scope}"));
    let parts: Vec<String> = service.into_iter().chain(scope).collect();
    parts.join("&")
}
