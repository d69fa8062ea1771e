//! Reports for programs.

pub mod cache;
pub mod prune;
