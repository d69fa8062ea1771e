//! Documents of plan and prune.

mod outcome;
mod plan;

pub use outcome::outcome;
pub use plan::plan;
