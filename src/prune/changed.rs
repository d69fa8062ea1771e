//! What is different from what was planned, if anything: every difference
//! means that somebody has been at it, and keeps. Pure.

use crate::engine::Seen;
use crate::model::{AtWork, Container, Event, Swarm};
use crate::plan::Entry;
use crate::users::Names;

/// What is different from what was planned, if anything: every difference
/// means that somebody has been at it, and keeps.
pub(super) fn changed(entry: &Entry, seen: &Seen) -> Option<String> {
    let image = entry.image();
    if let Some(tag) = seen.tags.first() {
        return Some(format!("it was tagged {} since the plan", tag.familiar()));
    }
    if seen.digests != image.digests {
        return Some("its digest references changed since the plan".into());
    }
    if image.last_tag_time.as_ref() != Some(&seen.last_tag_time) {
        return Some("a tag was set on it since the plan".into());
    }
    None
}

/// A container that appeared since the plan.
pub(super) fn used_by_container(entry: &Entry, containers: &[Container]) -> Option<String> {
    let image = entry.image();
    let alone = [(image.id.clone(), image.clone())].into();
    let names = Names::of(&alone);
    let means = |text: &str| !names.resolve(text).is_empty();
    let user = containers.iter().find(|container| {
        container.image_ids.contains(&image.id)
            || means(container.image.raw())
            || container
                .image_mounts
                .iter()
                .any(|mount| means(mount.raw()))
    })?;
    Some(format!(
        "container {} uses it since the plan",
        user.name.escaped()
    ))
}

/// What was asked for by name, or used, since the plan, though nothing of it is
/// left to see.
pub(super) fn wanted_since(entry: &Entry, happened: &[Event]) -> Option<String> {
    let alone = [(entry.image().id.clone(), entry.image().clone())].into();
    let names = Names::of(&alone);
    let meant = |event: &&Event| !names.resolve(event.image.raw()).is_empty();
    happened
        .iter()
        .any(|event| meant(&event))
        .then(|| "it was pulled or used since the plan".to_owned())
}

/// A service that appeared since the plan. Containers need no such look where
/// an image has one name alone: the engine itself keeps what they use.
pub(super) fn wanted_by_swarm(entry: &Entry, at_work: &AtWork) -> Option<String> {
    let Swarm::Manager { images, .. } = &at_work.swarm else {
        return None;
    };
    let alone = [(entry.image().id.clone(), entry.image().clone())].into();
    let names = Names::of(&alone);
    let service = images
        .iter()
        .find(|service| !names.resolve(service.image.raw()).is_empty())?;
    Some(format!(
        "service {} wants it since the plan",
        service.service.escaped()
    ))
}
