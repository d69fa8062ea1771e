//! Writes results: text for people, JSON for programs, entries for systemd's journal, metrics
//! for a monitor. It decides only the wording; every figure comes from a plan, an outcome or
//! findings.

mod context;
pub mod journald;
pub mod json;
pub mod metrics;
#[cfg(test)]
pub(crate) mod tests;
pub mod text;
mod wording;

pub use context::{COLUMNS, Context, PolicySource};
