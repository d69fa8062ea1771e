//! The identity of a file.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// The same for all names of a file: a mount may show it at another path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId {
    dev: u64,
    ino: u64,
}

impl FileId {
    pub(super) fn of(meta: &Metadata) -> FileId {
        FileId {
            dev: meta.dev(),
            ino: meta.ino(),
        }
    }
}
