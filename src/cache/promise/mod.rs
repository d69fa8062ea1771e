//! The promised images, and how a promise is matched with an image here.

pub mod baseline;
pub mod lists;
mod sources;
mod wanted;

pub use sources::{By, ByKind, Promise, Sources, promises};
pub use wanted::{Wanted, digests_in, with_all_digests};
