//! Asks the registries of all promised images. Each registry is probed once, with at most
//! [`AT_ONCE`] requests at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures_util::stream::{self, StreamExt};

use crate::engine::{EngineError, Insecure, Reader, StoredContent};
use crate::model::reference::Reference;
use crate::model::secret::Credentials;
use crate::model::text::escape;
use crate::model::{Image, ImageId, Store};

use crate::cache::checks::authenticated;
use crate::cache::credentials::{Finder, Lookup, key};
use crate::cache::findings::Asked;
use crate::cache::promise::{Promise, Wanted};
use crate::cache::questions::answers::Answers;
use crate::cache::questions::offer::Offer;
use crate::cache::questions::opened::OpenRegistry;
use crate::cache::questions::question::{Question, one_of_each_repository};
use crate::cache::questions::time_budget::{TimeBudget, Timeouts};
use crate::cache::registry::{Admission, Cost, Registry, Transport, Upstream};

/// Few enough to be polite, and enough to hide latency.
const AT_ONCE: usize = 4;

/// The registries of one run.
pub struct Registries {
    transport: Transport,
    finder: Finder,
    store: Store,
    /// The lookup of credentials, by the registry's name.
    found: BTreeMap<String, Lookup>,
    /// Registries that refuse the credentials, with the HTTP status.
    refused: BTreeMap<String, u16>,
    asked: Vec<Asked>,
    time_budget: TimeBudget,
}

impl Registries {
    /// `store`: the engine's. `user_config`: the docker folder of the deploying user.
    pub async fn new(
        reader: &Reader,
        store: Store,
        user_config: Option<&Path>,
    ) -> Result<Self, EngineError> {
        let transport = Transport::new(reader.insecure_registries().await?);
        Ok(Self::with(transport, store, Finder::of(user_config)))
    }

    /// Without an engine: only registries on this machine are asked without TLS. Credentials are
    /// sent as a containerd store does: to whoever asks for them.
    pub fn without_engine(user_config: Option<&Path>) -> Self {
        let transport = Transport::new(Insecure::default());
        Self::with(transport, Store::Containerd, Finder::of(user_config))
    }

    fn with(transport: Transport, store: Store, finder: Finder) -> Self {
        Self {
            transport,
            finder,
            store,
            found: BTreeMap::new(),
            refused: BTreeMap::new(),
            asked: Vec::new(),
            time_budget: TimeBudget::start(),
        }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.clone()
    }

    /// The credentials that were found for the registry of this name.
    pub fn credentials(&self, name: &Reference) -> Option<&Credentials> {
        self.found.get(name.domain()).and_then(credentials)
    }

    /// Whether the registry of this image refuses the credentials.
    pub fn refuses(&self, wanted: &Wanted) -> bool {
        matches!(wanted, Wanted::Name(name) if self.refused.contains_key(name.domain()))
    }

    /// The registry's name in X-Registry-Auth.
    pub fn server(name: &Reference) -> &str {
        key(name.domain())
    }

    /// Asks about all promises that may be in a registry. `digests`: also ask for digests.
    /// `on_answer` is called with the number of digests so far, and of all.
    pub async fn ask(
        &mut self,
        promises: &[Promise],
        here: &BTreeMap<ImageId, Image>,
        held: &BTreeMap<ImageId, StoredContent>,
        digests: bool,
        on_answer: &mut dyn FnMut(usize, usize),
    ) -> Answers {
        let questions = promises.iter();
        let questions = questions.filter_map(|promise| Question::of(promise, here, held).ok());
        let mut by_registry: BTreeMap<&str, Vec<Question>> = BTreeMap::new();
        let mut all = 0;
        for question in questions {
            let registry = by_registry.entry(question.name.domain()).or_default();
            registry.push(question);
            all += 1;
        }
        let (mut answers, mut done) = (Answers::default(), 0);
        let mut on_digest = || {
            if digests {
                done += 1;
                on_answer(done, all);
            }
        };
        for (name, questions) in by_registry {
            self.ask_one(name, &questions, digests, &mut answers, &mut on_digest)
                .await;
        }
        answers
    }

    fn count(&mut self, name: &str, cost: &Cost) {
        let registry = escape(name);
        match self.asked.iter_mut().find(|it| it.registry == registry) {
            Some(asked) => asked.cost.add(cost),
            None => self.asked.push(Asked {
                registry,
                cost: cost.clone(),
            }),
        }
    }

