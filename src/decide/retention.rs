//! Which names of an image a rule of the policy goes by: those that it has, and for
//! `[[retain]]` also those that it had, as far as is remembered. Where less than a name is
//! remembered, any rule may be meant.

use crate::memory::ledger::Sighting;
use crate::model::Image;
use crate::model::reference::Reference;
use crate::policy::NamePattern;

/// Whether the pattern covers a name that the image has.
pub(super) fn has(pattern: &NamePattern, image: &Image) -> bool {
    // On the containerd store an image's id is its digest, and all that is left
    // of its name when its tag has moved on.
    let is_it = |name: &Reference| name.digest() == Some(image.id.as_str());
    let mut names = image.tags.iter().chain(&image.digests);
    names.any(|name| pattern.covers(name)) || pattern.exact().is_some_and(is_it)
}

/// Whether the pattern covers a name that the image had, or may have had.
pub(super) fn had(pattern: &NamePattern, seen: &Sighting) -> bool {
    let mut names = seen.tags.keys().chain(seen.perhaps.keys());
    let faded = || match pattern.exact() {
        Some(name) => seen.faded.has(name),
        // A fingerprint does not tell whether a pattern covers its name.
        None => !seen.faded.is_empty(),
    };
    names.any(|name| pattern.covers(name)) || faded()
}
