//! Asks the registries of all promised images: whether they let the deploying
//! user in, and, where that is wanted, which digests they have. Each registry
//! is entered once, at most [`AT_ONCE`] requests are under way at a time. It
//! decides which registry to ask about which image, and nothing else.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use futures_util::future::join4;

use crate::engine::{EngineError, Reader};
use crate::model::{Image, ImageId};
use crate::reference::Reference;
use crate::secret::Credentials;
use crate::text::escape;

use super::config::key;
use super::helper::{Finder, Lookup};
use super::outcome::Asked;
use super::promise::{By, Promise, Wanted, digests_in};
use super::registry::{Entry, Registry};
use super::wire::Wire;
use super::{Check, Kind, Status, current, login};

/// Requests under way at a time: polite to a registry, and enough to hide its
/// distance.
pub const AT_ONCE: usize = 4;

/// The registries of one run.
pub struct Registries {
    wire: Wire,
    finder: Finder,
    found: BTreeMap<String, Lookup>,
    asked: Vec<Asked>,
}

/// What they said.
#[derive(Default)]
pub struct Answers {
    checks: BTreeMap<Wanted, Vec<Check>>,
}

impl Answers {
    /// Of one promise.
    pub fn of(&self, promise: &Promise) -> impl Iterator<Item = Check> + '_ {
        self.checks
            .get(&promise.wanted)
            .into_iter()
            .flatten()
            .cloned()
    }

    /// One answer's status.
    pub fn status(&self, promise: &Promise, kind: Kind) -> Option<Status> {
        let checks = self.checks.get(&promise.wanted)?;
        checks
            .iter()
            .find(|check| check.kind == kind)
            .map(|check| check.status)
    }

    /// Nobody was asked, for it was never in a registry.
    pub fn is_local(&self, promise: &Promise) -> bool {
        !self.checks.contains_key(&promise.wanted)
    }
}

/// One promise with its image, where a registry can be asked about it.
struct Question<'a> {
    promise: &'a Promise,
    name: &'a Reference,
    digests: Vec<String>,
}

impl Registries {
    /// `user_config`: the docker folder of the user who deploys.
    pub async fn new(reader: &Reader, user_config: Option<&Path>) -> Result<Self, EngineError> {
        Ok(Self {
            wire: Wire::new(reader.insecure_registries().await?),
            finder: Finder::of(user_config),
            found: BTreeMap::new(),
            asked: Vec::new(),
        })
    }

    /// What each registry was asked.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.clone()
    }

    /// What was found for the registry of this name.
    pub fn credentials(&self, name: &Reference) -> Option<&Credentials> {
        match self.found.get(name.domain()) {
            Some(Lookup::Found(credentials, _)) => Some(credentials),
            _ => None,
        }
    }

    /// The registry's name for X-Registry-Auth.
    pub fn server(name: &Reference) -> &str {
        key(name.domain())
    }

    /// Asks about all promises that can be in a registry; `digests`: which
    /// digests they have there, too.
    pub async fn ask(
        &mut self,
        promises: &[Promise],
        here: &BTreeMap<ImageId, Image>,
        digests: bool,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Answers {
        let questions: Vec<Question> = promises
            .iter()
            .filter_map(|promise| question(promise, here))
            .collect();
        let mut by_registry: BTreeMap<&str, Vec<&Question>> = BTreeMap::new();
        for question in &questions {
            by_registry
                .entry(question.name.domain())
                .or_default()
                .push(question);
        }
        let mut answers = Answers::default();
        let (mut done, all) = (0, questions.len());
        for (name, mut questions) in by_registry {
            // The first is the one that the registry is entered with: one that
            // somebody asked for, rather than one that merely was here.
            questions.sort_by_key(|question| question.promise.by);
            let found = self.finder.find(name).await;
            let credentials = match &found {
                Lookup::Found(credentials, _) => Some(credentials),
                _ => None,
            };
            let usable = matches!(found, Lookup::Found(..) | Lookup::None(_));
            let registry = Registry::new(&self.wire, name, credentials);
            let entry = if usable {
                Some(enter(&registry, questions[0]).await)
            } else {
                None
            };
            let check = login::judge(&escape(name), &found, entry.as_ref());
            let check = softened(check, entry.as_ref(), &questions);
            let reachable = !matches!(entry, None | Some(Entry::Unreachable(_) | Entry::Odd(_)));
            let results = RefCell::new(Vec::new());
            if digests && reachable {
                let queue = RefCell::new(questions.iter());
                let count = RefCell::new((&mut done, &mut *progress));
                let worker = async || {
                    loop {
                        // Taken before the wait, so that no borrow is held over it.
                        let next = queue.borrow_mut().next();
                        let Some(question) = next else { break };
                        let upstream = registry.digest(question.name).await;
                        let check = current::judge(question.promise, &question.digests, &upstream);
                        results
                            .borrow_mut()
                            .push((question.promise.wanted.clone(), check));
                        let (done, progress) = &mut *count.borrow_mut();
                        **done += 1;
                        progress(**done, all);
                    }
                };
                Box::pin(join4(worker(), worker(), worker(), worker())).await;
            } else if digests {
                let why = Check::new(
                    Kind::Current,
                    Status::Unknown,
                    "the registry could not be asked",
                );
                let unknown = questions
                    .iter()
                    .map(|question| (question.promise.wanted.clone(), why.clone()));
                results.borrow_mut().extend(unknown);
            }
            for question in &questions {
                answers
                    .checks
                    .entry(question.promise.wanted.clone())
                    .or_default()
                    .push(check.clone());
            }
            for (wanted, check) in results.into_inner() {
                answers.checks.entry(wanted).or_default().push(check);
            }
            self.asked.push(Asked {
                registry: escape(name),
                cost: registry.cost(),
            });
            self.found.insert(name.to_owned(), found);
        }
        answers
    }
}

async fn enter(registry: &Registry<'_>, first: &Question<'_>) -> Entry {
    let path = first.name.repository();
    let entry = registry
        .enter(path.split_once('/').map_or("", |(_, path)| path))
        .await;
    if entry != Entry::Anonymous {
        return entry;
    }
    // A token for anybody opens public images only: one HEAD tells.
    match registry.digest(first.name).await {
        super::registry::Upstream::Denied(_) => Entry::Wanted,
        _ => Entry::Anonymous,
    }
}

/// A baseline holds builds of this host, too: that a registry wants
/// credentials for such a name is no fault that can be told from here.
fn softened(check: Check, entry: Option<&Entry>, questions: &[&Question]) -> Check {
    let only_seen = questions
        .iter()
        .all(|question| question.promise.by == By::Baseline);
    let registry_named = questions
        .iter()
        .any(|question| question.name.domain() != "docker.io");
    if entry == Some(&Entry::Wanted) && only_seen && !registry_named {
        return Check {
            status: Status::Unknown,
            ..check
        };
    }
    check
}

/// `None` for what was never in a registry, as far as the engine tells: no
/// digest in the repository. (The containerd store makes one up for each tag.)
fn question<'a>(promise: &'a Promise, here: &BTreeMap<ImageId, Image>) -> Option<Question<'a>> {
    let Wanted::Name(name) = &promise.wanted else {
        return None;
    };
    let image = promise.wanted.find(here);
    let digests = image
        .map(|image| digests_in(image, &name.repository()))
        .unwrap_or_default();
    let local = image.is_some() && digests.is_empty() && !name.is_digest();
    (!local).then_some(Question {
        promise,
        name,
        digests,
    })
}
