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
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asking { done, of } => write!(f, "asking registries: {done} of {of} images"),
            Self::Pulling { number, of } => write!(f, "pulling {number} of {of} images"),
            Self::Reading { number, of, bytes } => {
                write!(f, "reading {number} of {of} images: {bytes}")
            }
        }
    }
}
