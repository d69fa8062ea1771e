//! What an engine that was switched to another image store left on the disk.

use std::path::PathBuf;

use crate::model::bytes::Bytes;

/// The images of a store that the engine used before. It no longer lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftBehind {
    /// Where its layers are: most of its bytes.
    pub layers: PathBuf,
    /// Where its records of images are.
    pub records: PathBuf,
    pub images: usize,
    /// Of all layers, uncompressed, each counted once; without what containers and builds
    /// wrote.
    pub bytes: Bytes,
    /// Everything was read, so the counts are complete.
    pub all: bool,
}
