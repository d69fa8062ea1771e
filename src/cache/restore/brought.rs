//! What came of asking one source for one image.

use crate::engine::EngineError;
use crate::exit::Fault;
use crate::guard::Refusal;
use crate::model::{Bytes, ImageId};

use crate::cache::restore::left_out::LeftOut;

/// What a source brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    /// The image, by which the engine has it now.
    pub id: ImageId,
    /// As they came.
    pub bytes: Bytes,
}

/// Why a source brought nothing.
#[derive(Debug)]
pub enum Missed {
    /// It does not have this image, or could not bring it: another source may.
    Not(LeftOut),
    /// A limit was reached meanwhile: no source brings more.
    Limit(LeftOut),
    /// Nothing more may be asked of it for this run.
    Refused(Refusal),
    Fault(Fault),
}

impl From<EngineError> for Missed {
    fn from(error: EngineError) -> Self {
        Self::Fault(error.into())
    }
}
