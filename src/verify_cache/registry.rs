//! One registry, asked as little as possible: whether it takes the credentials,
//! and which digest a name has. A HEAD is not counted by Docker Hub, a GET of a
//! manifest is, so HEAD it is wherever the registry answers it in full. It
//! counts what it sends, and decides nothing about images.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use hyper::Method;
use sha2::{Digest, Sha256};

use super::challenge::{Challenge, parse};
use super::token::{Token, bearer};
use super::wire::{Answer, Ask, Url, Wire};
use crate::host::clock::monotonic;
use crate::model::Store;
use crate::reference::Reference;
use crate::secret::{Credentials, Secret};
use crate::text::{encode, escape};

/// What the engine accepts, so that the same digest is named.
const ACCEPT: (&str, &str) = (
    "accept",
    "application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json",
);

/// What was sent, and what the registry says is left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cost {
    /// HEADs of manifests.
    pub heads: u32,
    /// GETs of manifests: what Docker Hub counts.
    pub gets: u32,
    /// Everything else: /v2/ and tokens, which nobody counts.
    pub others: u32,
    /// The lowest RateLimit-Remaining, as the registry gave it, fit to print.
    pub left: Option<String>,
}

/// Whether the registry lets us in; or, of what is open or anonymous, a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// It asks for nothing at /v2/: each repository may.
    Open,
    /// It takes the credentials.
    Taken,
    /// There are none, and its token server decides for each repository.
    Anonymous,
    /// It refuses the credentials: status.
    Refused(u16),
    /// It wants credentials, or others than there are.
    Wanted,
    /// It wants credentials where this engine sends none.
    NeverSent,
    /// No answer: why.
    Unreachable(String),
    /// An answer that is not a registry's: what.
    Odd(String),
}

/// What a name leads to, upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// This digest.
    Digest(String),
    /// Nothing: 404.
    Gone,
    /// It may not be asked: status.
    Denied(u16),
    /// Too many requests.
    Limited,
    /// It could not be asked: why.
    Unknown(String),
}

/// One registry.
pub struct Registry<'a> {
    wire: &'a Wire,
    base: Url,
    credentials: Option<&'a Credentials>,
    refused: Cell<bool>,
    store: Store,
    challenge: RefCell<Option<Challenge>>,
    tokens: RefCell<BTreeMap<String, Token>>,
    cost: RefCell<Cost>,
    broken_head: Cell<bool>,
}

impl<'a> Registry<'a> {
    /// `name` is the first part of its images' names; `store`: the engine's, which
    /// decides when it sends credentials.
    pub fn new(
        wire: &'a Wire,
        name: &str,
        credentials: Option<&'a Credentials>,
        store: Store,
    ) -> Self {
        let host = match name {
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        Self {
            wire,
            base: Url {
                host: host.to_owned(),
                plain: wire.may_be_plain(host),
                path: "/v2/".into(),
            },
            credentials,
            refused: Cell::new(false),
            store,
            challenge: RefCell::default(),
            tokens: RefCell::default(),
            cost: RefCell::default(),
            broken_head: Cell::new(false),
        }
    }

    /// What was sent so far.
    pub fn cost(&self) -> Cost {
        self.cost.borrow().clone()
    }

    /// Refused once, they are not sent again: accounts get locked.
    fn credentials(&self) -> Option<&'a Credentials> {
        self.credentials.filter(|_| !self.refused.get())
    }

    /// Whether it lets us in, as `docker login` asks: for no repository, so that
    /// one that is denied condemns no other.
    pub async fn enter(&self) -> Entry {
        let entry = self.knock().await;
        self.refused.set(matches!(entry, Entry::Refused(_)));
        entry
    }

