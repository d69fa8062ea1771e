//! Why a save ended without a report.

use crate::cache::archive::error::ArchiveError;
use crate::engine::EngineError;
use crate::host::run_lock::HeldBy;

#[derive(Debug)]
pub enum Unsaved {
    Archive(ArchiveError),
    Engine(EngineError),
    /// Another run writes to the archive.
    Held(HeldBy),
}

impl From<ArchiveError> for Unsaved {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl From<EngineError> for Unsaved {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}
