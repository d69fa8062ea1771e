//! One survey of a host from end to end: engine, locks, signs, disk, memory, and
//! the plan that follows. It orders the reading, so that what is decided on last
//! was read last, and decides nothing itself. It writes nothing.

mod again;
mod live;
mod no_survey;
mod notes;
mod order;
mod saved;
mod untied;
pub mod watch;

pub use again::after_brief_locks;
pub use live::{Survey, engine, survey};
pub use no_survey::NoSurvey;
pub use notes::{names_away, no_rollbacks, notes};
pub use order::{Found, Sources, survey_of};
#[cfg(test)]
pub(crate) use saved::SAVED;
pub use saved::{LONGEST_SAVED, SavedHost};
