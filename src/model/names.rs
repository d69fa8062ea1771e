//! Which images a text means: a name, a digest, an id or the beginning of one, as containers,
//! services and events give them. A text that may mean several images means them all, because
//! more matches only keep more.

use std::collections::BTreeMap;

use crate::model::at_work::{ServiceImage, Swarm};
use crate::model::container::Container;
use crate::model::id::ImageId;
use crate::model::image::Image;
use crate::model::inventory::Inventory;
use crate::model::reference::{Reference, is_hex};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User<'a> {
    /// It runs the image, or ran it.
    Container(&'a Container),
    /// It has the image mounted.
    Mount(&'a Container),
    Service(&'a ServiceImage),
}

pub struct Names<'a> {
    /// All three are sorted, for binary search. A map with the names as text would take more
    /// memory than all the rest.
    ids: Vec<&'a ImageId>,
    tags: Vec<(&'a Reference, &'a ImageId)>,
    digests: Vec<(&'a str, &'a ImageId)>,
}

impl<'a> Names<'a> {
    pub fn of(images: impl IntoIterator<Item = &'a Image>) -> Self {
        let (mut ids, mut tags, mut digests) = (Vec::new(), Vec::new(), Vec::new());
        for image in images {
            ids.push(&image.id);
            tags.extend(image.tags.iter().map(|tag| (tag, &image.id)));
            // By the digest alone: in any repository it means the same bytes.
            let own = image.digests.iter().filter_map(Reference::digest);
            digests.extend(own.map(|digest| (digest, &image.id)));
        }
        ids.sort_unstable();
        tags.sort_unstable();
        digests.sort_unstable();
        Self { ids, tags, digests }
    }

    /// Every image that this text may mean. `name:tag@digest` means both the image that
    /// has the tag and the one that has the digest: the engine goes by the digest, and
    /// whoever wrote the tag may want that image, too.
    pub fn resolve(&self, text: &str) -> Vec<&'a ImageId> {
        let mut found = self.by_id(text);
        if let Ok(name) = text.parse::<Reference>() {
            let tag = if name.is_digest() {
                name.without_digest()
            } else {
                Some(name.clone())
            };
            if let Some(tag) = &tag {
                found.extend(having(&self.tags, tag));
            }
            if let Some(digest) = name.digest() {
                found.extend(having(&self.digests, digest));
                found.extend(self.by_id(digest));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The digest in a name such as `app@sha256:…`. A bare id or digest is no such name:
    /// an engine pulls nothing by it.
    pub fn digest(text: &str) -> Option<String> {
        let name: Reference = text.parse().ok()?;
        name.digest().map(str::to_owned)
    }

    /// Every image that has the digest in this text, whatever its tag.
    pub fn of_digest(&self, text: &str) -> Vec<&'a ImageId> {
        let Some(digest) = Self::digest(text) else {
            return Vec::new();
        };
        having(&self.digests, &*digest)
            .chain(self.by_id(&digest))
            .collect()
    }

    /// By an id or the beginning of one, as `docker run 3f5e6a` leaves it in the list
    /// of containers. Fewer than 4 digits are a name.
    fn by_id(&self, text: &str) -> Vec<&'a ImageId> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if !(4..=64).contains(&hex.len()) || !is_hex(hex) {
            return Vec::new();
        }
        let Ok(first) = format!("{hex:0<64}").parse::<ImageId>() else {
            return Vec::new();
        };
        let at = self.ids.partition_point(|id| **id < first);
        let rest = self.ids[at..].iter().copied();
        rest.take_while(|id| id.hex().starts_with(hex)).collect()
    }
}

/// The images that have this name, from a sorted list.
fn having<'a, T: Ord + ?Sized>(
    list: &[(&T, &'a ImageId)],
    name: &T,
) -> impl Iterator<Item = &'a ImageId> {
    let first = list.partition_point(|(other, _)| *other < name);
    let rest = list[first..].iter();
    rest.take_while(move |(other, _)| *other == name)
        .map(|(_, id)| *id)
}

/// For each image that anything refers to: what refers to it.
pub fn users(inventory: &Inventory) -> BTreeMap<&ImageId, Vec<User<'_>>> {
    let swarm = &inventory.at_work.swarm;
    users_among(&inventory.images, &inventory.containers, swarm)
}

/// As [`users`], for these images.
pub fn users_among<'a>(
    images: &'a BTreeMap<ImageId, Image>,
    containers: &'a [Container],
    swarm: &'a Swarm,
) -> BTreeMap<&'a ImageId, Vec<User<'a>>> {
    let names = Names::of(images.values());
    let mut users: BTreeMap<&ImageId, Vec<User<'_>>> = BTreeMap::new();
    let mut add = |ids: Vec<&_>, user| {
        for id in ids {
            if let Some((id, _)) = images.get_key_value(id) {
                users.entry(id).or_default().push(user);
            }
        }
    };
    for container in containers {
        let mut ids = names.resolve(container.image.raw());
        ids.extend(container.image_ids.iter());
        ids.sort_unstable();
        ids.dedup();
        add(ids, User::Container(container));
        for mount in &container.image_mounts {
            add(names.resolve(mount.raw()), User::Mount(container));
        }
    }
    if let Swarm::Manager { images, .. } = swarm {
        for service in images {
            add(names.resolve(service.image.raw()), User::Service(service));
        }
    }
    users
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{digest, id, image, inventory};

    fn resolved(text: &str) -> Vec<ImageId> {
        let mut one = image(1);
        one.tags.insert("app:1".parse().unwrap());
        let mut two = image(2);
        two.digests.insert(digest("acme/app", 7));
        let host = inventory([one, two]);
        Names::of(host.images.values())
            .resolve(text)
            .into_iter()
            .cloned()
            .collect()
    }

    #[test]
    fn an_image_is_found_by_each_way_to_name_it() {
        assert_eq!(resolved("app:1"), [id(1)]);
        assert_eq!(resolved("docker.io/library/app:1"), [id(1)]);
        assert_eq!(resolved(id(1).as_str()), [id(1)]);
        assert_eq!(resolved(id(2).short()), [id(2)]);
        assert_eq!(resolved(&digest("acme/app", 7).to_string()), [id(2)]);
        assert_eq!(
            resolved(&digest("mirror.example/app", 7).to_string()),
            [id(2)],
            "the same bytes"
        );
        assert_eq!(resolved("app:2"), []);
        assert_eq!(resolved("<none>"), []);
    }

    #[test]
    fn a_name_with_tag_and_digest_means_both() {
        let both = format!("app:1@{}", digest("app", 7).digest().unwrap());
        assert_eq!(resolved(&both), [id(1), id(2)]);
    }

    #[test]
    fn the_containerd_stores_ids_are_digests() {
        assert_eq!(resolved(&format!("other@{}", id(1))), [id(1)]);
    }
}