    async fn knock(&self) -> Entry {
        let answer = match self.ask(&Method::GET, "/v2/", None).await {
            Ok(answer) => answer,
            Err(why) => return Entry::Unreachable(why),
        };
        match answer.status {
            200 => return Entry::Open,
            401 => {}
            429 | 500..=599 => return Entry::Unreachable(format!("it answered {}", answer.status)),
            status => return Entry::Odd(format!("GET /v2/ answered {status}")),
        }
        let Some(challenge) = challenge(&answer) else {
            return Entry::Odd("it answered 401 and does not say what it wants".into());
        };
        self.challenge.replace(Some(challenge.clone()));
        if self.credentials.is_none() {
            return match challenge {
                Challenge::Basic => Entry::Wanted,
                Challenge::Bearer { .. } => Entry::Anonymous,
            };
        }
        let authorization = match self.authorization(&challenge, "").await {
            Ok(Some(secret)) => secret,
            // A token, where it wants a password.
            Ok(None) => return Entry::Refused(answer.status),
            Err(Denied::Status(status)) => return Entry::Refused(status),
            Err(Denied::Unreachable(why)) => return Entry::Unreachable(why),
        };
        match self.ask(&Method::GET, "/v2/", Some(&authorization)).await {
            Ok(answer) if answer.status == 200 => Entry::Taken,
            Ok(answer) if matches!(answer.status, 401 | 403) => Entry::Refused(answer.status),
            Ok(answer) => Entry::Unreachable(format!("it answered {}", answer.status)),
            Err(why) => Entry::Unreachable(why),
        }
    }

    /// The digest that a name has there now: by a HEAD, and by a GET only
    /// where the answer to HEAD names no digest.
    pub async fn digest(&self, name: &Reference) -> Upstream {
        let path = name.path();
        let which = name.digest().or(name.tag()).unwrap_or("latest");
        let target = format!("/v2/{path}/manifests/{which}");
        let head = if self.broken_head.get() {
            None
        } else {
            match self.authorized(&Method::HEAD, &target, path).await {
                Ok(answer) => match read(&answer) {
                    Upstream::Unknown(_) if answer.status == 200 => None,
                    seen => Some(seen),
                },
                Err(why) => Some(Upstream::Unknown(why)),
            }
        };
        if let Some(seen) = head {
            return seen;
        }
        self.broken_head.set(true);
        match self.authorized(&Method::GET, &target, path).await {
            Ok(answer) => match read(&answer) {
                Upstream::Unknown(_) if answer.status == 200 => {
                    Upstream::Digest(format!("sha256:{:x}", Sha256::digest(&answer.body)))
                }
                seen => seen,
            },
            Err(why) => Upstream::Unknown(why),
        }
    }

    async fn authorized(
        &self,
        method: &Method,
        target: &str,
        path: &str,
    ) -> Result<Answer, String> {
        let known = self.challenge.borrow().clone();
        let mut secret = None;
        if let Some(challenge) = &known {
            secret = self.admission(challenge, path).await?;
        }
        let answer = self.ask(method, target, secret.as_ref()).await?;
        // On a graphdriver the engine heeds the challenge of /v2/ alone.
        let heeded = self.store != Store::Graphdriver;
        let first = answer.status == 401 && known.is_none() && heeded;
        let Some(challenge) = challenge(&answer).filter(|_| first) else {
            return Ok(answer);
        };
        self.challenge.replace(Some(challenge.clone()));
        match self.admission(&challenge, path).await? {
            Some(secret) => self.ask(method, target, Some(&secret)).await,
            None => Ok(answer),
        }
    }

    /// The header's value. Where it is denied: `None`, for the registry's own
    /// answer to who asks without says it best. A token server that cannot be
    /// asked denies nothing.
    async fn admission(&self, challenge: &Challenge, path: &str) -> Result<Option<Secret>, String> {
        match self.authorization(challenge, path).await {
            Ok(secret) => Ok(secret),
            Err(Denied::Status(_)) => Ok(None),
            Err(Denied::Unreachable(why)) => Err(why),
        }
    }

    /// The header's value; `None`: there is nothing to give. No path: for /v2/.
    async fn authorization(
        &self,
        challenge: &Challenge,
        path: &str,
    ) -> Result<Option<Secret>, Denied> {
        if let Some(Credentials::RegistryToken(token)) = self.credentials() {
            return Ok(Some(bearer(token.expose())));
        }
        let (realm, service) = match challenge {
            Challenge::Basic => return Ok(self.credentials().and_then(Credentials::basic)),
            Challenge::Bearer { realm, service } => (realm, service.as_deref()),
        };
        if let Some(known) = self.tokens.borrow().get(path)
            && known.is_good(monotonic())
        {
            return Ok(Some(known.header().clone()));
        }
        let token = self.token(realm, service, path).await?;
        let header = token.header().clone();
        self.tokens.borrow_mut().insert(path.to_owned(), token);
        Ok(Some(header))
    }

