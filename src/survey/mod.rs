//! One survey of a host: engine, locks, signs, disk, memory, and the plan that follows. It sets
//! the order, so that what decides most is read last; it decides and writes nothing itself.

mod again;
mod error;
mod live;
mod notes;
mod order;
mod saved;
mod untied;
pub mod watch;

pub use again::after_brief_locks;
pub use error::SurveyError;
pub use live::{Survey, on_this_host, survey};
pub use notes::{no_rollbacks, notes, untied_names};
pub use order::{Found, Sources, survey_of};
#[cfg(test)]
pub(crate) use saved::SAVED;
pub use saved::{LONGEST_SAVED, SavedHost};
