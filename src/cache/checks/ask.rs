//! Asks the registries of all promised images: whether they let the deploying
//! user in, and, where that is wanted, which digests they have. Each registry
//! is probed once, at most [`AT_ONCE`] requests are under way at a time. It
//! decides which registry to ask about which image, and nothing else.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures_util::future::join4;

use crate::engine::{EngineError, Reader};
use crate::model::reference::Reference;
use crate::model::secret::Credentials;
use crate::model::text::escape;
use crate::model::{Image, ImageId, Store};

use crate::cache::checks::patience::{Patience, Silence};
use crate::cache::checks::{authenticated, current};
use crate::cache::credentials::{Finder, Lookup, key};
use crate::cache::outcome::Asked;
use crate::cache::promise::{By, Promise, Wanted, digests_in};
use crate::cache::registry::{Admission, Registry, Transport, Upstream};
use crate::cache::{Check, Kind, Status};

/// Requests under way at a time: polite to a registry, and enough to hide its
/// distance.
pub const AT_ONCE: usize = 4;

/// The registries of one run.
pub struct Registries {
    transport: Transport,
    finder: Finder,
    store: Store,
    found: BTreeMap<String, Lookup>,
    refused: BTreeSet<String>,
    asked: Vec<Asked>,
    patience: Patience,
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

    /// Whether it is the digest that the registry has now. `admission`: of its repository.
    fn current(&self, upstream: Option<&Upstream>, admission: &Admission) -> Check {
        match (upstream, admission) {
            (Some(Upstream::Denied(_)), Admission::NotTried(host)) => Check::new(
                Kind::Current,
                Status::Unknown,
                format!(
                    "{host}, to which the registry sends on, wants credentials, and none were tried"
                ),
            ),
            (Some(upstream), _) => current::judge(self.promise, &self.digests, upstream),
            (None, _) => Check::new(
                Kind::Current,
                Status::Unknown,
                "the registry could not be asked",
            ),
        }
    }
}

impl Registries {
    /// For an engine with this store; `user_config`: the docker folder of the user
    /// who deploys.
    pub async fn new(
        reader: &Reader,
        store: Store,
        user_config: Option<&Path>,
    ) -> Result<Self, EngineError> {
        let transport = Transport::new(reader.insecure_registries().await?);
        Ok(Self::with(transport, store, Finder::of(user_config)))
    }

