//! The names that a registry is asked for, and its answers in words.

use std::path::Path;

use crate::cache::archive::offered::NotOffered;
use crate::cache::archive::saved::{NotSaved, NotSavedKind};
use crate::cache::promise::Promise;
use crate::cache::questions::OpenRegistry;
use crate::cache::registry::Upstream;
use crate::host::files::{FileError, unwritten};
use crate::model::reference::Reference;
use crate::model::text::escape;

/// The names to ask a registry for, in this order: each recorded digest, or the promised name if
/// none is recorded.
pub fn names(promise: &Promise, name: &Reference, follow: bool) -> Vec<Reference> {
    let recorded = promise.recorded.as_ref();
    let recorded = recorded.filter(|_| !follow && !name.is_digest());
    let digests = recorded.map_or(&[][..], |it| &it.digests);
    let pinned = |digest: &String| name.pinned(digest);
    let pinned: Vec<Reference> = digests.iter().filter_map(pinned).collect();
    if pinned.is_empty() {
        vec![name.clone()]
    } else {
        pinned
    }
}

/// Counts the registry's answer, and converts its error.
pub fn counted<T>(
    from: &OpenRegistry,
    answer: Result<T, NotOffered>,
    folder: &Path,
) -> Result<T, NotSaved> {
    match answer {
        Ok(answer) => {
            from.count(None);
            Ok(answer)
        }
        Err(NotOffered::Answer(upstream)) => {
            from.count(Some(&upstream));
            Err(from_registry(message(&upstream)))
        }
        Err(NotOffered::Invalid(why)) => Err(from_registry(format!("its registry: {why}"))),
        Err(NotOffered::Write(error)) => Err(unwritable(&unwritten(folder, error))),
    }
}

/// Fit to print.
pub fn message(upstream: &Upstream) -> String {
    match upstream {
        Upstream::Digest(digest) => escape(digest),
        Upstream::Gone => "its registry does not have it (404)".to_owned(),
        Upstream::Denied(status) => format!("its registry denies it ({status})"),
        Upstream::Limited => "its registry allows no more pulls for now (429)".to_owned(),
        Upstream::NoManifest(why) | Upstream::TimedOut(why) | Upstream::Unknown(why) => {
            format!("its registry: {why}")
        }
    }
}

pub fn from_registry(why: impl Into<String>) -> NotSaved {
    NotSaved::new(NotSavedKind::Registry, why)
}

pub fn unwritable(error: &FileError) -> NotSaved {
    NotSaved::new(NotSavedKind::Unwritten, error.to_string())
}
