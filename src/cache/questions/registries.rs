//! Asks the registries of all promised images. Each registry is probed once, with at most
//! [`AT_ONCE`] requests at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

use futures_util::stream::{self, StreamExt};

use crate::engine::{EngineError, Insecure, Reader, StoredContent};
use crate::model::reference::Reference;
use crate::model::secret::Credentials;
use crate::model::{Image, ImageId, Store};

use crate::cache::checks::authenticated;
use crate::cache::credentials::{Finder, key};
use crate::cache::findings::Asked;
use crate::cache::promise::{Promise, Wanted};
use crate::cache::questions::answers::Answers;
use crate::cache::questions::offer::Offer;
use crate::cache::questions::opened::OpenRegistry;
use crate::cache::questions::question::{Question, one_of_each_repository};
use crate::cache::questions::time_budget::TimeBudget;
use crate::cache::registry::{Admission, Transport, Upstream};

/// Few enough to be polite, and enough to hide latency.
const AT_ONCE: usize = 4;

/// The registries of one run.
pub struct Registries {
    transport: Rc<Transport>,
    finder: Finder,
    store: Store,
    /// The key is the registry's name in image references.
    opened: BTreeMap<String, OpenRegistry>,
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
            transport: transport.into(),
            finder,
            store,
            opened: BTreeMap::new(),
            time_budget: TimeBudget::new(),
        }
    }

    /// The requests to each registry.
    pub fn asked(&self) -> Vec<Asked> {
        let asked = self.opened.values().map(|opened| Asked {
            registry: opened.name.clone(),
            cost: opened.registry.cost(),
        });
        asked.collect()
    }

    /// The registry of this image, if it was opened.
    pub fn opened(&self, name: &Reference) -> Option<&OpenRegistry> {
        self.opened.get(name.domain())
    }

    /// The credentials that were found for the registry of this name.
    pub fn credentials(&self, name: &Reference) -> Option<&Credentials> {
        self.opened(name)?.credentials()
    }

    /// Whether the registry of this image refuses the credentials.
    pub fn refuses(&self, wanted: &Wanted) -> bool {
        let refusal = |name| self.opened(name)?.refusal();
        matches!(wanted, Wanted::Name(name) if refusal(name).is_some())
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
        self.time_budget.resume();
        for (name, questions) in by_registry {
            self.ask_one(name, &questions, digests, &mut answers, &mut on_digest)
                .await;
        }
        self.time_budget.pause();
        answers
    }

    /// Whether the registry has this image now.
    pub async fn offer(&mut self, name: &Reference) -> Offer {
        self.time_budget.resume();
        self.open(name.domain()).await;
        let opened = &self.opened[name.domain()];
        let refusal = opened.refusal();
        let upstream = match refusal {
            Some(status) => Upstream::Denied(status),
            None => opened.digest(name, &self.time_budget).await,
        };
        self.time_budget.pause();
        Offer::of(&upstream, &opened.registry.cost(), refusal.is_some())
    }

    /// Opens these registries, as far as their time allows.
    pub async fn open_all(&mut self, names: BTreeSet<&str>) {
        self.time_budget.resume();
        for name in names {
            self.open(name).await;
        }
        self.time_budget.pause();
    }

    async fn open(&mut self, name: &str) {
        if self.opened.contains_key(name) {
            return;
        }
        let transport = Rc::clone(&self.transport);
        let (finder, time_budget) = (&self.finder, &self.time_budget);
        let opened = OpenRegistry::open(name, transport, finder, self.store, time_budget).await;
        self.opened.insert(name.to_owned(), opened);
    }

    async fn ask_one(
        &mut self,
        name: &str,
        questions: &[Question<'_>],
        digests: bool,
        answers: &mut Answers,
        on_digest: &mut dyn FnMut(),
    ) {
        self.open(name).await;
        let opened = &self.opened[name];
        let (found, admission) = (&opened.found, &opened.admission);
        let reachable = !matches!(
            admission,
            Admission::Unreachable(_) | Admission::NotAsked(_)
        );
        let asked = if digests && reachable {
            questions.to_vec()
        } else if authenticated::is_per_repository(admission) {
            one_of_each_repository(questions)
        } else {
            Vec::new()
        };
        let upstreams = ask_each(opened, &self.time_budget, &asked, on_digest).await;
        let of_paths = questions.iter().filter_map(|question| {
            let upstream = upstreams.get(&question.promise.wanted)?;
            Some((question.path(), upstream))
        });
        let logged_in = opened.credentials().is_some();
        let admissions = authenticated::repositories(admission, of_paths, self.store, logged_in);
        for question in questions {
            let admission = admissions.get(question.path()).unwrap_or(admission);
            let check = question.authenticated(&opened.name, found, admission);
            answers.add(question.promise, check);
            if digests {
                let upstream = upstreams.get(&question.promise.wanted);
                answers.add(question.promise, question.current(upstream, admission));
            }
        }
    }
}

/// The digests that a registry has, until it is given up.
async fn ask_each<'a>(
    opened: &OpenRegistry,
    time_budget: &TimeBudget,
    questions: &[Question<'a>],
    on_digest: &mut dyn FnMut(),
) -> BTreeMap<&'a Wanted, Upstream> {
    let ask = |question: &Question<'a>| {
        let (wanted, name) = (&question.promise.wanted, question.name);
        async move { (wanted, opened.digest(name, time_budget).await) }
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
