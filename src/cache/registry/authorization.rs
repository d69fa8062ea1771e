//! How a registry's challenge is answered. Secrets go to the registry's own host
//! and to the token server that this host names. Another host, to which the
//! registry redirects, gets at most a token that anybody would get.

use hyper::Method;

use crate::cache::registry::challenge::Challenge;
use crate::cache::registry::client::Registry;
use crate::cache::registry::token::{Token, bearer};
use crate::cache::registry::transport::{Endpoint, Failed, Request};
use crate::host::clock::monotonic;
use crate::model::secret::{Credentials, Secret};
use crate::model::text::encode;

/// Why there is no token.
pub enum Denied {
    /// The token server refuses with this status.
    Status(u16),
    Unreachable(Failed),
}

impl<T: Into<Failed>> From<T> for Denied {
    fn from(why: T) -> Self {
        Self::Unreachable(why.into())
    }
}

impl<'a> Registry<'a> {
    /// What this host may be given. Refused once, credentials are not sent again:
    /// accounts get locked.
    fn credentials_for(&self, host: &Endpoint) -> Option<&'a Credentials> {
        let own = host.same_host(&self.base);
        self.credentials.filter(|_| own && !self.refused.get())
    }

    /// The value of `Authorization` for a repository. It is `None` also where the
    /// token server denies it: the registry's answer to a request without one says
    /// more. A token server that cannot be asked denies nothing.
    pub(super) async fn granted(
        &self,
        challenge: &Challenge,
        host: &Endpoint,
        path: &str,
    ) -> Result<Option<Secret>, Failed> {
        match self.authorization(challenge, host, path).await {
            Ok(secret) => Ok(secret),
            Err(Denied::Status(_)) => Ok(None),
            Err(Denied::Unreachable(failed)) => Err(failed),
        }
    }

    /// The value of `Authorization` for the host that sent the challenge; `None`:
    /// there is nothing to give. `path`: the repository, empty for /v2/.
    pub(super) async fn authorization(
        &self,
        challenge: &Challenge,
        host: &Endpoint,
        path: &str,
    ) -> Result<Option<Secret>, Denied> {
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
            && known.is_good(monotonic())
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
    ) -> Result<Token, Denied> {
        let astray = || format!("it sends to a token server without TLS, {realm}");
        let mut server = Endpoint::parse(realm, host).ok_or_else(astray)?;
        if !self.transport.may_lead(host, &server).await {
            return Err(astray().into());
        }
        let credentials = self.credentials_for(host);
        let basic = credentials.and_then(Credentials::basic);
        let query = query(service, path);
        let mut form = None;
        if let Some(Credentials::IdentityToken(token)) = credentials {
            // docker's form always has a scope.
            let empty = if path.is_empty() { "&scope=" } else { "" };
            form = Some(Secret::new(format!(
                "grant_type=refresh_token&client_id=secateur&{query}{empty}&refresh_token={}",
                encode(token.expose())
            )));
        } else {
            let joint = if server.path.contains('?') { '&' } else { '?' };
            server.path = format!("{}{joint}{query}", server.path);
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
            .map_err(|failed| Failed {
                why: format!("its token server: {}", failed.why),
                ..failed
            })?;
        match answer.status {
            200 => Ok(Token::read(&answer.body, asked).ok_or("its token server gave no token")?),
            400..=403 => Err(Denied::Status(answer.status)),
            status => Err(format!("its token server answered {status}").into()),
        }
    }
}

/// What the token is for.
fn query(service: Option<&str>, path: &str) -> String {
    let service = service.map(|service| format!("service={}", encode(service)));
    let scope = encode(&format!("repository:{path}:pull"));
    let scope = (!path.is_empty()).then(|| format!("scope={scope}"));
    let parts: Vec<String> = service.into_iter().chain(scope).collect();
    parts.join("&")
}
