//! Plan and outcome of a prune. They share their words: "would remove", "removed".

mod bar;
mod brief;
mod closing;
mod disk;
mod explain;
mod largest;
mod lists;
mod outcome;
mod plan;
mod summary;
#[cfg(test)]
mod tests;

pub use brief::{outcome as outcome_in_brief, plan as plan_in_brief};
pub use explain::explain;
pub use outcome::outcome;
pub use plan::{Shown, plan};
