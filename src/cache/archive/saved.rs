//! What became of saving one promised image.

use std::fmt;

use crate::model::Bytes;
use crate::model::kinds::kinds;

/// One promise of a run that saves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saved {
    /// It is in the archive.
    Kept(Written),
    Not(NotSaved),
}

/// What was written for an image; all zero where it was there already.
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
        /// `cache.never` has its name.
        Never = "never",
        /// What is here is not whole, or not what a deploy takes.
        Unfit = "unfit",
        /// The engine gave no export that reads to its end.
        Export = "export",
        /// Its registry gave no image that reads to its end.
        Registry = "registry",
        /// With it the archive would be larger than `archive.max_size`.
        TooLarge = "too-large",
        /// One that is promised before it could not be written.
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

    /// What becomes of all that is new and promised after this name, where this fills the
    /// archive or its disk.
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
    /// Whether something promised and here is not in the archive.
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
