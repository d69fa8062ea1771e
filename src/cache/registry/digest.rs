//! The digest of a name in its registry. Docker Hub counts a GET of a manifest as a pull, and a
//! HEAD not, so a GET is only sent where the engine would send one too.

use hyper::Method;

use crate::cache::registry::client::Registry;
use crate::cache::registry::transport::RequestError;
use crate::cache::registry::upstream::{Upstream, of_get, of_head};
use crate::model::reference::Reference;

impl Registry {
    pub async fn digest(&self, name: &Reference) -> Upstream {
        let seen = self.try_digest(name).await;
        seen.unwrap_or_else(|failed| self.failed(&failed))
    }

    async fn try_digest(&self, name: &Reference) -> Result<Upstream, RequestError> {
        let (path, pin) = (name.path(), name.digest());
        let which = pin.or(name.tag()).unwrap_or("latest");
        let manifest = format!("/v2/{path}/manifests/{which}");
        if !self.broken_head.get() {
            let answer = self.authorized(&Method::HEAD, &manifest, path).await?;
            let answer = answer.whole().await?;
            if let Some(upstream) = of_head(&answer, self.store, pin) {
                return Ok(upstream);
            }
        }
        let answer = self.authorized(&Method::GET, &manifest, path).await?;
        let answer = answer.whole().await?;
        let upstream = of_get(&answer, pin, |text| self.shown(text));
        if matches!(upstream, Upstream::Digest(_)) {
            self.broken_head.set(true);
        }
        Ok(upstream)
    }
}