    async fn token(&self, realm: &str, service: Option<&str>, path: &str) -> Result<Token, Denied> {
        let mut url = Url::parse(realm, &self.base)
            .filter(|url| !url.plain || (self.base.plain && self.wire.may_be_plain(&url.host)))
            .ok_or_else(|| {
                Denied::Unreachable(format!(
                    "it sends to a token server without TLS, {}",
                    escape(realm)
                ))
            })?;
        let service = service.map(|service| format!("service={}", encode(service)));
        let scope = encode(&format!("repository:{path}:pull"));
        let scope = (!path.is_empty()).then(|| format!("scope={scope}"));
        let query: Vec<String> = service.into_iter().chain(scope).collect();
        let query = query.join("&");
        let identity = match self.credentials() {
            Some(Credentials::IdentityToken(token)) => Some(token),
            _ => None,
        };
        let basic = self.credentials().and_then(Credentials::basic);
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
        let answer = self
            .wire
            .send(ask)
            .await
            .map_err(|why| Denied::Unreachable(format!("its token server: {why}")))?;
        match answer.status {
            200 => {}
            400..=403 => return Err(Denied::Status(answer.status)),
            status => {
                return Err(Denied::Unreachable(format!(
                    "its token server answered {status}"
                )));
            }
        }
        Token::read(&answer.body, asked)
            .ok_or_else(|| Denied::Unreachable("its token server gave no token".into()))
    }

    async fn ask(
        &self,
        method: &Method,
        path: &str,
        authorization: Option<&Secret>,
    ) -> Result<Answer, String> {
        {
            let mut cost = self.cost.borrow_mut();
            match (path, method) {
                ("/v2/", _) => cost.others += 1,
                (_, &Method::HEAD) => cost.heads += 1,
                _ => cost.gets += 1,
            }
        }
        let url = Url {
            path: path.to_owned(),
            ..self.base.clone()
        };
        let ask = Ask {
            method: method.clone(),
            url,
            authorization,
            headers: &[ACCEPT],
            form: None,
        };
        let answer = self.wire.send(ask).await?;
        if let Some(left) = answer.header("ratelimit-remaining") {
            let number = |text: &str| {
                text.split(';')
                    .next()
                    .and_then(|n| n.trim().parse::<u64>().ok())
            };
            let mut cost = self.cost.borrow_mut();
            let lower = cost
                .left
                .as_deref()
                .and_then(number)
                .is_none_or(|old| number(left).is_some_and(|new| new < old));
            if lower {
                cost.left = Some(escape(left));
            }
        }
        Ok(answer)
    }
}

enum Denied {
    Status(u16),
    Unreachable(String),
}

fn challenge(answer: &Answer) -> Option<Challenge> {
    let headers = answer.headers.get_all("www-authenticate");
    parse(headers.iter().filter_map(|value| value.to_str().ok()))
}

fn read(answer: &Answer) -> Upstream {
    match answer.status {
        200 => match answer.header("docker-content-digest") {
            Some(digest) if is_digest(digest) => Upstream::Digest(digest.to_owned()),
            _ => Upstream::Unknown("it names no digest".into()),
        },
        404 => Upstream::Gone,
        status @ (401 | 403) => Upstream::Denied(status),
        429 => Upstream::Limited,
        status => Upstream::Unknown(format!("it answered {status}")),
    }
}

fn is_digest(text: &str) -> bool {
    format!("x@{text}").parse::<Reference>().is_ok()
}

#[cfg(test)]
pub(super) mod served;

#[cfg(test)]
mod tests {
    use super::served::served;
    use super::*;
    use crate::testing::block_on;

    fn answer(status: u16, digest: Option<&str>) -> Answer {
        let mut headers = hyper::HeaderMap::new();
        if let Some(digest) = digest {
            headers.insert("docker-content-digest", digest.parse().unwrap());
        }
        Answer {
            status,
            headers,
            body: hyper::body::Bytes::new(),
        }
    }

    #[test]
    fn each_status_means_what_it_means() {
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(read(&answer(200, Some(&digest))), Upstream::Digest(digest));
        assert!(matches!(
            read(&answer(200, Some("sha256:x"))),
            Upstream::Unknown(_)
        ));
        assert!(matches!(read(&answer(200, None)), Upstream::Unknown(_)));
        assert_eq!(read(&answer(404, None)), Upstream::Gone);
        assert_eq!(read(&answer(401, None)), Upstream::Denied(401));
        assert_eq!(read(&answer(429, None)), Upstream::Limited);
        assert!(matches!(read(&answer(503, None)), Upstream::Unknown(_)));
    }

