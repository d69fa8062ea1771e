//! How full a file system is.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::bytes::Bytes;

/// Room on a file system in one unit (bytes or inodes), as `df` counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Usage {
    pub used: u64,
    /// For an unprivileged process; room that is reserved for root is neither used nor
    /// available.
    pub available: u64,
}

impl Usage {
    /// 0 to 100, as `df` reckons: used / (used + available). A file system of size 0 is full.
    pub fn used_percent(self) -> f64 {
        let total = self.used as f64 + self.available as f64;
        if total == 0.0 {
            return 100.0;
        }
        self.used as f64 * 100.0 / total
    }
}

/// The file system that holds the images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Disk {
    pub path: PathBuf,
    pub bytes: Usage,
    /// `None` where the file system does not count inodes (btrfs, for one).
    pub inodes: Option<Usage>,
}

impl Disk {
    /// Bytes an unprivileged process may still write.
    pub fn free(&self) -> Bytes {
        Bytes(self.bytes.available)
    }

    /// The fuller of the two measures: bytes or inodes, in percent.
    pub fn used_percent(&self) -> f64 {
        let inodes = self.inodes.map_or(0.0, Usage::used_percent);
        self.bytes.used_percent().max(inodes)
    }
}
