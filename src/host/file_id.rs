//! What tells one file from another.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// A file, whatever its name: a mount may show it at another path.
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
