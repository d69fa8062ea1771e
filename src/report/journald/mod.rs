//! Entries of journald.

pub mod cache;
pub mod prune;
