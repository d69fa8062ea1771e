//! Short names of images and references in the log of the small world, an error, and a lock.

use crate::engine::{EngineError, Failure, Inspected};
use crate::guard::{Cause, Refusal};
use crate::model::ImageId;
use crate::model::conditions::LockKind;
use crate::model::reference::Reference;

/// The number that `testing::id` made an id of.
pub(super) fn n(id: &ImageId) -> u64 {
    u64::from_str_radix(&id.hex()[..8], 16).unwrap()
}

pub(super) fn short(name: &Reference) -> String {
    if name.is_ours() {
        return "ours".into();
    }
    name.familiar().split('@').next().unwrap().to_owned()
}

pub(super) fn nameless(seen: &Inspected) -> bool {
    seen.tags.is_empty() && seen.digests.is_empty() && seen.ours.is_empty()
}

pub(super) fn broken(kind: Failure) -> EngineError {
    EngineError {
        doing: "test".into(),
        kind,
        why: format!("{kind:?}"),
    }
}

pub(super) fn a_lock() -> Refusal {
    Cause::DeployLock {
        path: "/l".into(),
        kind: LockKind::Flock,
        holder: None,
        unclear: None,
    }
    .into()
}
