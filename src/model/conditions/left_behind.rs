//! What an engine that was switched to another image store left on the disk.

use std::path::PathBuf;

use crate::model::bytes::Bytes;

/// The images of a store that the engine had before. It lists them no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftBehind {
    /// Where its layers are: most of its bytes.
    pub layers: PathBuf,
    /// Where its records of images are.
    pub records: PathBuf,
    pub images: usize,
    /// Of all its layers, uncompressed, each once. What containers and builds wrote comes
    /// on top.
    pub bytes: Bytes,
    /// Everything was read: there are not more images than these.
    pub all: bool,
}
