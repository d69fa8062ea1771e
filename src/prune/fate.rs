//! What became of one image of the plan.

use crate::engine::{EngineError, Failure};
use crate::memory::journal::SkipCause;
use crate::model::reference::Reference;
use crate::prune::outcome::Ending;

pub(super) enum Fate {
    /// It is gone; with a note if something was odd.
    Removed(Option<String>),
    /// Why it stayed, as text, and as a value if a later step needs it.
    Skipped(String, Option<SkipCause>),
    Failed(String),
}

impl Fate {
    pub(super) fn skipped(why: impl Into<String>) -> Self {
        Self::Skipped(why.into(), None)
    }

    pub(super) fn gone_already() -> Self {
        Self::skipped("gone already")
    }

    /// An error about one image is a failure of that image, and the run goes on. A lost engine
    /// or a missing permission ends the run.
    pub(super) fn of_error(error: EngineError) -> Result<Self, Ending> {
        match error.kind {
            Failure::Lost | Failure::Permission => Err(error.into()),
            Failure::NotFound
            | Failure::Conflict
            | Failure::Status(_)
            | Failure::Nonsense
            | Failure::Contradiction => Ok(Self::Failed(error.to_string())),
        }
    }
}

/// Adds to `why` which names the image has lost already: a deploy by one of these would ask the
/// registry.
pub(super) fn without_names(why: &str, dropped: &[Reference]) -> String {
    let theirs = dropped.iter().filter(|name| !name.is_ours());
    let names: Vec<String> = theirs.map(Reference::familiar).collect();
    if names.is_empty() {
        return why.to_owned();
    }
    format!("{why}; without {} now", names.join(", "))
}
