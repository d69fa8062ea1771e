//! What one survey shows besides the images: who asked for one by its digest, which names one
//! may have had between two surveys, what was built on one. This evidence can only keep an
//! image or make it younger.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::memory::ledger::last_names::LastNames;
use crate::memory::ledger::sighting::PERHAPS;
use crate::memory::ledger::stored::Ledger;
use crate::model::names::Names;
use crate::model::reference::Reference;
use crate::model::{Event, EventKind, Image, ImageId, Inventory, Store, Swarm};

/// Images that somebody asked for by digest, and when they last did: a container, an image
/// mount, a service or a task names the digest now, or an event shows a pull or a use by it. A
/// digest reference alone shows nothing, because on a graphdriver store a pull by tag leaves
/// one, too.
pub(super) fn asked_by_digest<'a>(
    seen: &'a Inventory,
    names: &Names<'a>,
    then: &LastNames<'_>,
    when: impl Fn(&Event) -> DateTime<Utc>,
) -> BTreeMap<&'a ImageId, DateTime<Utc>> {
    let of_digest = |text: &str| {
        let Ok(name) = text.parse::<Reference>() else {
            return Vec::new();
        };
        let then = then.of_digest(&name).into_iter();
        let still = then.filter_map(|id| Some(seen.images.get_key_value(id)?.0));
        names.of_digest(text).into_iter().chain(still).collect()
    };
    let mut asked: BTreeMap<&ImageId, DateTime<Utc>> = BTreeMap::new();
    let mut note = |id, at| {
        let last = asked.entry(id).or_insert(at);
        *last = at.max(*last);
    };
    for event in &seen.events {
        match event.what {
            EventKind::Pulled | EventKind::Used | EventKind::Ran => {
                for id in of_digest(event.image.raw()) {
                    note(id, when(event));
                }
            }
            EventKind::Named | EventKind::Loaded => {}
        }
    }
    for container in &seen.containers {
        let mounts = container.image_mounts.iter();
        let texts = [&container.image].into_iter().chain(mounts);
        let mut ids: Vec<_> = texts.flat_map(|text| of_digest(text.raw())).collect();
        // The digest may lead to another image by now.
        if Names::digest(container.image.raw()).is_some() {
            let known = container.image_ids.iter();
            ids.extend(known.filter_map(|id| Some(seen.images.get_key_value(id)?.0)));
        }
        for id in ids {
            note(id, seen.taken_at);
        }
    }
    if let Swarm::Manager { images, .. } = &seen.at_work.swarm {
        for service in images {
            for id in of_digest(service.image.raw()) {
                note(id, seen.taken_at);
            }
        }
    }
    asked
}

/// How often a tag was set since the last survey.
#[derive(Default, Clone, Copy)]
struct Given {
    pulls: usize,
    times: usize,
    /// Whether the image that has it now did not have it at the last survey.
    moved: bool,
}

/// Untagged images that are new since the last survey, each with the tags that it may have had
/// before the images that have them now: the event of a load names the image and not the tag,
/// that of a pull the tag and not the image.
pub(super) fn may_have_carried<'a>(
    before: &Ledger,
    seen: &'a Inventory,
) -> Vec<(&'a ImageId, Vec<&'a Reference>)> {
    let mut loads: BTreeMap<&str, usize> = BTreeMap::new();
    let mut by_name: BTreeMap<Reference, Given> = BTreeMap::new();
    // Events are asked for from a moment before the last survey.
    let last_survey = before.clock.as_ref().map(|clock| clock.wall);
    let new = |event: &&Event| last_survey.is_none_or(|last| event.at > last);
    for event in seen.events.iter().filter(new) {
        let text = event.image.raw();
        match event.what {
            EventKind::Loaded => *loads.entry(text).or_default() += 1,
            EventKind::Pulled => {
                if let Ok(tag) = text.parse() {
                    let given = by_name.entry(tag).or_default();
                    given.pulls += 1;
                    given.times += 1;
                }
            }
            EventKind::Named => {
                let tag = event.tag.as_ref().and_then(|tag| tag.raw().parse().ok());
                if let Some(tag) = tag {
                    by_name.entry(tag).or_default().times += 1;
                }
            }
            EventKind::Used | EventKind::Ran => {}
        }
    }
    let loads_of = |image: &Image| loads.get(image.id.as_str()).copied().unwrap_or(0);
    let carried = seen.images.values().flat_map(|image| {
        let (loads, then) = (loads_of(image), before.images.get(&image.id));
        image.tags.iter().map(move |tag| (tag, loads, then))
    });
    let given: Vec<(&Reference, Given)> = carried
        .map(|(tag, loads, then)| {
            let mut given = by_name.get(tag).copied().unwrap_or_default();
            given.times += loads;
            given.moved = !then.is_some_and(|then| then.carried_then(tag));
            (tag, given)
        })
        .filter(|(_, given)| given.times > 0)
        .collect();
    if given.is_empty() {
        return Vec::new();
    }
    let perhaps = |image: &Image| -> Vec<&'a Reference> {
        let loaded = loads_of(image) > 0;
        let came = !before.images.contains_key(&image.id);
        let of_its_repository = |tag: &Reference| {
            let mut digests = image.digests.iter();
            digests.any(|digest| digest.repository() == tag.repository())
        };
        // Once its tag has moved on, a pulled image has a digest reference on a
        // graphdriver store, and no name on the containerd store.
        let pulled = |tag: &Reference| match seen.engine.store {
            Store::Graphdriver => of_its_repository(tag),
            Store::Containerd | Store::Podman => image.digests.is_empty(),
        };
        // A poller pulls the same image again and again and moves no tag.
        let twice = |tag: &Reference, given: &Given| {
            came && given.moved && given.pulls > 0 && given.times > 1 && pulled(tag)
        };
        given
            .iter()
            .filter(|(tag, given)| loaded || twice(tag, given))
            .map(|(tag, _)| *tag)
            .take(PERHAPS)
            .collect()
    };
    let untagged = seen.images.values().filter(|image| image.is_dangling());
    untagged
        .map(|image| (&image.id, perhaps(image)))
        .filter(|(_, tags)| !tags.is_empty())
        .collect()
}

/// All ancestors of images that are new since the last survey. The first survey cannot tell
/// which images are new.
pub(super) fn built_on<'a>(before: &Ledger, seen: &'a Inventory) -> BTreeSet<&'a ImageId> {
    let mut found = BTreeSet::new();
    if before.clock.is_none() {
        return found;
    }
    let new = seen.images.values();
    for image in new.filter(|image| !before.images.contains_key(&image.id)) {
        let mut next = image.parent.as_ref();
        // An engine may report a circle.
        while let Some((id, parent)) = next.and_then(|id| seen.images.get_key_value(id))
            && found.insert(id)
        {
            next = parent.parent.as_ref();
        }
    }
    found
}