    /// Whether the registry has this image now.
    pub async fn offer(&mut self, name: &Reference) -> Offer {
        let domain = name.domain();
        if !self.found.contains_key(domain) {
            let found = self.finder.find(domain).await;
            self.found.insert(domain.to_owned(), found);
        }
        let credentials = self.found.get(domain).and_then(credentials);
        let registry = Registry::new(&self.transport, domain, credentials, self.store);
        let admission = match self.refused.get(domain) {
            Some(status) => Admission::Refused(*status),
            None => registry.probe().await,
        };
        let upstream = match admission {
            Admission::Refused(status) => {
                self.refused.insert(domain.to_owned(), status);
                Upstream::Denied(status)
            }
            _ => registry.digest(name).await,
        };
        let cost = registry.cost();
        self.count(domain, &cost);
        Offer::of(&upstream, &cost, self.refused.contains_key(domain))
    }

    /// Opens these registries, probing each once.
    pub async fn open<'a>(
        &'a mut self,
        names: BTreeSet<&str>,
    ) -> BTreeMap<String, OpenRegistry<'a>> {
        for &name in &names {
            let found = self.finder.find(name).await;
            self.found.insert(name.to_owned(), found);
        }
        let mut opened = BTreeMap::new();
        for (name, found) in &self.found {
            let registry = Registry::new(&self.transport, name, credentials(found), self.store);
            opened.insert(name.clone(), OpenRegistry::of(registry, name, found).await);
        }
        opened
    }

    async fn ask_one(
        &mut self,
        name: &str,
        questions: &[Question<'_>],
        digests: bool,
        answers: &mut Answers,
        on_digest: &mut dyn FnMut(),
    ) {
        let ended = self.time_budget.exhausted();
        let found = match (self.found.remove(name), &ended) {
            (Some(found), _) => found,
            (None, None) => self.finder.find(name).await,
            (None, Some(_)) => Lookup::None("not looked for".into()),
        };
        let credentials = credentials(&found);
        let registry = Registry::new(&self.transport, name, credentials, self.store);
        // Refused credentials are not sent again: accounts get locked.
        let admission = match (self.refused.get(name), ended) {
            (Some(status), _) => Admission::Refused(*status),
            (None, None) => registry.probe().await,
            (None, Some(why)) => Admission::NotAsked(why),
        };
        let before = self.refused.contains_key(name);
        if let Admission::Refused(status) = admission {
            self.refused.insert(name.to_owned(), status);
        }
        let reachable = !matches!(
            admission,
            Admission::Unreachable(_) | Admission::NotAsked(_)
        ) && !before;
        let asked = if digests && reachable {
            questions.to_vec()
        } else if authenticated::is_per_repository(&admission) {
            one_of_each_repository(questions)
        } else {
            Vec::new()
        };
        let upstreams = ask_each(&registry, &self.time_budget, &asked, on_digest).await;
        let of_paths = questions.iter().filter_map(|question| {
            let upstream = upstreams.get(&question.promise.wanted)?;
            Some((question.path(), upstream))
        });
        let logged_in = credentials.is_some();
        let admissions = authenticated::repositories(&admission, of_paths, self.store, logged_in);
        for question in questions {
            let admission = admissions.get(question.path()).unwrap_or(&admission);
            let check = question.authenticated(&escape(name), &found, admission);
            answers.add(question.promise, check);
            if digests {
                let upstream = upstreams.get(&question.promise.wanted);
                answers.add(question.promise, question.current(upstream, admission));
            }
        }
        let cost = registry.cost();
        self.count(name, &cost);
        self.found.insert(name.to_owned(), found);
    }
}

fn credentials(found: &Lookup) -> Option<&Credentials> {
    match found {
        Lookup::Found(credentials, _) => Some(credentials),
        _ => None,
    }
}

/// The digests that a registry has, until it is given up.
async fn ask_each<'a>(
    registry: &Registry<'_>,
    time_budget: &TimeBudget,
    questions: &[Question<'a>],
    on_digest: &mut dyn FnMut(),
) -> BTreeMap<&'a Wanted, Upstream> {
    let timeouts = Timeouts::default();
    let ask = |question: &Question<'a>| {
        let (wanted, name) = (&question.promise.wanted, question.name);
        let timeouts = &timeouts;
        async move {
            let given_up = timeouts.given_up().or_else(|| time_budget.exhausted());
            let upstream = match given_up {
                None => registry.digest(name).await,
                Some(why) => Upstream::Unknown(why),
            };
            timeouts.count(&upstream);
            (wanted, upstream)
        }
    };
    let mut upstreams = BTreeMap::new();
    let asked = stream::iter(questions.iter().map(ask)).buffer_unordered(AT_ONCE);
    let mut asked = std::pin::pin!(asked);
    while let Some((wanted, upstream)) = asked.next().await {
        upstreams.insert(wanted, upstream);
        on_digest();
    }
    upstreams
}

#[cfg(test)]
mod tests;
