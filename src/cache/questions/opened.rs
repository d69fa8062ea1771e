//! A registry that images are fetched from. It is opened once a run, so that refused credentials
//! are sent only once, and a registry that does not answer is given up.

use crate::cache::checks::authenticated;
use crate::cache::credentials::Lookup;
use crate::cache::questions::time_budget::Timeouts;
use crate::cache::registry::{Admission, Registry, Upstream};
use crate::model::text::escape;

pub struct OpenRegistry<'a> {
    pub registry: Registry<'a>,
    timeouts: Timeouts,
    /// The message is fit to print.
    no_access: Option<String>,
}

impl<'a> OpenRegistry<'a> {
    pub(super) async fn of(registry: Registry<'a>, name: &str, found: &Lookup) -> Self {
        let admission = registry.probe().await;
        let check = authenticated::check(&escape(name), found, &admission);
        let is_open =
            admission == Admission::Accepted || authenticated::is_per_repository(&admission);
        Self {
            registry,
            timeouts: Timeouts::default(),
            no_access: (!is_open).then_some(check.message),
        }
    }

    /// Why nothing more can be fetched from it.
    pub fn unusable(&self) -> Option<String> {
        self.no_access.clone().or_else(|| self.timeouts.given_up())
    }

    /// Counts an answer; `None` is a complete one.
    pub fn count(&self, upstream: Option<&Upstream>) {
        match upstream {
            Some(upstream) => self.timeouts.count(upstream),
            None => self.timeouts.reset(),
        }
    }
}
