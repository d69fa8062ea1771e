//! Why a host could not be surveyed.

use crate::engine::{EngineError, Failure};
use crate::exit::{Exit, Fault};
use crate::guard::{Cause, Refusal};

/// Why there is no survey.
#[derive(Debug)]
pub enum NoSurvey {
    /// The engine's answers contradict each other: nothing to decide on.
    Contradiction(String),
    /// Anything else.
    Fault(Fault),
}

impl From<Fault> for NoSurvey {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<NoSurvey> for Fault {
    fn from(why: NoSurvey) -> Self {
        match why {
            NoSurvey::Contradiction(why) => {
                let refusal = Refusal::from(Cause::EngineInconsistent(why));
                let (message, way_out) = (refusal.message(), refusal.way_out());
                Self::new(Exit::Engine, format!("{message}; {way_out}"))
            }
            NoSurvey::Fault(fault) => fault,
        }
    }
}

impl From<EngineError> for NoSurvey {
    fn from(error: EngineError) -> Self {
        match error.kind {
            Failure::Contradiction => Self::Contradiction(error.to_string()),
            _ => Self::Fault(error.into()),
        }
    }
}
