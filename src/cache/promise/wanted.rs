//! Finds the image that a name or an id means.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::reference::Reference;
use crate::model::{Image, ImageId, Store};

/// How a promise names its image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// A tag, or a digest reference.
    Name(Reference),
    Id(ImageId),
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(&name.familiar()),
            Self::Id(id) => id.fmt(f),
        }
    }
}

impl Wanted {
    /// `None` for an id.
    pub fn name(&self) -> Option<&Reference> {
        match self {
            Self::Name(name) => Some(name),
            Self::Id(_) => None,
        }
    }

    /// The name in its full form, for programs.
    pub fn full(&self) -> String {
        match self {
            Self::Name(name) => name.to_string(),
            Self::Id(id) => id.to_string(),
        }
    }

    /// The image that a deploy would use: it has this name, or this digest in the same
    /// repository.
    pub fn find<'a>(&self, here: &'a BTreeMap<ImageId, Image>) -> Option<&'a Image> {
        match self {
            Self::Id(id) => here.get(id),
            Self::Name(name) => match name.digest() {
                None => here.values().find(|image| image.tags.contains(name)),
                Some(digest) => here.values().find(|image| {
                    let known = digests_in(image, &name.repository());
                    let tagged = image
                        .tags
                        .iter()
                        .any(|tag| tag.repository() == name.repository());
                    known.iter().any(|ours| ours == digest)
                        || (tagged && image.id.as_str() == digest)
                }),
            },
        }
    }
}

/// Adds each image's digest in all of its repositories. A containerd store lists the digest in
/// only one repository; there the digest is the image's id.
pub fn with_all_digests(
    mut here: BTreeMap<ImageId, Image>,
    store: Store,
) -> BTreeMap<ImageId, Image> {
    if store == Store::Containerd {
        for image in here.values_mut() {
            let all = image.tags.iter();
            let all = all.filter_map(|tag| tag.pinned(image.id.as_str()));
            image.digests.extend(all);
        }
    }
    here
}

/// The digests of an image in a repository.
pub fn digests_in(image: &Image, repository: &str) -> Vec<String> {
    let of_it = image
        .digests
        .iter()
        .filter(|name| name.repository() == repository);
    of_it
        .filter_map(|name| name.digest().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{digest, id, inventory, pinned, tagged};

    #[test]
    fn a_containerd_store_has_the_digest_in_each_repository_that_has_a_tag() {
        let mut image = tagged(1, "app:1");
        image.tags.insert("r.example/app:1".parse().unwrap());
        let here = inventory([image]).images;
        let known = |store, repository: &str| {
            let here = with_all_digests(here.clone(), store);
            digests_in(&here[&id(1)], repository)
        };
        let digest = id(1).to_string();
        for repository in ["docker.io/library/app", "r.example/app"] {
            assert_eq!(known(Store::Containerd, repository), [digest.as_str()]);
            assert_eq!(known(Store::Graphdriver, repository), [] as [&str; 0]);
        }
        assert_eq!(known(Store::Containerd, "r.example/other"), [] as [&str; 0]);
    }

    #[test]
    fn a_pin_is_found_in_its_own_repository_only() {
        let here = inventory([pinned(1, "r.example/app")]).images;
        let find = |repository: &str| Wanted::Name(digest(repository, 1001)).find(&here).is_some();
        assert!(find("r.example/app"));
        assert!(!find("r.example/other"));
    }
}
