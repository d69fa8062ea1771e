//! A restored image, and its source.

use std::time::Duration;

use crate::cache::check::milliseconds;
use crate::model::Bytes;
use crate::model::kinds::kinds;

kinds! {
    pub enum Origin {
        Archive = "archive",
        Registry = "registry",
        /// The image was here, and only its tag was set.
        Here = "here",
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    pub from: Origin,
    /// As transferred, usually compressed.
    pub bytes: Bytes,
    pub took: Duration,
}

impl Restored {
    pub fn milliseconds(&self) -> u64 {
        milliseconds(self.took)
    }
}