    fn entered(
        asked: &'static str,
        credentials: Option<&Credentials>,
    ) -> (Entry, Upstream, Cost, Vec<String>) {
        let (address, told) = served(asked);
        let wire = Wire::new(crate::engine::Insecure::default());
        let registry = Registry::new(&wire, &address, credentials, Store::Containerd);
        let name: Reference = format!("{address}/a/app:1").parse().unwrap();
        let (entry, upstream) =
            block_on(async { (registry.enter().await, registry.digest(&name).await) });
        (entry, upstream, registry.cost(), told.try_iter().collect())
    }

    /// What each name of the registry at the address leads to, and what was sent.
    fn asked_for(asked: &'static str, names: &[&str]) -> (Vec<Upstream>, Vec<String>) {
        let (address, told) = served(asked);
        let wire = Wire::new(crate::engine::Insecure::default());
        let registry = Registry::new(&wire, &address, None, Store::Containerd);
        let seen = names.iter().map(|name| {
            let name: Reference = format!("{address}/{name}").parse().unwrap();
            block_on(registry.digest(&name))
        });
        (seen.collect(), told.try_iter().collect())
    }

    #[test]
    fn a_token_server_that_does_not_answer_denies_nothing() {
        let (seen, _) = asked_for("once", &["a/app:1", "b/app:1"]);
        assert!(matches!(seen[0], Upstream::Digest(_)), "{seen:?}");
        assert!(
            matches!(&seen[1], Upstream::Unknown(why) if why.contains("503")),
            "{seen:?}"
        );
    }

    #[test]
    fn a_token_is_asked_for_anew_when_it_is_over() {
        let tokens = |asked| {
            let (seen, sent) = asked_for(asked, &["a/app:1", "a/app:2"]);
            assert!(seen.iter().all(|s| matches!(s, Upstream::Digest(_))));
            sent.iter().filter(|line| line.contains("/token")).count()
        };
        assert_eq!((tokens("anybody"), tokens("briefly")), (1, 2));
    }

    fn login(password: &str) -> Credentials {
        Credentials::Login {
            user: "me".into(),
            password: Secret::new(password),
        }
    }

    #[test]
    fn a_token_is_asked_for_the_registry_and_one_for_the_repository() {
        let (entry, upstream, cost, asked) = entered("login", Some(&login("hunter2")));
        assert_eq!(entry, Entry::Taken);
        assert!(matches!(upstream, Upstream::Digest(_)), "{upstream:?}");
        assert_eq!((cost.heads, cost.gets, cost.others), (1, 0, 4));
        let token = "/token?x=1&service=s%20t";
        assert_eq!(
            asked,
            [
                "GET /v2/ HTTP/1.1",
                &format!("GET {token} HTTP/1.1 Basic"),
                "GET /v2/ HTTP/1.1",
                &format!("GET {token}&scope=repository%3Aa%2Fapp%3Apull HTTP/1.1 Basic"),
                "HEAD /v2/a/app/manifests/1 HTTP/1.1"
            ]
        );
    }

    #[test]
    fn a_token_server_that_refuses_is_told_from_credentials_that_are_missing() {
        assert_eq!(
            entered("login", Some(&login("wrong"))).0,
            Entry::Refused(401)
        );
        for mode in ["login", "anybody"] {
            assert_eq!(entered(mode, None).0, Entry::Anonymous);
        }
        assert_eq!(entered("basic", None).0, Entry::Wanted);
        assert!(matches!(entered("login", None).1, Upstream::Denied(401)));
    }

    #[test]
    fn an_identity_token_is_exchanged() {
        let right = Credentials::IdentityToken(Secret::new("ID"));
        assert_eq!(entered("identity", Some(&right)).0, Entry::Taken);
        let wrong = Credentials::IdentityToken(Secret::new("OLD"));
        assert_eq!(entered("identity", Some(&wrong)).0, Entry::Refused(401));
        // It is no password.
        assert_eq!(entered("basic", Some(&right)).0, Entry::Refused(401));
        let sent = Credentials::RegistryToken(Secret::new("TOK"));
        assert_eq!(entered("nobody", Some(&sent)).0, Entry::Taken);
    }

    #[test]
    fn a_registry_that_is_not_there_cannot_be_reached() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let wire = Wire::new(crate::engine::Insecure::default());
        let registry = Registry::new(&wire, &address, None, Store::Containerd);
        let entry = block_on(registry.enter());
        assert!(matches!(entry, Entry::Unreachable(_)), "{entry:?}");
    }
}
