//! What became of one image, as its turn or its confirmation says.

use crate::engine::{EngineError, Failure};
use crate::memory::journal::Because;
use crate::model::reference::Reference;
use crate::prune::outcome::Ending;

pub(super) enum Fate {
    /// Gone; with what was odd about it.
    Removed(Option<String>),
    /// It stayed; with the reason where a later step needs it.
    Skipped(String, Option<Because>),
    Failed(String),
}

impl Fate {
    pub(super) fn skipped(why: impl Into<String>) -> Self {
        Self::Skipped(why.into(), None)
    }

    pub(super) fn gone_already() -> Self {
        Self::skipped("gone already")
    }

    /// An engine that cannot answer about one image is asked about the next; an engine
    /// that is lost ends the run.
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

/// The reason why an image stays, and which of its names are dropped already: a deploy by
/// one of these would ask the registry.
pub(super) fn without_names(why: &str, dropped: &[Reference]) -> String {
    let theirs = dropped.iter().filter(|name| !name.is_ours());
    let names: Vec<String> = theirs.map(Reference::familiar).collect();
    if names.is_empty() {
        return why.to_owned();
    }
    format!("{why}; without {} now", names.join(", "))
}
