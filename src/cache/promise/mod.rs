//! Which images are promised, and which images here are meant.

pub mod baseline;
mod sources;
mod wanted;

pub use sources::{By, Promise, promises};
pub use wanted::{Wanted, digests_in, with_all_digests};
