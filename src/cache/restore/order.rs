//! What becomes of each promise, in the order of the promises. It asks nothing.

use std::collections::BTreeMap;

use crate::memory::ledger::Ledger;
use crate::model::reference::Reference;
use crate::model::text::escape;
use crate::model::{Image, ImageId, Store};
use crate::policy::Policy;

use crate::cache::promise::{Promise, Wanted, digests_in};
use crate::cache::restore::left_out::LeftOut;

/// What is to be done about one promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Nothing: its image is here by that name.
    Here,
    LeaveOut(LeftOut),
    Do(Work),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// The image is here, and only its tag is not.
    SetTag {
        tag: Reference,
        id: ImageId,
    },
    Bring(Target),
}

/// An image to be brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub wanted: Wanted,
    /// The digests that it had in the repository of its name, or may have had there. It is
    /// brought by the first of them that a source has.
    pub digests: Vec<String>,
    /// The id that it had on this engine and store.
    pub id: Option<ImageId>,
}

impl Target {
    /// Nothing is known of the image: the tag counts as the source has it now.
    pub fn is_open(&self) -> bool {
        self.digests.is_empty() && self.id.is_none()
    }

    /// The tag that it is to have; `None` where it is promised by digest or by id.
    pub fn tag(&self) -> Option<&Reference> {
        match &self.wanted {
            Wanted::Name(name) if !name.is_digest() => Some(name),
            Wanted::Name(_) | Wanted::Id(_) => None,
        }
    }
}

/// What is known of this host and of its past.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// With every digest by which an image may be promised.
    pub here: &'a BTreeMap<ImageId, Image>,
    pub ledger: &'a Ledger,
    pub store: Store,
    pub policy: &'a Policy,
    /// A tag that is not here is brought as its source has it now, whatever is remembered.
    pub follow: bool,
}

pub fn tasks(promises: &[Promise], known: &Known<'_>) -> Vec<Task> {
    let task = |promise| task(promise, known);
    promises.iter().map(task).collect()
}

fn task(promise: &Promise, known: &Known<'_>) -> Task {
    if let Some(image) = promise.wanted.find(known.here) {
        return if leads_elsewhere(promise, image) {
            Task::LeaveOut(LeftOut::Elsewhere(image.id.clone()))
        } else {
            Task::Here
        };
    }
    if let Wanted::Name(name) = &promise.wanted
        && let Some(never) = known
            .policy
            .promised
            .never
            .iter()
            .find(|it| it.covers(name))
    {
        return Task::LeaveOut(LeftOut::Never(escape(&never.text)));
    }
    let target = target(promise, known);
    let found = |tag| Some((tag, found(&target, tag, known.here)?));
    Task::Do(match target.tag().and_then(found) {
        Some((tag, image)) => Work::SetTag {
            tag: tag.clone(),
            id: image.id.clone(),
        },
        None => Work::Bring(target),
    })
}

/// Whether the promised name leads to another image than the recorded one.
fn leads_elsewhere(promise: &Promise, image: &Image) -> bool {
    let (Some(recorded), Wanted::Name(name)) = (&promise.recorded, &promise.wanted) else {
        return false;
    };
    recorded.tells() && !recorded.is(image, &name.repository())
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
    if let Some(recorded) = promise.recorded.as_ref().filter(|it| it.tells()) {
        return Target {
            digests: recorded.digests.clone(),
            id: recorded.id.clone(),
            ..open
        };
    }
    let Some(last) = known.ledger.last_with(name) else {
        return open;
    };
    // A containerd store calls an image by its digest.
    let own = (known.store == Store::Containerd).then(|| last.id.to_string());
    Target {
        digests: own
            .into_iter()
            .chain(last.digests.iter().cloned())
            .collect(),
        id: Some(last.id.clone()),
        ..open
    }
}

/// The image here that is the target under another name.
fn found<'a>(
    target: &Target,
    tag: &Reference,
    here: &'a BTreeMap<ImageId, Image>,
) -> Option<&'a Image> {
    let by_id = target.id.as_ref().and_then(|id| here.get(id));
    let repository = tag.repository();
    let by_digest = |image: &&Image| {
        let known = digests_in(image, &repository);
        target.digests.iter().any(|digest| known.contains(digest))
    };
    by_id.or_else(|| here.values().find(by_digest))
}
