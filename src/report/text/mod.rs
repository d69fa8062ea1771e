//! Reports for people.

pub mod brief;
pub mod cache;
pub mod explain;
pub(crate) mod layout;
mod lists;
pub mod prune;
