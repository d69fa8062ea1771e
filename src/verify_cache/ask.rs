//! Asks the registries of all promised images: whether they let the deploying
//! user in, and, where that is wanted, which digests they have. Each registry
//! is entered once, at most [`AT_ONCE`] requests are under way at a time. It
//! decides which registry to ask about which image, and nothing else.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
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
use super::registry::{Entry, Registry, Upstream};
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
}

/// One promise with its image, where a registry can be asked about it.
struct Question<'a> {
    promise: &'a Promise,
    name: &'a Reference,
    digests: Vec<String>,
}

impl Question<'_> {
    /// The repository's name in its registry.
    fn path(&self) -> &str {
        self.name.path()
    }

    /// Whether it is the digest that the registry has now.
    fn current(&self, upstream: Option<&Upstream>) -> Check {
        match upstream {
            Some(upstream) => current::judge(self.promise, &self.digests, upstream),
            None => Check::new(
                Kind::Current,
                Status::Unknown,
                "the registry could not be asked",
            ),
        }
    }
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
                Some(registry.enter(questions[0].path()).await)
            } else {
                None
            };
            let reachable = !matches!(entry, None | Some(Entry::Unreachable(_) | Entry::Odd(_)));
            let wanted: Vec<&Question> = if digests && reachable {
                questions.clone()
            } else if entry == Some(Entry::Anonymous) {
                one_of_each_repository(&questions)
            } else {
                Vec::new()
            };
            let results = RefCell::new(BTreeMap::new());
            {
                let queue = RefCell::new(wanted.iter());
                let count = RefCell::new((&mut done, &mut *progress));
                let worker = async || {
                    loop {
                        // Taken before the wait, so that no borrow is held over it.
                        let next = queue.borrow_mut().next();
                        let Some(question) = next else { break };
                        let upstream = registry.digest(question.name).await;
                        results
                            .borrow_mut()
                            .insert(&question.promise.wanted, upstream);
                        if digests {
                            let (done, progress) = &mut *count.borrow_mut();
                            **done += 1;
                            progress(**done, all);
                        }
                    }
                };
                Box::pin(join4(worker(), worker(), worker(), worker())).await;
            }
            let results = results.into_inner();
            let denied: BTreeSet<&str> = questions
                .iter()
                .filter(|q| matches!(results.get(&q.promise.wanted), Some(Upstream::Denied(_))))
                .map(|question| question.path())
                .collect();
            for question in &questions {
                // A token for anybody opens public images only.
                let entry = match &entry {
                    Some(Entry::Anonymous) if denied.contains(question.path()) => {
                        Some(&Entry::Wanted)
                    }
                    other => other.as_ref(),
                };
                let check = login::judge(&escape(name), &found, entry);
                let checks = answers.checks.entry(question.promise.wanted.clone());
                let checks = checks.or_default();
                checks.push(softened(check, entry, question));
                if digests {
                    checks.push(question.current(results.get(&question.promise.wanted)));
                }
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

/// Enough to tell which repositories are open.
fn one_of_each_repository<'a, 'b>(questions: &[&'b Question<'a>]) -> Vec<&'b Question<'a>> {
    let mut seen = BTreeSet::new();
    let mut first = questions.to_vec();
    first.retain(|question| seen.insert(question.path()));
    first
}

/// A baseline holds builds of this host, too: that a registry wants
/// credentials for such a name is no fault that can be told from here.
fn softened(check: Check, entry: Option<&Entry>, question: &Question) -> Check {
    let only_seen = question.promise.by == By::Baseline;
    let registry_named = question.name.domain() != "docker.io";
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

#[cfg(test)]
mod tests {
    use super::super::registry::tests::served;
    use super::*;
    use crate::engine::Insecure;
    use crate::testing::block_on;

    #[test]
    fn one_repository_that_wants_credentials_is_not_all_of_its_registry() {
        let (address, told) = served("public");
        let names = ["open/app:1", "own/app:1", "own/app:2", "open/app:2"];
        let promises = names.map(|name| Promise {
            wanted: Wanted::Name(format!("{address}/{name}").parse().unwrap()),
            by: By::Policy,
            recorded: None,
        });
        let mut registries = Registries {
            wire: Wire::new(Insecure::default()),
            finder: Finder::default(),
            found: BTreeMap::new(),
            asked: Vec::new(),
        };
        let here = BTreeMap::new();
        let answers = block_on(registries.ask(&promises, &here, false, &mut |_, _| {}));
        let status = |promise| answers.status(promise, Kind::Authenticated);
        let found: Vec<_> = promises.iter().filter_map(status).collect();
        let (open, own) = (Status::Ok, Status::Broken);
        assert_eq!(found, [open, own, own, open]);
        let heads = told.try_iter().filter(|line| line.starts_with("HEAD"));
        assert_eq!(heads.count(), 2, "one a repository");
    }
}
