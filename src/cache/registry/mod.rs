//! One registry, asked as little as possible: whether it takes the credentials,
//! and which digest a name has. A HEAD is not counted by Docker Hub, a GET of a
//! manifest is, so HEAD it is wherever the registry answers it in full, or the
//! engine would not ask again. It counts what it sends, and decides nothing
//! about images.
//!
//! A registry may send on to another host. What that host asks for is not the
//! registry's wish: see [`admission`].

mod admission;
pub mod challenge;
#[cfg(test)]
pub(crate) mod served;
pub mod token;
mod upstream;
pub mod wire;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use hyper::Method;

use crate::cache::registry::challenge::{Challenge, parse};
use crate::cache::registry::token::Token;
use crate::cache::registry::wire::{Answer, Ask, Failed, Scheme, Url, Wire};
use crate::model::Store;
use crate::model::reference::Reference;
use crate::model::secret::{Credentials, Secret};
use crate::model::text::escape;
use admission::Denied;
pub use upstream::Upstream;

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
    /// Another host answers in its place, so that nothing was tried: each repository may tell.
    Elsewhere {
        /// Which, fit to print.
        host: String,
        /// It wants credentials, or a token.
        asks: bool,
    },
    /// The engine would give the credentials to this other host, we do not.
    NotTried(String),
    /// This other host wants credentials, and the engine gives it none.
    Kept(String),
    /// Asked without credentials, it has nothing of that name (404), or hides it.
    Hidden,
    /// It refuses the credentials: status.
    Refused(u16),
    /// It wants credentials, or others than there are.
    Wanted,
    /// It wants credentials where this engine sends none.
    NeverSent,
    /// The run gave registries up before: why.
    NotAsked(String),
    /// No answer: why.
    Unreachable(String),
    /// An answer that is not a registry's: what.
    Odd(String),
}

