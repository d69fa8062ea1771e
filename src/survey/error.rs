use crate::engine::{EngineError, Failure};
use crate::exit::{Exit, Fault};
use crate::guard::{Cause, Refusal};

/// Why a host could not be surveyed.
#[derive(Debug)]
pub enum SurveyError {
    /// The engine's answers contradict each other.
    Contradiction(String),
    Fault(Fault),
}

impl From<Fault> for SurveyError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<SurveyError> for Fault {
    fn from(why: SurveyError) -> Self {
        match why {
            SurveyError::Contradiction(why) => {
                let refusal = Refusal::from(Cause::EngineInconsistent(why));
                let (message, way_out) = (refusal.message(), refusal.way_out());
                Self::new(Exit::Engine, format!("{message}; {way_out}"))
            }
            SurveyError::Fault(fault) => fault,
        }
    }
}

impl From<EngineError> for SurveyError {
    fn from(error: EngineError) -> Self {
        match error.kind {
            Failure::Contradiction => Self::Contradiction(error.to_string()),
            _ => Self::Fault(error.into()),
        }
    }
}
