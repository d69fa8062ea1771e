//! One promised image that a registry can be asked about.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::StoredContent;
use crate::model::reference::Reference;
use crate::model::{Image, ImageId};

use crate::cache::check::{Check, Kind, Status};
use crate::cache::checks::{authenticated, current};
use crate::cache::credentials::Lookup;
use crate::cache::promise::{Promise, Wanted, digests_in};
use crate::cache::registry::{Admission, Upstream};

#[derive(Clone)]
pub struct Question<'a> {
    pub promise: &'a Promise,
    pub name: &'a Reference,
    /// The digests of the image here, in the promised repository.
    digests: Vec<String>,
}

impl<'a> Question<'a> {
    /// The error says why no registry is asked. As far as the engine tells, an image without a
    /// digest in the repository was never in a registry under this name. The containerd store
    /// makes up a digest for each tag; there, `held` may tell.
    pub fn of(
        promise: &'a Promise,
        here: &BTreeMap<ImageId, Image>,
        held: &BTreeMap<ImageId, StoredContent>,
    ) -> Result<Self, &'static str> {
        let Wanted::Name(name) = &promise.wanted else {
            return Err("it is promised by id, and a registry is asked by name");
        };
        let image = promise.wanted.find(here);
        let digests = image
            .map(|image| digests_in(image, &name.repository()))
            .unwrap_or_default();
        let known = image.and_then(|image| held.get(&image.id));
        let is_stranger = known.is_some_and(|held| held.is_stranger_to(name));
        if image.is_some() && (digests.is_empty() || is_stranger) && !name.is_digest() {
            return Err("it was never pulled by this name: built, loaded or tagged here");
        }
        Ok(Self {
            promise,
            name,
            digests,
        })
    }

    /// The repository, without the registry.
    pub fn path(&self) -> &'a str {
        self.name.path()
    }

    /// `registry`: fit to print. `admission`: of the repository.
    pub fn authenticated(&self, registry: &str, found: &Lookup, admission: &Admission) -> Check {
        let mut check = authenticated::check(registry, found, admission);
        let registry_named = self.name.domain() != "docker.io";
        // A local build may have a name without a registry, which means Docker Hub. Docker Hub
        // asks for credentials then, which is no fault.
        if *admission == Admission::Required && self.promise.only_seen() && !registry_named {
            check.status = Status::Unknown;
        }
        check
    }

    /// `admission`: of the repository.
    pub fn current(&self, upstream: Option<&Upstream>, admission: &Admission) -> Check {
        let unknown = |why: String| Check::new(Kind::Current, Status::Unknown, why);
        match (upstream, admission) {
            (Some(Upstream::Denied(_)), Admission::NotTried(host)) => unknown(format!(
                "{host}, to which the registry sends on, wants credentials, and none were tried"
            )),
            (Some(upstream), _) => current::check(self.promise, &self.digests, upstream),
            (None, _) => unknown("the registry could not be asked".into()),
        }
    }
}

/// Enough to find out which repositories are open.
pub fn one_of_each_repository<'a>(questions: &[Question<'a>]) -> Vec<Question<'a>> {
    let mut paths = BTreeSet::new();
    let first = questions.iter();
    let first = first.filter(|question| paths.insert(question.path()));
    first.cloned().collect()
}

/// Why no registry can be asked about a promise.
pub fn not_asked(
    promise: &Promise,
    here: &BTreeMap<ImageId, Image>,
    held: &BTreeMap<ImageId, StoredContent>,
) -> Option<&'static str> {
    Question::of(promise, here, held).err()
}
