//! Documents of plan and prune.

mod outcome;
mod plan;

pub use outcome::outcome;
#[cfg(test)]
pub(crate) use outcome::{OUTCOME, OutcomeDocument};
pub use plan::plan;
#[cfg(test)]
pub(crate) use plan::{PLAN, PlanDocument};
