//! Reports for people: 80 columns, what needs a person first.

pub mod cache;
mod header;
pub(crate) mod layout;
pub mod prune;
mod restored;
