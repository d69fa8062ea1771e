//! What a run of verify-cache is doing, for whoever waits for it.

use std::fmt;

use crate::model::Bytes;

#[derive(Debug, Clone, Copy)]
pub enum Step {
    Asking {
        done: usize,
        of: usize,
    },
    Pulling {
        number: usize,
        of: usize,
    },
    Reading {
        number: usize,
        of: usize,
        bytes: Bytes,
        /// By the engine's list; what is read may be a little more.
        of_bytes: Option<Bytes>,
    },
    Restoring {
        number: usize,
        of: usize,
        done: Bytes,
        /// As far as the engine tells.
        total: Bytes,
    },
    Saving {
        number: usize,
        of: usize,
        bytes: Bytes,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asking { done, of } => write!(f, "asking registries: {done} of {of} images"),
            Self::Pulling { number, of } => write!(f, "pulling {number} of {of} images"),
            Self::Reading {
                number,
                of,
                bytes,
                of_bytes,
            } => {
                write!(f, "reading {number} of {of} images: {bytes}")?;
                of_bytes.map_or(Ok(()), |all| write!(f, " of {all}"))
            }
            Self::Restoring {
                number,
                of,
                done,
                total,
            } => write!(
                f,
                "bringing back {number} of {of} images: {done} of {total}"
            ),
            Self::Saving { number, of, bytes } => {
                write!(f, "saving {number} of {of} images: {bytes}")
            }
        }
    }
}
