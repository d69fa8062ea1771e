//! Decides what to do about each promise, in the order of the promises. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::memory::ledger::Ledger;
use crate::model::reference::Reference;
use crate::model::{Image, ImageId, Store};
use crate::policy::Policy;

use crate::cache::promise::{Promise, Wanted, digests_in};
use crate::cache::restore::left_out::LeftOut;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Nothing: the image is here under that name.
    Here,
    LeaveOut(LeftOut),
    Do(Work),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// The image is here; only its tag is missing.
    SetTag {
        tag: Reference,
        id: ImageId,
    },
    Bring(Target),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub wanted: Wanted,
    /// The digests that it had, or may have had, in the repository of its name. It is restored by
    /// the first one that a source has.
    pub digests: Vec<String>,
    /// Its id on this engine and store.
    pub id: Option<ImageId>,
}

impl Target {
    /// Whether nothing is known of the image, so that the tag is restored as the source has it
    /// now.
    pub fn is_open(&self) -> bool {
        self.digests.is_empty() && self.id.is_none()
    }

    /// The tag to set; `None` if it is promised by digest or by id.
    pub fn tag(&self) -> Option<&Reference> {
        self.wanted.name().filter(|name| !name.is_digest())
    }

    /// The digest reference, if it is promised by one.
    pub fn pinned(&self) -> Option<&Reference> {
        self.wanted.name().filter(|name| name.is_digest())
    }
}

/// What is known of this host and its past.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// With every digest that a promise may name.
    pub here: &'a BTreeMap<ImageId, Image>,
    /// Images that the engine lists, but has not completely.
    pub in_part: &'a BTreeSet<ImageId>,
    pub ledger: &'a Ledger,
    pub store: Store,
    pub policy: &'a Policy,
    /// Restore a missing tag as its source has it now, whatever is recorded.
    pub follow: bool,
}

pub fn tasks(promises: &[Promise], known: &Known<'_>) -> Vec<Task> {
    let task = |promise| task(promise, known);
    promises.iter().map(task).collect()
}

fn task(promise: &Promise, known: &Known<'_>) -> Task {
    let here = promise.wanted.find(known.here);
    if let Some(image) = here {
        if promise.leads_elsewhere(image) {
            return Task::LeaveOut(LeftOut::Elsewhere(image.id.clone()));
        }
        if !known.in_part.contains(&image.id) {
            return Task::Here;
        }
    }
    let name = promise.wanted.name();
    if let Some(never) = name.and_then(|name| known.policy.promised.never(name)) {
        return Task::LeaveOut(LeftOut::Never(never));
    }
    if let Some(image) = here {
        return Task::Do(Work::Bring(rest_of(promise, image)));
    }
    let target = target(promise, known);
    let found = |tag| Some((tag, found(&target, tag, known)?));
    Task::Do(match target.tag().and_then(found) {
        Some((tag, image)) => Work::SetTag {
            tag: tag.clone(),
            id: image.id.clone(),
        },
        None => Work::Bring(target),
    })
}

/// Only a containerd store lists incomplete images; its ids are digests.
fn rest_of(promise: &Promise, image: &Image) -> Target {
    Target {
        wanted: promise.wanted.clone(),
        digests: vec![image.id.to_string()],
        id: Some(image.id.clone()),
    }
}

fn target(promise: &Promise, known: &Known<'_>) -> Target {
    let wanted = promise.wanted.clone();
    let open = Target {
        wanted: wanted.clone(),
        digests: Vec::new(),
        id: None,
    };
    let name = match &wanted {
        Wanted::Id(id) => {
            return Target {
                id: Some(id.clone()),
                ..open
            };
        }
        Wanted::Name(name) => name,
    };
    if let Some(digest) = name.digest() {
        return Target {
            digests: vec![digest.to_owned()],
            ..open
        };
    }
    if known.follow {
        return open;
    }
    if let Some(recorded) = promise.recorded.as_ref().filter(|it| it.identifies()) {
        return Target {
            digests: each_once(recorded.digests.iter().cloned()),
            id: recorded.id.clone(),
            ..open
        };
    }
    let Some(last) = known.ledger.last_image(name) else {
        return open;
    };
    // On a containerd store the id is the digest.
    let own = (known.store == Store::Containerd).then(|| last.id.to_string());
    Target {
        digests: each_once(own.into_iter().chain(last.digests.iter().cloned())),
        id: Some(last.id.clone()),
        ..open
    }
}

/// Each costs a request to a source.
fn each_once(digests: impl Iterator<Item = String>) -> Vec<String> {
    let mut known = BTreeSet::new();
    digests
        .filter(|digest| known.insert(digest.clone()))
        .collect()
}

/// The complete image here that is the target under another name.
fn found<'a>(target: &Target, tag: &Reference, known: &Known<'a>) -> Option<&'a Image> {
    let by_id = target.id.as_ref().and_then(|id| known.here.get(id));
    let repository = tag.repository();
    let by_digest = |image: &&Image| {
        let digests = digests_in(image, &repository);
        target.digests.iter().any(|digest| digests.contains(digest))
    };
    let image = by_id.or_else(|| known.here.values().find(by_digest));
    image.filter(|image| !known.in_part.contains(&image.id))
}
