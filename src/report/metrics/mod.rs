//! Metrics of the last run, for node_exporter's textfile collector. All are gauges. A value
//! that the run did not measure is left out. Only moments are copied from the last file: since
//! when a refusal lasts, when a run last succeeded, when a kind of check was last made. A
//! metrics file never makes a run fail.

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