/// One registry.
pub struct Registry<'a> {
    wire: &'a Wire,
    base: Url,
    credentials: Option<&'a Credentials>,
    refused: Cell<bool>,
    store: Store,
    /// By the host whose it is.
    challenges: RefCell<BTreeMap<String, Challenge>>,
    /// By the host whose challenge asked for it, and the repository.
    tokens: RefCell<BTreeMap<(String, String), Token>>,
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
                scheme: Scheme::AsTheEngine,
                path: "/v2/".into(),
            },
            credentials,
            refused: Cell::new(false),
            store,
            challenges: RefCell::default(),
            tokens: RefCell::default(),
            cost: RefCell::default(),
            broken_head: Cell::new(false),
        }
    }

    /// What was sent so far.
    pub fn cost(&self) -> Cost {
        self.cost.borrow().clone()
    }

    /// Foreign text, fit to print: a registry may say a password again.
    fn shown(&self, text: &str) -> String {
        escape(&Credentials::cleared(self.credentials, text))
    }

    /// Whether it lets us in, as `docker login` asks: for no repository, so that
    /// one that is denied condemns no other.
    pub async fn enter(&self) -> Entry {
        let entry = self.knock().await;
        self.refused.set(matches!(entry, Entry::Refused(_)));
        entry
    }

    async fn knock(&self) -> Entry {
        let unreachable = |failed: Failed| Entry::Unreachable(self.shown(&failed.why));
        let answer = match self.ask(&Method::GET, self.base.clone(), None).await {
            Ok(answer) => answer,
            Err(failed) => return unreachable(failed),
        };
        match (answer.status, self.other(&answer)) {
            (200, Some(host)) => return Entry::Elsewhere { host, asks: false },
            (200, None) => return Entry::Open,
            (401, _) => {}
            (429 | 500..=599, _) => {
                return Entry::Unreachable(format!("it answered {}", answer.status));
            }
            (status, _) => return Entry::Odd(format!("GET /v2/ answered {status}")),
        }
        let Some(challenge) = challenge(&answer) else {
            return Entry::Odd("it answered 401 and does not say what it wants".into());
        };
        self.learn(&answer.url, &challenge);
        if let Some(host) = self.other(&answer) {
            return Entry::Elsewhere { host, asks: true };
        }
        if self.credentials.is_none() {
            return match challenge {
                Challenge::Basic => Entry::Wanted,
                Challenge::Bearer { .. } => Entry::Anonymous,
            };
        }
        let authorization = match self.authorization(&challenge, &self.base, "").await {
            Ok(Some(secret)) => secret,
            // A token, where it wants a password.
            Ok(None) => return Entry::Refused(answer.status),
            Err(Denied::Status(status)) => return Entry::Refused(status),
            Err(Denied::Unreachable(failed)) => return unreachable(failed),
        };
        let again = self.ask(&Method::GET, self.base.clone(), Some(&authorization));
        let answer = match again.await {
            Ok(answer) => answer,
            Err(failed) => return unreachable(failed),
        };
        match (answer.status, self.other(&answer)) {
            // Whoever it is was given no credentials.
            (200 | 401 | 403, Some(host)) => Entry::Elsewhere { host, asks: false },
            (200, None) => Entry::Taken,
            (401 | 403, None) => Entry::Refused(answer.status),
            (status, _) => Entry::Unreachable(format!("it answered {status}")),
        }
    }

    /// Who answered in its place, fit to print.
    fn other(&self, answer: &Answer) -> Option<String> {
        let own = answer.url.same_host(&self.base);
        (!own).then(|| self.shown(&answer.url.host))
    }

    fn learn(&self, url: &Url, challenge: &Challenge) {
        let mut known = self.challenges.borrow_mut();
        known.insert(url.host.clone(), challenge.clone());
    }

    /// The digest that a name has there now: by a HEAD, and by a GET only where
    /// the engine would ask so, too.
    pub async fn digest(&self, name: &Reference) -> Upstream {
        let path = name.path();
        let which = name.digest().or(name.tag()).unwrap_or("latest");
        let target = format!("/v2/{path}/manifests/{which}");
        let failed = |failed: Failed| {
            let why = self.shown(&failed.why);
            if failed.silent {
                Upstream::Silent(why)
            } else {
                Upstream::Unknown(why)
            }
        };
        if !self.broken_head.get() {
            match self.authorized(&Method::HEAD, &target, path).await {
                Err(why) => return failed(why),
                Ok(answer) => {
                    if let Some(seen) = upstream::of_head(&answer, self.store, name.digest()) {
                        return seen;
                    }
                }
            }
        }
        match self.authorized(&Method::GET, &target, path).await {
            Err(why) => failed(why),
            Ok(answer) => {
                let seen = upstream::of_get(&answer, name.digest(), |text| self.shown(text));
                if matches!(seen, Upstream::Digest(_)) {
                    self.broken_head.set(true);
                }
                seen
            }
        }
    }

    async fn authorized(
        &self,
        method: &Method,
        target: &str,
        path: &str,
    ) -> Result<Answer, Failed> {
        let url = Url {
            path: target.to_owned(),
            ..self.base.clone()
        };
        let known = self.challenge_of(&self.base);
        let mut asked = BTreeSet::new();
        let mut secret = None;
        if let Some(challenge) = known {
            asked.insert(self.base.host.clone());
            secret = self.admission(&challenge, &self.base, path).await?;
        }
        let mut answer = self.ask(method, url, secret.as_ref()).await?;
        // The registry itself, and one that it sends on to.
        for _ in 0..2 {
            if answer.status != 401 || !asked.insert(answer.url.host.clone()) {
                break;
            }
            // On a graphdriver the engine heeds the challenge of /v2/ alone.
            let challenge = match self.store {
                Store::Graphdriver => self.challenge_of(&answer.url),
                Store::Containerd | Store::Podman => challenge(&answer),
            };
            let Some(challenge) = challenge else { break };
            self.learn(&answer.url, &challenge);
            match self.admission(&challenge, &answer.url, path).await? {
                Some(secret) => answer = self.ask(method, answer.url, Some(&secret)).await?,
                None => break,
            }
        }
        Ok(answer)
    }

    fn challenge_of(&self, url: &Url) -> Option<Challenge> {
        self.challenges.borrow().get(&url.host).cloned()
    }

    async fn ask(
        &self,
        method: &Method,
        url: Url,
        authorization: Option<&Secret>,
    ) -> Result<Answer, Failed> {
        {
            let mut cost = self.cost.borrow_mut();
            match (url.path.contains("/manifests/"), method) {
                (false, _) => cost.others += 1,
                (true, &Method::HEAD) => cost.heads += 1,
                (true, _) => cost.gets += 1,
            }
        }
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
                cost.left = Some(self.shown(left));
            }
        }
        Ok(answer)
    }
}

fn challenge(answer: &Answer) -> Option<Challenge> {
    let headers = answer.headers.get_all("www-authenticate");
    parse(headers.iter().filter_map(|value| value.to_str().ok()))
}

#[cfg(test)]
mod tests {
    use super::served::served;
    use super::*;
    use crate::testing::block_on;

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

    #[test]
    fn what_a_registry_says_again_is_cleared_of_the_password_before_it_is_cut() {
        let wire = Wire::new(crate::engine::Insecure::default());
        let login = login("hunter2%");
        let registry = Registry::new(&wire, "r.example", Some(&login), Store::Containerd);
        for said in ["hunter2%", "hunter2%25"] {
            let shown = registry.shown(&format!("{}{said}", "x".repeat(197)));
            assert!(!shown.contains("hu"), "{shown}");
        }
    }
}
