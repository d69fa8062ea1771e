//! A registry that images are fetched from. It is opened once in a run: so credentials that
//! it refuses are sent once, and a registry that is silent is given up.

use crate::cache::checks::authenticated;
use crate::cache::credentials::Lookup;
use crate::cache::questions::patience::Silence;
use crate::cache::registry::{Admission, Registry, Upstream};
use crate::model::text::escape;

pub struct Opened<'a> {
    pub registry: Registry<'a>,
    silence: Silence,
    /// Why nothing is fetched from it. Fit to print.
    shut: Option<String>,
}

impl<'a> Opened<'a> {
    pub(super) async fn of(registry: Registry<'a>, name: &str, found: &Lookup) -> Self {
        let admission = registry.probe().await;
        let check = authenticated::check(&escape(name), found, &admission);
        let lets_in = admission == Admission::Taken || authenticated::is_for_each(&admission);
        Self {
            registry,
            silence: Silence::default(),
            shut: (!lets_in).then_some(check.message),
        }
    }

    /// Why nothing more is fetched from it.
    pub fn shut(&self) -> Option<String> {
        self.shut.clone().or_else(|| self.silence.given_up())
    }

    /// Counts how it answered; `None`: with all that was asked for.
    pub fn count(&self, upstream: Option<&Upstream>) {
        match upstream {
            Some(upstream) => self.silence.count(upstream),
            None => self.silence.end(),
        }
    }
}
