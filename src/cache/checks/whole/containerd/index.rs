//! Compares an export of a containerd store. Of an index, only manifests for the engine's
//! platform count, if there are any; attestations never count.

use std::collections::BTreeSet;

use crate::cache::checks::whole::containerd::blobs::{damaged, read};
use crate::cache::checks::whole::containerd::child::Child;
use crate::cache::checks::whole::containerd::manifest::Manifest;
use crate::cache::checks::whole::export::Export;
use crate::cache::checks::whole::verdict::{Compared, StoreFacts, differs, only_for};
use crate::engine::Platform;
use crate::model::ImageId;
use crate::model::text::escape;

/// Compares each blob with its digest, and the blobs with those that the manifests list.
pub fn compare(export: &Export, id: &ImageId, beside: &StoreFacts) -> Compared {
    let Some(root) = read(export, id.as_str())? else {
        return Ok((0, vec![format!("the image's manifest {id} is missing")]));
    };
    let children = if root.manifests.is_empty() {
        vec![Child::of(export, id.as_str(), None, true)?]
    } else {
        children(export, &root, beside.platform.as_ref())?
    };
    let (ours, others): (Vec<&Child>, Vec<&Child>) = children.iter().partition(|child| child.ours);
    // An image that exists only for other platforms runs by emulation.
    let deciding = if ours.is_empty() { &others } else { &ours };
    let layers = deciding.iter().filter(|child| child.is_whole());
    let layers: Vec<usize> = layers.map(|child| child.layers).collect();
    let (mut problems, others_differ) = differing(export, &children);
    if layers.is_empty() {
        let here: Vec<&&Child> = deciding.iter().filter(|child| child.here).collect();
        let elsewhere = others.iter().filter(|child| child.is_whole());
        let elsewhere: Vec<String> = elsewhere.map(|child| child.name()).collect();
        match ours.first() {
            _ if !here.is_empty() => {
                problems.extend(here.iter().flat_map(|child| child.lacks(&beside.lost)));
            }
            Some(wanted) if elsewhere.is_empty() => {
                let (name, digest) = (wanted.name(), escape(wanted.digest));
                problems.push(format!(
                    "nothing of {name} is here: its manifest {digest} is missing"
                ));
            }
            None if elsewhere.is_empty() => problems.push("none of its layers is here".to_owned()),
            Some(wanted) if problems.is_empty() && others_differ.is_empty() => {
                return Err(only_for(&elsewhere.join(", "), &wanted.name()));
            }
            Some(_) | None => {}
        }
    }
    problems.extend(others_differ);
    Ok((layers.iter().sum(), problems))
}

fn children<'a>(
    export: &Export,
    index: &'a Manifest,
    engine: Option<&Platform>,
) -> Result<Vec<Child<'a>>, String> {
    let images = index.manifests.iter();
    let images = images.filter(|named| !named.is_attestation());
    // An index may list one manifest for several variants.
    let mut known = BTreeSet::new();
    let children = images.filter_map(|named| {
        let platform = named.platform();
        // An engine also uses a manifest without a platform.
        let ours = platform.as_ref().is_none_or(|named| Some(named) == engine);
        let is_new = known.insert((&named.digest, ours));
        is_new.then(|| Child::of(export, &named.digest, platform, ours))
    });
    children.collect()
}

/// Every blob with a wrong hash, once: first the parts of the image, then the other blobs.
fn differing(export: &Export, children: &[Child]) -> (Vec<String>, Vec<String>) {
    let mut known = BTreeSet::new();
    let mut parts = Vec::new();
    for (digest, what) in children.iter().flat_map(|child| &child.differing) {
        if known.insert(digest.as_str()) {
            parts.push(what.clone());
        }
    }
    let others = damaged(export).into_iter();
    let others = others.filter(|(digest, _)| !known.contains(digest.as_str()));
    let others =
        others.map(|(digest, hash)| differs(&format!("the blob {}", escape(&digest)), &hash));
    (parts, others.collect())
}
