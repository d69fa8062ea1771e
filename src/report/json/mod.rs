//! Reports for programs: one struct for each document, with the fields in the order in which
//! they are written. A field never changes its meaning; new ones may be added. config/ has a
//! JSON Schema of each, made from these types.

pub mod cache;
mod parts;
pub mod prune;
mod restored;
#[cfg(test)]
mod schemas;