    fn with(transport: Transport, store: Store, finder: Finder) -> Self {
        Self {
            transport,
            finder,
            store,
            found: BTreeMap::new(),
            refused: BTreeSet::new(),
            asked: Vec::new(),
            patience: Patience::begins(),
        }
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

    /// Whether the registry of this image refuses what was found for it.
    pub fn refuses(&self, wanted: &Wanted) -> bool {
        matches!(wanted, Wanted::Name(name) if self.refused.contains(name.domain()))
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
            .filter_map(|promise| question(promise, here).ok())
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
        for (name, questions) in by_registry {
            let ended = self.patience.ended();
            let found = match ended {
                None => self.finder.find(name).await,
                Some(_) => Lookup::None("not looked for".into()),
            };
            let credentials = match &found {
                Lookup::Found(credentials, _) => Some(credentials),
                _ => None,
            };
            let registry = Registry::new(&self.transport, name, credentials, self.store);
            let admission = match ended {
                None => registry.probe().await,
                Some(why) => Admission::NotAsked(why),
            };
            if matches!(admission, Admission::Refused(_)) {
                self.refused.insert(name.to_owned());
            }
            let reachable = !matches!(
                admission,
                Admission::Unreachable(_) | Admission::NotAsked(_)
            );
            let wanted: Vec<&Question> = if digests && reachable {
                questions.clone()
            } else if authenticated::is_for_each(&admission) {
                one_of_each_repository(&questions)
            } else {
                Vec::new()
            };
            let results = RefCell::new(BTreeMap::new());
            let silence = Silence::default();
            {
                let queue = RefCell::new(wanted.iter());
                let count = RefCell::new((&mut done, &mut *progress));
                let worker = async || {
                    loop {
                        // Taken before the wait, so that no borrow is held over it.
                        let next = queue.borrow_mut().next();
                        let Some(question) = next else { break };
                        let given_up = silence.given_up().or_else(|| self.patience.ended());
                        let upstream = match given_up {
                            None => registry.digest(question.name).await,
                            Some(why) => Upstream::Unknown(why),
                        };
                        silence.heard(&upstream);
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
            let said = questions
                .iter()
                .filter_map(|q| Some((q.path(), results.get(&q.promise.wanted)?)));
            let logged_in = credentials.is_some();
            let repositories = authenticated::repositories(&admission, said, self.store, logged_in);
            for question in &questions {
                let admission = repositories.get(question.path()).unwrap_or(&admission);
                let check = authenticated::judge(&escape(name), &found, admission);
                let checks = answers.checks.entry(question.promise.wanted.clone());
                let checks = checks.or_default();
                checks.push(softened(check, admission, question));
                if digests {
                    let upstream = results.get(&question.promise.wanted);
                    checks.push(question.current(upstream, admission));
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
fn softened(check: Check, admission: &Admission, question: &Question) -> Check {
    let only_seen = question.promise.by == By::Baseline;
    let registry_named = question.name.domain() != "docker.io";
    if *admission == Admission::Wanted && only_seen && !registry_named {
        return Check {
            status: Status::Unknown,
            ..check
        };
    }
    check
}

/// Why no registry is asked about a promise.
pub fn not_asked(promise: &Promise, here: &BTreeMap<ImageId, Image>) -> Option<&'static str> {
    question(promise, here).err()
}

/// Or why not: what was never in a registry under this name, as far as the engine
/// tells, has no digest in the repository. (The containerd store makes up one for
/// each tag.)
fn question<'a>(
    promise: &'a Promise,
    here: &BTreeMap<ImageId, Image>,
) -> Result<Question<'a>, &'static str> {
    let Wanted::Name(name) = &promise.wanted else {
        return Err("it is promised by id, and a registry is asked by name");
    };
    let image = promise.wanted.find(here);
    let digests = image
        .map(|image| digests_in(image, &name.repository()))
        .unwrap_or_default();
    if image.is_some() && digests.is_empty() && !name.is_digest() {
        return Err("it was never pulled by this name: built, loaded or tagged here");
    }
    Ok(Question {
        promise,
        name,
        digests,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::registry::served::served;
    use crate::engine::Insecure;
    use crate::testing::block_on;

    /// A registry of [`served`], promised images of it, and who asks.
    struct Host {
        registries: Registries,
        address: String,
        told: std::sync::mpsc::Receiver<String>,
        _folder: tempfile::TempDir,
    }

    impl Host {
        /// `login`: what stands in config.json, in base64.
        fn new(mode: &'static str, store: Store, login: Option<&str>) -> Host {
            let (address, told) = served(mode);
            let folder = tempfile::tempdir().unwrap();
            if let Some(auth) = login {
                let config = format!(r#"{{"auths":{{"{address}":{{"auth":"{auth}"}}}}}}"#);
                std::fs::write(folder.path().join("config.json"), config).unwrap();
            }
            let transport = Transport::new(Insecure::default());
            let registries = Registries::with(transport, store, Finder::of(Some(folder.path())));
            Host {
                registries,
                address,
                told,
                _folder: folder,
            }
        }

        /// What became of "authenticated" for each name.
        fn asked(&mut self, names: &[&str], digests: bool) -> Vec<Check> {
            let promise = |name: &&str| Promise {
                wanted: Wanted::Name(format!("{}/{name}", self.address).parse().unwrap()),
                by: By::Policy,
                recorded: None,
            };
            let promises: Vec<_> = names.iter().map(promise).collect();
            let here = BTreeMap::new();
            let mut quiet = |_, _| {};
            let asking = self.registries.ask(&promises, &here, digests, &mut quiet);
            let answers = block_on(asking);
            let of = |promise| answers.of(promise).find(|c| c.kind == Kind::Authenticated);
            promises.iter().filter_map(of).collect()
        }

        fn statuses(&mut self, names: &[&str]) -> Vec<Status> {
            let checks = self.asked(names, false);
            checks.iter().map(|check| check.status).collect()
        }

        fn heads(&self) -> usize {
            let heads = self.told.try_iter().filter(|line| line.starts_with("HEAD"));
            heads.count()
        }
    }

    /// `me:hunter2` and `me:wrong`.
    const RIGHT: Option<&str> = Some("bWU6aHVudGVyMg==");
    const WRONG: Option<&str> = Some("bWU6d3Jvbmc=");

    #[test]
    fn one_repository_that_wants_credentials_is_not_all_of_its_registry() {
        let mut host = Host::new("public", Store::Containerd, None);
        let names = ["open/app:1", "own/app:1", "own/app:2", "open/app:2"];
        let (open, own) = (Status::Ok, Status::Broken);
        assert_eq!(host.statuses(&names), [open, own, own, open]);
        assert_eq!(host.heads(), 2, "one a repository");
    }

    #[test]
    fn a_token_server_that_denies_one_repository_denies_it_alone() {
        let (open, own) = (Status::Ok, Status::Broken);
        for (names, found) in [
            (["own/app:1", "open/app:1"], [own, open]),
            (["open/app:1", "own/app:1"], [open, own]),
        ] {
            let mut host = Host::new("scoped", Store::Containerd, None);
            assert_eq!(host.statuses(&names), found, "{names:?}");
        }
    }

    #[test]
    fn a_ping_without_a_challenge_says_nothing_of_a_repository() {
        let names = ["open/app:1", "own/app:1", "busy/app:1"];
        let (ok, broken, unknown) = (Status::Ok, Status::Broken, Status::Unknown);
        for (store, login, own, words) in [
            (Store::Containerd, None, broken, "it wants some"),
            (Store::Containerd, RIGHT, ok, "lets everybody in"),
            (Store::Containerd, WRONG, broken, "for this repository"),
            // This engine gives credentials only to a registry whose /v2/ asks.
            (Store::Graphdriver, RIGHT, broken, "sends no credentials"),
            (Store::Graphdriver, None, broken, "sends no credentials"),
        ] {
            let mut host = Host::new("open", store, login);
            let checks = host.asked(&names, false);
            let seen: Vec<_> = checks.iter().map(|check| check.status).collect();
            assert_eq!(seen, [ok, own, unknown], "{store} {login:?}: {checks:#?}");
            assert!(checks[1].message.contains(words), "{}", checks[1].message);
            assert!(checks[2].message.contains("503"), "{}", checks[2].message);
        }
    }

    #[test]
    fn a_repository_that_could_not_be_asked_is_unknown_and_its_neighbours_are_not() {
        let mut host = Host::new("anybody", Store::Graphdriver, None);
        let names = ["open/app:1", "busy/app:1", "many/app:1"];
        let (ok, unknown) = (Status::Ok, Status::Unknown);
        assert_eq!(host.statuses(&names), [ok, unknown, unknown]);
        // Of one that shows another of its images it is known.
        let checks = host.asked(&["open/app:busy", "open/app:1", "open/app:many"], true);
        assert!(checks.iter().all(|c| c.status == ok), "{checks:#?}");
    }

    #[test]
    fn a_password_that_was_refused_is_not_sent_for_each_image() {
        for mode in ["login", "basic"] {
            let mut host = Host::new(mode, Store::Containerd, WRONG);
            let names = ["a/app:1", "b/app:1", "c/app:1", "d/app:1", "e/app:1"];
            let checks = host.asked(&names, true);
            assert!(checks.iter().all(|check| check.message.contains("refuses")));
            let app = Wanted::Name(format!("{}/a/app:1", host.address).parse().unwrap());
            assert!(host.registries.refuses(&app));
            let told: Vec<_> = host.told.try_iter().collect();
            let sent = told.iter().filter(|line| line.ends_with("Basic")).count();
            assert_eq!(sent, 1, "{mode}: {told:#?}");
        }
    }

    #[test]
    fn a_registry_that_hangs_is_given_up_after_four_silences_and_all_after_the_runs_time() {
        let mut host = Host::new("hangs", Store::Containerd, None);
        host.registries.transport = Transport::impatient(Insecure::default());
        let names: Vec<String> = (0..12).map(|n| format!("open/app:{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let checks = host.asked(&names, true);
        assert!(checks.iter().all(|check| check.status == Status::Unknown));
        // Those that the other three workers began before the fourth silence end, too.
        let heads = host.heads();
        assert!((4..=7).contains(&heads), "{heads}");
        host.registries.patience = Patience::over();
        let checks = host.asked(&names[..1], true);
        assert!(checks[0].message.contains("was not asked"), "{checks:?}");
        assert_eq!(host.told.try_iter().count(), 0);
    }
}
