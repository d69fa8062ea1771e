//! Names that a run dropped on the containerd store, before it was cut off and could neither
//! remove the image nor put them back. They still count as the image's. Pure.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::memory::journal::Intended;
use crate::model::reference::Reference;
use crate::model::{Event, EventKind, Image, ImageId, Incomplete};

/// The longest time in which one request drops a digest reference and the tags that go with it.
const TOGETHER: TimeDelta = TimeDelta::seconds(1);

/// Adds such names to the images again, and to their `untied`.
pub(super) fn restore_untied(
    images: &mut BTreeMap<ImageId, Image>,
    intended: &BTreeMap<ImageId, Intended>,
    events: &[Event],
) {
    let mut found = Vec::new();
    for (id, intended) in intended {
        let Some(image) = images.get(id) else {
            continue;
        };
        // Our name goes last, or after all names are put back: without it the run was done with
        // the image, unless its intent is still open.
        if image.ours.is_empty() && !intended.open {
            continue;
        }
        let (own, digests) = digests(image, intended);
        // It may have all its digests and still lack a tag: the engine drops one name after the
        // other.
        if digests.is_empty() && !intended.open {
            continue;
        }
        let mut tags = went_along(id, &own, intended, events);
        tags.extend(
            intended
                .names
                .iter()
                .filter(|it| !it.is_digest() && !it.is_ours())
                .cloned(),
        );
        // A tag that leads to an image belongs to that image.
        tags.retain(|tag| !images.values().any(|image| image.tags.contains(tag)));
        if digests.is_empty() && tags.is_empty() {
            continue;
        }
        found.push((id, digests, tags));
    }
    for (id, digests, tags) in found {
        if let Some(image) = images.get_mut(id) {
            image.digests.extend(digests.iter().cloned());
            image.tags.extend(tags.iter().cloned());
            image.untied = digests.into_iter().chain(tags).collect();
        }
    }
}

/// Keeps images that have our name alone, where no intent tells their other names: the journal
/// was lost, or is in another state folder, and names may have to be put back.
pub(super) fn keep_without_intent(
    images: &mut BTreeMap<ImageId, Image>,
    intended: &BTreeMap<ImageId, Intended>,
) {
    for (id, image) in images {
        let named = !(image.tags.is_empty() && image.digests.is_empty());
        if image.ours.is_empty() || named || intended.contains_key(id) {
            continue;
        }
        image.incomplete.get_or_insert_with(|| {
            let why = "it has a name of secateur's alone, and no journal here tells which names it \
                       had before; if nobody wants it: docker rmi";
            let ours: Vec<String> = image.ours.iter().map(Reference::familiar).collect();
            Incomplete::Odd(format!("{why} {}", ours.join(" ")))
        });
    }
}

/// The image's own digest references in an intent, and those that it lacks.
fn digests(image: &Image, intended: &Intended) -> (BTreeSet<Reference>, BTreeSet<Reference>) {
    // The engine may list a digest reference that it only derives from a tag of that
    // repository.
    let made_up = |name: &Reference| {
        let mut tags = image.tags.iter();
        tags.any(|tag| tag.repository() == name.repository())
    };
    let its_own = |name: &&Reference| name.digest() == Some(image.id.as_str());
    let own: BTreeSet<Reference> = intended.names.iter().filter(its_own).cloned().collect();
    let lacks = |name: &&Reference| !image.digests.contains(*name) || made_up(name);
    let lacking = own.iter().filter(lacks).cloned().collect();
    (own, lacking)
}

