//! The last run as numbers, for node_exporter's textfile collector. All are gauges
//! of the last run. What this run did not measure is left out. Only moments are
//! carried on from the file before: since when a refusal lasts, when a run last
//! succeeded, when a kind of check was last made. No run fails because of a
//! metrics file.

pub mod cache;
mod file;
mod page;
pub mod prune;
mod run;
#[cfg(test)]
mod tests;

pub use file::write;
pub use page::PreviousFile;
pub use run::{ERROR, Ran};
