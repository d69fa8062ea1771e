//! Entries for systemd's journal: one for each fact, with fields that a program can ask for. If
//! the journal reads standard output, they replace the text report.

pub mod cache;
mod entry;
pub mod ids;
pub mod prune;
#[cfg(test)]
mod tests;

pub use entry::fault;
