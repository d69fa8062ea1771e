//! The result of asking one source for one image.

use crate::engine::EngineError;
use crate::exit::Fault;
use crate::guard::Refusal;
use crate::model::{Bytes, ImageId};

use crate::cache::restore::left_out::LeftOut;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    /// The id of the image in the engine.
    pub id: ImageId,
    /// As transferred.
    pub bytes: Bytes,
}

impl Brought {
    /// Nothing had to be transferred.
    pub fn here(id: ImageId) -> Self {
        let bytes = Bytes(0);
        Self { id, bytes }
    }
}

/// Why a source brought nothing.
#[derive(Debug)]
pub enum Missed {
    /// It does not have the image, or could not bring it. Another source may.
    Not(LeftOut),
    /// A limit was reached meanwhile: no source may bring more.
    Limit(LeftOut),
    /// Nothing more may be requested from it in this run.
    Refused(Refusal),
    Fault(Fault),
}

impl Missed {
    /// `why` is fit to print.
    pub fn failed(why: impl Into<String>) -> Self {
        Self::Not(LeftOut::Failed(why.into()))
    }
}

impl From<EngineError> for Missed {
    fn from(error: EngineError) -> Self {
        Self::Fault(error.into())
    }
}
