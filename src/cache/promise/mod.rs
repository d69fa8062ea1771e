//! Which images are promised, and which images here are meant.

pub mod baseline;
pub mod lists;
mod sources;
mod wanted;

pub use sources::{By, ByKind, Promise, Sources, promises};
pub use wanted::{Wanted, digests_in, with_all_digests};
