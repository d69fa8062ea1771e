//! A registry of this run. It is opened once, so that refused credentials are sent only once, and
//! a registry that does not answer is given up.

use std::rc::Rc;

use crate::cache::checks::authenticated;
use crate::cache::credentials::{Finder, Lookup};
use crate::cache::questions::time_budget::{TimeBudget, Timeouts};
use crate::cache::registry::{Admission, Registry, Transport, Upstream};
use crate::model::Store;
use crate::model::reference::Reference;
use crate::model::secret::Credentials;
use crate::model::text::escape;

pub struct OpenRegistry {
    /// As in image names, fit to print.
    pub(super) name: String,
    pub registry: Registry,
    pub(super) found: Lookup,
    /// The answer to the first request.
    pub(super) admission: Admission,
    timeouts: Timeouts,
}

impl OpenRegistry {
    /// Looks for credentials, and sends the first request if the budget allows.
    pub(super) async fn open(
        name: &str,
        transport: Rc<Transport>,
        finder: &Finder,
        store: Store,
        time_budget: &TimeBudget,
    ) -> Self {
        let found = finder.find(name).await;
        let registry = Registry::new(transport, name, credentials(&found).cloned(), store);
        let admission = match time_budget.exhausted() {
            None => registry.probe().await,
            Some(why) => Admission::NotAsked(why),
        };
        Self {
            name: escape(name),
            registry,
            found,
            admission,
            timeouts: Timeouts::default(),
        }
    }

    pub(super) fn credentials(&self) -> Option<&Credentials> {
        credentials(&self.found)
    }

    /// The status with which it refuses the credentials.
    pub(super) fn refusal(&self) -> Option<u16> {
        match self.admission {
            Admission::Refused(status) => Some(status),
            _ => None,
        }
    }

    /// The digest of a name, unless this registry or all are given up.
    pub(super) async fn digest(&self, name: &Reference, time_budget: &TimeBudget) -> Upstream {
        let given_up = match &self.admission {
            Admission::Unreachable(why) | Admission::NotAsked(why) => Some(why.clone()),
            _ => self.timeouts.given_up(),
        };
        let upstream = match given_up.or_else(|| time_budget.exhausted()) {
            None => self.registry.digest(name).await,
            Some(why) => Upstream::Unknown(why),
        };
        self.count(Some(&upstream));
        upstream
    }

    /// Why nothing more can be fetched from it.
    pub fn unusable(&self) -> Option<String> {
        let admission = &self.admission;
        let is_open =
            *admission == Admission::Accepted || authenticated::is_per_repository(admission);
        if is_open {
            return self.timeouts.given_up();
        }
        Some(authenticated::check(&self.name, &self.found, admission).message)
    }

    /// Counts an answer; `None` is a complete one.
    pub fn count(&self, upstream: Option<&Upstream>) {
        match upstream {
            Some(upstream) => self.timeouts.count(upstream),
            None => self.timeouts.reset(),
        }
    }
}

fn credentials(found: &Lookup) -> Option<&Credentials> {
    match found {
        Lookup::Found(credentials, _) => Some(credentials),
        _ => None,
    }
}
