//! Reports for people: as wide as the terminal, at most 80 columns, what needs a person first.

mod asked;
pub mod cache;
mod header;
pub(crate) mod layout;
pub mod prune;
mod restored;
pub(crate) mod screen;
