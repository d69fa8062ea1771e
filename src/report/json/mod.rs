//! Reports for programs: the documents of the contract, one struct for each, with
//! the fields in the order in which they are written. A field never changes its
//! meaning; a new one may come. config/ has a JSON Schema of each, made from these types.

pub mod cache;
mod parts;
pub mod prune;
#[cfg(test)]
mod schemas;
