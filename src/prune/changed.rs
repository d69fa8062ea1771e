//! What changed about an image since the plan. Every difference keeps the image, because
//! somebody works with it. Pure.

use chrono::{DateTime, Utc};

use crate::decide::plan::Entry;
use crate::engine::Inspected;
use crate::model::names::Names;
use crate::model::{AtWork, Container, Event, EventKind, Image, Swarm};

/// A name or a tag time that the plan does not know.
pub(super) fn changed(entry: &Entry, inspected: &Inspected) -> Option<String> {
    let image = &entry.image;
    if let Some(tag) = inspected.tags.first() {
        return Some(format!("it was tagged {} since the plan", tag.familiar()));
    }
    if !inspected
        .digests
        .iter()
        .eq(image.digests.difference(&image.untied))
    {
        return Some("its digest references changed since the plan".into());
    }
    if image.last_tag_time.as_ref() != Some(&inspected.last_tag_time) {
        return Some("a tag was set on it since the plan".into());
    }
    None
}

/// Whether a text means this image. Other images are not considered.
fn meant(image: &Image) -> impl Fn(&str) -> bool {
    let names = Names::of([image]);
    move |text| !names.resolve(text).is_empty()
}

/// A container that appeared since the plan.
pub(super) fn used_by_container(entry: &Entry, containers: &[Container]) -> Option<String> {
    let image = &entry.image;
    let means = meant(&entry.image);
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

/// A pull or a use since the plan. If it is over, only events show it.
pub(super) fn wanted_since(entry: &Entry, events: &[Event]) -> Option<String> {
    let means = meant(&entry.image);
    events
        .iter()
        .any(|event| means(event.image.raw()))
        .then(|| "it was pulled or used since the plan".to_owned())
}

/// Whether this image was pulled, loaded or named after this moment.
pub(super) fn pulled_again(
    entry: &Entry,
    inspected: &Inspected,
    events: &[Event],
    since: DateTime<Utc>,
) -> bool {
    let image = Image {
        tags: inspected.tags.clone(),
        digests: inspected.digests.clone(),
        ..(*entry.image).clone()
    };
    let means = meant(&image);
    let named = |event: &Event| match event.what {
        EventKind::Named | EventKind::Pulled | EventKind::Loaded => event.at >= since,
        EventKind::Used | EventKind::Ran => false,
    };
    events
        .iter()
        .any(|event| named(event) && means(event.image.raw()))
}

/// A service that appeared since the plan. Containers need no such check if an image has only
/// one name: the engine itself keeps what they use.
pub(super) fn wanted_by_swarm(entry: &Entry, at_work: &AtWork) -> Option<String> {
    let Swarm::Manager { images, .. } = &at_work.swarm else {
        return None;
    };
    let means = meant(&entry.image);
    let service = images.iter().find(|service| means(service.image.raw()))?;
    Some(format!(
        "service {} wants it since the plan",
        service.service.escaped()
    ))
}
