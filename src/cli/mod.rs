//! The definition of the command line.

mod args;
mod hints;
#[cfg(test)]
mod manual;
mod read;

pub use args::{Cli, Command, Format, Global, MetricsFile, PlanArgs, PruneArgs, VerifyCacheArgs};
pub use read::read;
