//! Containers that lost their image to a removal.

use std::collections::BTreeSet;

use crate::engine::{EngineError, Failure, Reader};
use crate::memory::journal::Record;
use crate::model::lost::{ContainerName, Lost};
use crate::model::{Container, ImageId, Inventory};
use crate::prune::aftermath::journal::was_reported;
use crate::prune::outcome::Loss;

/// Containers with an image that the host does not have.
pub fn without_image(inventory: &Inventory) -> Vec<Container> {
    let lacks_one = |container: &&Container| {
        let mut images = images_of(container).into_iter();
        images.any(|(id, _)| !inventory.images.contains_key(&id))
    };
    let containers = inventory.containers.iter();
    containers.filter(lacks_one).cloned().collect()
}

/// Images of containers that somebody made while a run of ours removed the image. Such a container
/// keeps running, but its image can neither be inspected nor used again. The journal tells which
/// ones were reported before.
pub async fn orphans(
    reader: &Reader,
    containers: &[Container],
    removed: &BTreeSet<ImageId>,
    journal: &[Record],
) -> Result<Vec<Loss>, EngineError> {
    let mut lost = Vec::new();
    for container in containers {
        for (id, what) in images_of(container) {
            if !removed.contains(&id) || was_reported(journal, &id, &what) {
                continue;
            }
            match reader.inspect(&id).await {
                Ok(Some(_)) => continue,
                Ok(None) => {}
                // The containerd store may still have a name for it.
                Err(error) if error.kind == Failure::Nonsense => {}
                Err(error) => return Err(error),
            }
            lost.push(Loss {
                what,
                digests: Vec::new(),
                with: id,
            });
        }
    }
    Ok(lost)
}

/// The images that a container was made of or has mounted, as far as their ids are known.
fn images_of(container: &Container) -> Vec<(ImageId, Lost)> {
    let name = ContainerName {
        id: container.id.clone(),
        name: container.name.clone(),
    };
    let own = container.image_ids.iter().cloned();
    let own = own.map(|id| (id, Lost::MadeOf(name.clone())));
    let mounts = container.image_mounts.iter();
    let mounts = mounts.filter_map(|mount| mount.raw().parse().ok());
    let mounts = mounts.map(|id| (id, Lost::MountedBy(name.clone())));
    own.chain(mounts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::journal::RemovalResult;
    use crate::model::text::Untrusted;
    use crate::prune::aftermath::journal::{records, removed};
    use crate::testing::{at, id, image, inventory};

    fn container(image: u64, mount: Option<u64>) -> Container {
        Container {
            id: Untrusted::new("0123456789abcdef"),
            name: Untrusted::new("web"),
            image: Untrusted::new(id(image).to_string()),
            image_ids: vec![id(image)],
            state: Untrusted::new("created"),
            image_mounts: mount
                .map(|n| Untrusted::new(id(n).to_string()))
                .into_iter()
                .collect(),
        }
    }

    #[test]
    fn a_container_without_its_image_and_one_without_a_mounted_image_are_found() {
        let mut host = inventory([image(1), image(2)]);
        for (own, mount) in [(1, None), (1, Some(2)), (3, None), (1, Some(3))] {
            host.containers.push(container(own, mount));
        }
        assert_eq!(without_image(&host), host.containers[2..]);
        let found = without_image(&host);
        let images = found.iter().flat_map(images_of);
        assert_eq!(
            images.map(|(_, what)| what.words()).collect::<Vec<_>>(),
            [
                "the image of container web (0123456789ab)",
                "the image of container web (0123456789ab)",
                "an image mounted by container web (0123456789ab)"
            ]
        );
    }

    #[test]
    fn a_loss_is_told_once() {
        let (_, what) = images_of(&container(1, None)).remove(0);
        let lost = Loss {
            what: what.clone(),
            with: id(1),
            digests: vec![],
        };
        let journal = records("r", at(0), &[lost]);
        assert!(was_reported(&journal, &id(1), &what));
        assert!(!was_reported(&journal, &id(2), &what));
        let other = Lost::MadeOf(ContainerName {
            id: Untrusted::new("fedcba9876543210"),
            name: Untrusted::new("web"),
        });
        assert!(!was_reported(&journal, &id(1), &other));
        let words = Record::outcome(
            "r",
            at(0),
            id(1),
            RemovalResult::Collateral,
            Some("web".into()),
        );
        assert!(
            was_reported(&[words], &id(1), &other),
            "what it was is not said"
        );
        assert_eq!(removed(&journal, None), [id(1)].into());
    }
}
