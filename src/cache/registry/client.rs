//! The state of one registry in a run: challenges, tokens and cost.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use hyper::Method;

use crate::cache::registry::challenge::Challenge;
use crate::cache::registry::cost::Cost;
use crate::cache::registry::token::Token;
use crate::cache::registry::transport::{
    Answer, Endpoint, Request, RequestError, Scheme, StreamedAnswer, Transport,
};
use crate::model::Store;
use crate::model::secret::{Credentials, Secret};
use crate::model::text::escape;

/// The types that engines accept, so that the registry's digest is the one that an engine sees.
const ACCEPT: &str = "application/vnd.docker.distribution.manifest.v2+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.oci.image.index.v1+json, \
                      application/vnd.oci.image.manifest.v1+json";

pub struct Registry {
    pub(super) transport: Rc<Transport>,
    /// /v2/ on the registry's own host.
    pub(super) base: Endpoint,
    pub(super) credentials: Option<Credentials>,
    pub(super) refused: Cell<bool>,
    pub(super) store: Store,
    /// The key is the host that sent it.
    challenges: RefCell<BTreeMap<String, Challenge>>,
    /// The key is the host that asked for it, and the repository.
    pub(super) tokens: RefCell<BTreeMap<(String, String), Token>>,
    pub(super) cost: RefCell<Cost>,
    /// Whether its HEADs lack what its GETs have.
    pub(super) broken_head: Cell<bool>,
}

impl Registry {
    /// `name`: the domain of image names. `store`: the engine's, which decides when credentials
    /// are sent.
    pub fn new(
        transport: Rc<Transport>,
        name: &str,
        credentials: Option<Credentials>,
        store: Store,
    ) -> Self {
        let host = match name {
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        Self {
            transport,
            base: Endpoint {
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

    /// The requests so far.
    pub fn cost(&self) -> Cost {
        self.cost.borrow().clone()
    }

    /// Makes foreign text fit to print. A registry may repeat a password.
    pub(super) fn shown(&self, text: &str) -> String {
        escape(&Credentials::cleared(self.credentials.as_ref(), text))
    }

    pub(super) fn learn(&self, endpoint: &Endpoint, challenge: &Challenge) {
        let mut known = self.challenges.borrow_mut();
        known.insert(endpoint.host.clone(), challenge.clone());
    }

    pub(super) fn challenge_of(&self, endpoint: &Endpoint) -> Option<Challenge> {
        self.challenges.borrow().get(&endpoint.host).cloned()
    }

    pub(super) async fn ask(
        &self,
        method: &Method,
        endpoint: Endpoint,
        authorization: Option<&Secret>,
    ) -> Result<Answer, RequestError> {
        let answer = self.open(method, endpoint, authorization).await?;
        answer.whole().await
    }

    /// Leaves the body to the caller.
    async fn open(
        &self,
        method: &Method,
        endpoint: Endpoint,
        authorization: Option<&Secret>,
    ) -> Result<StreamedAnswer, RequestError> {
        self.cost.borrow_mut().count(method, &endpoint.path);
        let request = Request {
            method: method.clone(),
            endpoint,
            authorization,
            accept: Some(ACCEPT),
            form: None,
        };
        let answer = self.transport.open(request).await?;
        if let Some(left) = answer.header("ratelimit-remaining") {
            let shown = self.shown(left);
            self.cost.borrow_mut().limited(left, shown);
        }
        Ok(answer)
    }

    /// Requests the URL path `what` of the repository `path`, answering challenges. Leaves the
    /// body to the caller.
    pub(super) async fn authorized(
        &self,
        method: &Method,
        what: &str,
        path: &str,
    ) -> Result<StreamedAnswer, RequestError> {
        let endpoint = Endpoint {
            path: what.to_owned(),
            ..self.base.clone()
        };
        let mut tried = BTreeSet::new();
        let mut secret = None;
        if let Some(challenge) = self.challenge_of(&self.base) {
            tried.insert(self.base.host.clone());
            secret = self.granted(&challenge, &self.base, path).await?;
        }
        let mut answer = self.open(method, endpoint, secret.as_ref()).await?;
        // At most two hosts: the registry, and the one that it redirects to.
        for _ in 0..2 {
            if answer.status != 401 || !tried.insert(answer.endpoint.host.clone()) {
                break;
            }
            // A graphdriver engine only obeys the challenge of /v2/.
            let challenge = match self.store {
                Store::Graphdriver => self.challenge_of(&answer.endpoint),
                Store::Containerd | Store::Podman => Challenge::of(&answer.headers),
            };
            let Some(challenge) = challenge else { break };
            self.learn(&answer.endpoint, &challenge);
            match self.granted(&challenge, &answer.endpoint, path).await? {
                Some(secret) => answer = self.open(method, answer.endpoint, Some(&secret)).await?,
                None => break,
            }
        }
        Ok(answer)
    }
}
