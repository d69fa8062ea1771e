//! A damaged image: its names, what uses it, and which damaged images share layers with it.

use crate::engine::Contents;
use crate::model::names::{User, users_among};
use crate::model::reference::Reference;
use crate::model::{Image, ImageId};

use crate::cache::restore::repair::{Group, Repair};
use crate::cache::restore::restored::Origin;

pub struct Damaged {
    pub id: ImageId,
    /// The names by which it is promised.
    pub promised: Vec<String>,
    pub names: Names,
    /// DiffIDs; `None` if unknown.
    pub layers: Option<Vec<String>>,
    /// Which source has it, or why it cannot be repaired.
    pub state: Result<Available, Repair>,
}

#[derive(Debug, Clone)]
pub struct Available {
    pub from: Origin,
    /// The name by which it is restored.
    pub by: String,
    /// Digest references that cannot be restored.
    pub lost: Vec<Reference>,
}

pub struct Names {
    pub tags: Vec<Reference>,
    /// Without those that the engine made up.
    pub pinned: Vec<Reference>,
}

impl Damaged {
    fn shares(&self, other: &Self) -> bool {
        match (&self.layers, &other.layers) {
            (Some(own), Some(its)) => own.iter().any(|layer| its.contains(layer)),
            // Unknown, so they may share layers.
            _ => true,
        }
    }

    pub fn add_names(&self, group: &mut Group, available: &Available) {
        let Names { tags, pinned } = &self.names;
        // On both stores, removing the last tag of a repository also removes its digest
        // references.
        let has_tag = |pin: &Reference| {
            let mut tags = tags.iter();
            tags.any(|tag| tag.repository() == pin.repository())
        };
        let alone = pinned.iter().filter(|pin| !has_tag(pin));
        let all: Vec<&Reference> = tags.iter().chain(alone).collect();
        group.names.extend(all.iter().map(|name| name.familiar()));
        if all.is_empty() {
            group.names.push(self.id.to_string());
        }
        group.restore.push(available.by.clone());
        let others = pinned.iter().filter(|name| !available.lost.contains(name));
        let others = others.map(Reference::familiar);
        group
            .restore
            .extend(others.filter(|name| *name != available.by));
    }
}

/// This image, and all others that share layers with it, directly or through others.
pub fn sharing<'a>(id: &ImageId, damaged: &'a [Damaged]) -> (&'a Damaged, Vec<&'a Damaged>) {
    let (own, mut left): (Vec<&Damaged>, Vec<&Damaged>) =
        damaged.iter().partition(|image| image.id == *id);
    let own = own[0];
    let mut found = vec![own];
    let mut at = 0;
    while let Some(image) = found.get(at).copied() {
        let (shares, rest): (Vec<&Damaged>, Vec<&Damaged>) =
            left.into_iter().partition(|other| image.shares(other));
        found.extend(shares);
        left = rest;
        at += 1;
    }
    (own, found.split_off(1))
}

/// What uses an image: a container, a service, or an image that was built on it.
pub fn used(image: &Image, contents: &Contents) -> Option<String> {
    let Contents {
        images,
        containers,
        at_work,
    } = contents;
    let users = users_among(images, containers, &at_work.swarm);
    let by = |user: &User<'_>| match user {
        User::Container(it) => format!("the container {} uses it", it.name.escaped()),
        User::Mount(it) => format!("the container {} mounts it", it.name.escaped()),
        User::Service(it) => format!("the service {} names it", it.service.escaped()),
    };
    let mut users = users.get(&image.id).into_iter().flatten();
    let child = || {
        images
            .values()
            .find(|it| it.parent.as_ref() == Some(&image.id))
    };
    let built = || child().map(|it| format!("the image {} was built on it", it.id.short()));
    users.next().map(by).or_else(built)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{digest, id};

    fn damaged(n: u64, layers: Option<&[&str]>) -> Damaged {
        let tag: Reference = format!("app{n}:1").parse().unwrap();
        Damaged {
            id: id(n),
            promised: vec![tag.familiar()],
            names: Names {
                tags: vec![tag],
                pinned: vec![digest(&format!("app{n}"), n)],
            },
            layers: layers.map(|all| all.iter().map(|it| (*it).to_owned()).collect()),
            state: Err(Repair::Nowhere(String::new())),
        }
    }

    #[test]
    fn images_go_together_that_share_layers_also_by_way_of_a_third() {
        let all = [
            damaged(1, Some(&["a", "b"])),
            damaged(2, Some(&["c"])),
            damaged(3, Some(&["b", "d"])),
            damaged(4, Some(&["d"])),
        ];
        let with = |n| {
            let (own, rest) = sharing(&id(n), &all);
            assert_eq!(own.id, id(n));
            rest.iter().map(|it| it.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(with(1), [id(3), id(4)]);
        assert_eq!(with(2), []);
        assert_eq!(with(4), [id(3), id(1)]);
        // Its layers are unknown, so it may share any.
        let all = [damaged(1, Some(&["a"])), damaged(2, None)];
        assert_eq!(sharing(&id(1), &all).1.len(), 1);
    }

    #[test]
    fn each_name_is_dropped_once_and_those_that_can_be_had_come_back() {
        let mut image = damaged(1, None);
        image.names.pinned.push(digest("elsewhere/app", 2));
        let (tag, along) = ("app1:1".to_owned(), digest("app1", 1).familiar());
        let other = digest("elsewhere/app", 2);
        let mut available = Available {
            from: Origin::Archive,
            by: tag.clone(),
            lost: Vec::new(),
        };
        let group = |available: &Available| {
            let mut group = Group::default();
            image.add_names(&mut group, available);
            (group.names, group.restore)
        };
        let dropped = vec![tag.clone(), other.familiar()];
        let back = vec![tag.clone(), along.clone(), other.familiar()];
        assert_eq!(group(&available), (dropped.clone(), back));
        available.lost.push(other);
        assert_eq!(group(&available), (dropped, vec![tag, along]));
    }
}
