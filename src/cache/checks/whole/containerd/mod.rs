//! Exports of a containerd store: every blob is named by its digest. If one part of a manifest is
//! missing, the export silently leaves out all of its parts.

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
