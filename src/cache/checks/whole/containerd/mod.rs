//! What a containerd store exports of an image: every blob is named by its digest. An export
//! leaves out all parts of a manifest of which one is gone, and does not say so.

mod blobs;
mod child;
mod index;
mod manifest;
mod parts;

pub use blobs::damaged;
pub use index::compare;
pub use parts::{Part, parts};

#[cfg(test)]
mod tests;