/// Tags that somebody gave it after the plan, and that went with a digest reference of their
/// repository. Two events at one moment, one with the image and one with the name, show such a
/// loss.
fn went_along(
    id: &ImageId,
    digests: &BTreeSet<Reference>,
    intended: &Intended,
    events: &[Event],
) -> BTreeSet<Reference> {
    let events = || {
        let named = |event: &&Event| event.what == EventKind::Named && event.at >= intended.at;
        events.iter().filter(named)
    };
    let of_it = events().filter(|event| event.tag.is_none() && event.image.raw() == id.as_str());
    let lost: Vec<_> = of_it
        .flat_map(|lost| events().filter(|event| event.at == lost.at))
        .filter_map(|event| Some((event.at, event.image.raw().parse::<Reference>().ok()?)))
        .collect();
    let with_a_digest = |tag: &Reference, at: DateTime<Utc>| {
        lost.iter().any(|(then, name)| {
            let near = (*then - at).abs() <= TOGETHER;
            near && digests.contains(name) && name.repository() == tag.repository()
        })
    };
    let tags = lost
        .iter()
        .filter(|(_, name)| !name.is_digest() && !name.is_ours());
    tags.filter(|(at, tag)| with_a_digest(tag, *at))
        .map(|(_, tag)| tag.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::text::Untrusted;
    use crate::testing::{at, id, image, inventory};

    fn name(n: u64, repository: &str) -> Reference {
        format!("{repository}@{}", id(n)).parse().unwrap()
    }

    fn left(n: u64) -> Image {
        Image {
            ours: [Reference::ours(&id(n))].into(),
            ..image(n)
        }
    }

    /// Image 1 lost this name then.
    fn lost(seconds: i64, name: &str) -> [Event; 2] {
        [id(1).as_str(), name].map(|image| Event {
            at: at(seconds),
            image: Untrusted::new(image),
            what: EventKind::Named,
            tag: None,
        })
    }

    fn intent(names: &[&str], open: bool) -> BTreeMap<ImageId, Intended> {
        let names = names.iter().map(|text| text.parse().unwrap());
        let names = names.chain([name(1, "app"), name(2, "app")]).collect();
        let intended = Intended {
            at: at(0),
            names,
            open,
        };
        [(id(1), intended)].into()
    }

    fn untied(
        images: impl IntoIterator<Item = Image>,
        intended: &BTreeMap<ImageId, Intended>,
        events: &[Event],
    ) -> Vec<String> {
        let mut images = inventory(images).images;
        restore_untied(&mut images, intended, events);
        let image = &images[&id(1)];
        let names = image.digests.iter().chain(&image.tags);
        assert!(
            image
                .untied
                .iter()
                .all(|name| names.clone().any(|it| it == name))
        );
        image.untied.iter().map(Reference::familiar).collect()
    }

    #[test]
    fn what_an_intent_names_is_the_images_while_it_has_our_name_or_nobody_knows_more() {
        let app = name(1, "app").familiar();
        assert_eq!(untied([left(1)], &intent(&[], false), &[]), [&*app]);
        assert_eq!(untied([image(1)], &intent(&[], true), &[]), [&*app]);
        assert_eq!(untied([image(1)], &intent(&[], false), &[]), [""; 0]);
        let mut whole = left(1);
        whole.digests.insert(name(1, "app"));
        assert_eq!(untied([whole.clone()], &intent(&[], true), &[]), [""; 0]);
        // It may be derived from the tag.
        whole.tags.insert("app:1".parse().unwrap());
        assert_eq!(untied([whole], &intent(&[], true), &[]), [&*app]);
    }

    #[test]
    fn an_image_with_our_name_alone_stays_unless_an_intent_tells_of_it() {
        let kept = |image: Image, intended: &BTreeMap<ImageId, Intended>| {
            let mut images = inventory([image]).images;
            keep_without_intent(&mut images, intended);
            images[&id(1)].incomplete.is_some()
        };
        let (none, known) = (BTreeMap::new(), intent(&[], false));
        assert!(kept(left(1), &none));
        assert!(!kept(left(1), &known));
        assert!(!kept(image(1), &none));
        let mut named = left(1);
        named.digests.insert(name(1, "app"));
        assert!(!kept(named, &none));
    }

    #[test]
    fn a_tag_that_went_along_is_the_images_unless_it_leads_elsewhere_or_somebody_took_it() {
        let app = name(1, "app").familiar();
        let both = [lost(5, "app:1"), lost(5, &app)].concat();
        let of = |images: &[Image], events: &[Event]| {
            untied(images.iter().cloned(), &intent(&[], true), events)
        };
        assert_eq!(of(&[left(1)], &both), [&*app, "app:1"]);
        let mut other = image(2);
        other.tags.insert("app:1".parse().unwrap());
        assert_eq!(of(&[left(1), other], &both), [&*app]);
        for apart in [
            [lost(5, "app:1"), lost(8, &app)].concat(),
            [lost(5, "db:1"), lost(5, &app)].concat(),
            lost(5, "app:1").to_vec(),
        ] {
            assert_eq!(of(&[left(1)], &apart), [&*app]);
        }
        // Also where the digest reference itself is still there.
        let mut whole = left(1);
        whole.digests.insert(name(1, "app"));
        assert_eq!(of(&[whole], &both), ["app:1"]);
        // A run that was refused remembers it for the next.
        let known = untied([left(1)], &intent(&["app:1"], true), &[]);
        assert_eq!(known, [&*app, "app:1"]);
    }
}
