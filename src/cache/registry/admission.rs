//! What a registry's challenge is answered with. Secrets go to the registry's
//! own host and to the token server that this host names. A challenge of
//! another host, to which the registry sent on, gets at most a token that
//! anybody would get.

use hyper::Method;

use crate::cache::registry::Registry;
use crate::cache::registry::challenge::Challenge;
use crate::cache::registry::token::{Token, bearer};
use crate::cache::registry::wire::{Ask, Failed, Url};
use crate::host::clock::monotonic;
use crate::model::secret::{Credentials, Secret};
use crate::model::text::encode;

/// Why there is nothing to answer a challenge with.
pub enum Denied {
    Status(u16),
    Unreachable(Failed),
}

fn unreachable(why: impl Into<Failed>) -> Denied {
    Denied::Unreachable(why.into())
}

impl<'a> Registry<'a> {
    /// What this host may be given. Refused once, they are not sent again: accounts get locked.
    fn credentials(&self, host: &Url) -> Option<&'a Credentials> {
        let own = host.same_host(&self.base);
        self.credentials.filter(|_| own && !self.refused.get())
    }

    /// The header's value. Where it is denied: `None`, for the registry's own
    /// answer to who asks without says it best. A token server that cannot be
    /// asked denies nothing.
    pub(crate) async fn admission(
        &self,
        challenge: &Challenge,
        host: &Url,
        path: &str,
    ) -> Result<Option<Secret>, Failed> {
        match self.authorization(challenge, host, path).await {
            Ok(secret) => Ok(secret),
            Err(Denied::Status(_)) => Ok(None),
            Err(Denied::Unreachable(failed)) => Err(failed),
        }
    }

    /// The header's value for this host; `None`: there is nothing to give. No path: for /v2/.
    pub(crate) async fn authorization(
        &self,
        challenge: &Challenge,
        host: &Url,
        path: &str,
    ) -> Result<Option<Secret>, Denied> {
        let credentials = self.credentials(host);
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

    /// `host`: whose challenge it is.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        host: &Url,
        path: &str,
    ) -> Result<Token, Denied> {
        let astray = || unreachable(format!("it sends to a token server without TLS, {realm}"));
        let mut url = Url::parse(realm, host).ok_or_else(astray)?;
        if !self.wire.may_lead(host, &url).await {
            return Err(astray());
        }
        let service = service.map(|service| format!("service={}", encode(service)));
        let scope = encode(&format!("repository:{path}:pull"));
        let scope = (!path.is_empty()).then(|| format!("scope={scope}"));
        let query: Vec<String> = service.into_iter().chain(scope).collect();
        let query = query.join("&");
        let credentials = self.credentials(host);
        let identity = match credentials {
            Some(Credentials::IdentityToken(token)) => Some(token),
            _ => None,
        };
        let basic = credentials.and_then(Credentials::basic);
        let ask = if let Some(token) = identity {
            // As docker's, which always has a scope.
            let empty = if path.is_empty() { "&scope=" } else { "" };
            let form = format!(
                "grant_type=refresh_token&client_id=secateur&{query}{empty}&refresh_token={}",
                encode(token.expose())
            );
            Ask {
                method: Method::POST,
                url,
                authorization: None,
                headers: &[],
                form: Some(Secret::new(form)),
            }
        } else {
            let joint = if url.path.contains('?') { '&' } else { '?' };
            url.path = format!("{}{joint}{query}", url.path);
            Ask {
                method: Method::GET,
                url,
                authorization: basic.as_ref(),
                headers: &[],
                form: None,
            }
        };
        self.cost.borrow_mut().others += 1;
        let asked = monotonic();
        let answer = self.wire.send(ask).await.map_err(|failed| {
            Denied::Unreachable(Failed {
                why: format!("its token server: {}", failed.why),
                ..failed
            })
        })?;
        match answer.status {
            200 => {}
            400..=403 => return Err(Denied::Status(answer.status)),
            status => return Err(unreachable(format!("its token server answered {status}"))),
        }
        Token::read(&answer.body, asked)
            .ok_or_else(|| unreachable("its token server gave no token"))
    }
}
