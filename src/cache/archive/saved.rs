//! The result of saving images.

use std::collections::BTreeMap;
use std::fmt;

use crate::cache::promise::Wanted;
use crate::model::Bytes;
use crate::model::kinds::kinds;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saved {
    /// It is in the archive.
    Kept(Written),
    Not(NotSaved),
}

#[derive(Debug)]
pub struct AllSaved {
    /// One for each promise.
    pub each: BTreeMap<Wanted, Saved>,
    /// Damage in the archive that was not repaired, fit to print. Only known if the run read the
    /// whole archive.
    pub damage: Vec<String>,
}

/// What was written for an image; zero if the archive had it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    pub bytes: Bytes,
    pub blobs: usize,
    pub milliseconds: u64,
}

kinds! {
    /// Why an image is not in the archive.
    pub enum NotSavedKind {
        /// It is not in the engine.
        Missing = "missing",
        /// `cache.never` covers its name.
        Never = "never",
        /// The image here is not whole, or not the one that a deploy uses.
        Unfit = "unfit",
        /// The engine's export was not valid or not complete.
        Export = "export",
        /// Its registry did not provide a valid, complete image.
        Registry = "registry",
        /// The archive would become larger than `archive.max_size`.
        TooLarge = "too-large",
        /// An image that is promised before it could not be written.
        LeftOut = "left-out",
        /// The archive cannot be written.
        Unwritten = "unwritten",
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotSaved {
    pub kind: NotSavedKind,
    /// Fit to print.
    pub message: String,
}

impl Written {
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            bytes: [self.bytes, other.bytes].into_iter().sum(),
            blobs: self.blobs + other.blobs,
            milliseconds: self.milliseconds.saturating_add(other.milliseconds),
        }
    }
}

impl NotSaved {
    pub fn new(kind: NotSavedKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message }
    }

    /// If this fills the archive or its disk: the reason for leaving out all new images that are
    /// promised after this name.
    pub fn leaves_out(&self, name: &impl fmt::Display) -> Option<Self> {
        let full = matches!(self.kind, NotSavedKind::TooLarge | NotSavedKind::Unwritten);
        full.then(|| {
            let why = format!("{name}, which is promised before it, was not saved");
            Self::new(NotSavedKind::LeftOut, why)
        })
    }

    /// Whether it should have been saved.
    pub fn is_fault(&self) -> bool {
        !matches!(self.kind, NotSavedKind::Missing | NotSavedKind::Never)
    }
}

impl Saved {
    /// Whether an image that is promised and here is not in the archive.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Not(not) if not.is_fault())
    }
}

/// Fit to print.
impl fmt::Display for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(Written { blobs: 0, .. }) => f.write_str("in the archive, nothing new"),
            Self::Kept(Written {
                bytes,
                blobs,
                milliseconds,
            }) => {
                let s = if *blobs == 1 { "" } else { "s" };
                let seconds = *milliseconds as f64 / 1000.0;
                write!(f, "{blobs} new blob{s}, {bytes} in {seconds:.1} s")
            }
            Self::Not(not) => write!(f, "not saved: {}", not.message),
        }
    }
}
