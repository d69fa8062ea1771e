//! Which names of an image a rule of the policy covers: those that it has, and for `[[retain]]`
//! also those that it had, as far as the ledger remembers them. Where only a fingerprint of a
//! name is left, any rule may cover it.

use crate::memory::ledger::Sighting;
use crate::model::Image;
use crate::model::reference::Reference;
use crate::policy::NamePattern;

/// Whether the pattern covers a name that the image has.
pub(super) fn has(pattern: &NamePattern, image: &Image) -> bool {
    // On the containerd store an image's id is its digest, and all that is left
    // of its name when its tag has moved on.
    let is_it = |name: &Reference| name.digest() == Some(image.id.as_str());
    let mut names = image.names();
    names.any(|name| pattern.covers(name)) || pattern.exact().is_some_and(is_it)
}

/// Whether the pattern covers a name that the image had, or may have had.
pub(super) fn had(pattern: &NamePattern, seen: &Sighting) -> bool {
    let mut names = seen.tags.keys().chain(seen.perhaps.keys());
    let forgotten = || match pattern.exact() {
        Some(name) => seen.fingerprints.has(name),
        // A fingerprint does not tell whether a pattern covers its name.
        None => !seen.fingerprints.is_empty(),
    };
    names.any(|name| pattern.covers(name)) || forgotten()
}
