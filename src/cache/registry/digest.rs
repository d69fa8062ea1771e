//! The digest that a name has in its registry. A HEAD is not counted by Docker
//! Hub, a GET of a manifest is. So a GET follows only where the engine would
//! send one, too.

use std::collections::BTreeSet;

use hyper::Method;

use crate::cache::registry::challenge::Challenge;
use crate::cache::registry::client::Registry;
use crate::cache::registry::transport::{Answer, Endpoint, Failed};
use crate::cache::registry::upstream::{Upstream, of_get, of_head};
use crate::model::Store;
use crate::model::reference::Reference;

impl Registry<'_> {
    pub async fn digest(&self, name: &Reference) -> Upstream {
        self.try_digest(name).await.unwrap_or_else(|failed| {
            let why = self.shown(&failed.why);
            if failed.silent {
                Upstream::Silent(why)
            } else {
                Upstream::Unknown(why)
            }
        })
    }

    async fn try_digest(&self, name: &Reference) -> Result<Upstream, Failed> {
        let (path, pin) = (name.path(), name.digest());
        let which = pin.or(name.tag()).unwrap_or("latest");
        let manifest = format!("/v2/{path}/manifests/{which}");
        if !self.broken_head.get() {
            let answer = self.authorized(&Method::HEAD, &manifest, path).await?;
            if let Some(upstream) = of_head(&answer, self.store, pin) {
                return Ok(upstream);
            }
        }
        let answer = self.authorized(&Method::GET, &manifest, path).await?;
        let upstream = of_get(&answer, pin, |text| self.shown(text));
        if matches!(upstream, Upstream::Digest(_)) {
            self.broken_head.set(true);
        }
        Ok(upstream)
    }

    /// Asks with the authorization that the challenges call for.
    async fn authorized(
        &self,
        method: &Method,
        manifest: &str,
        path: &str,
    ) -> Result<Answer, Failed> {
        let endpoint = Endpoint {
            path: manifest.to_owned(),
            ..self.base.clone()
        };
        let mut tried = BTreeSet::new();
        let mut secret = None;
        if let Some(challenge) = self.challenge_of(&self.base) {
            tried.insert(self.base.host.clone());
            secret = self.granted(&challenge, &self.base, path).await?;
        }
        let mut answer = self.ask(method, endpoint, secret.as_ref()).await?;
        // Two hosts: the registry itself, and the one that it redirects to.
        for _ in 0..2 {
            if answer.status != 401 || !tried.insert(answer.endpoint.host.clone()) {
                break;
            }
            // On a graphdriver the engine heeds the challenge of /v2/ alone.
            let challenge = match self.store {
                Store::Graphdriver => self.challenge_of(&answer.endpoint),
                Store::Containerd | Store::Podman => Challenge::of(&answer),
            };
            let Some(challenge) = challenge else { break };
            self.learn(&answer.endpoint, &challenge);
            match self.granted(&challenge, &answer.endpoint, path).await? {
                Some(secret) => answer = self.ask(method, answer.endpoint, Some(&secret)).await?,
                None => break,
            }
        }
        Ok(answer)
    }
}
