//! What was brought back, and from where.

use std::time::Duration;

use crate::model::Bytes;
use crate::model::kinds::kinds;

kinds! {
    pub enum From {
        Archive = "archive",
        Registry = "registry",
        /// The image was here: only its tag was set.
        Here = "here",
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    pub from: From,
    /// As they came, most often compressed.
    pub bytes: Bytes,
    pub took: Duration,
}

impl Restored {
    pub fn milliseconds(&self) -> u64 {
        u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX)
    }
}
