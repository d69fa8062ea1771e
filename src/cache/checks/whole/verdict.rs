//! The result of comparing an export with its image, and its words.

use std::collections::BTreeSet;

use crate::cache::checks::current::short;
use crate::engine::Platform;
use crate::model::Bytes;
use crate::model::text::escape;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every part is there and has its digest.
    Whole {
        layers: usize,
        /// Bytes that were read.
        bytes: Bytes,
    },
    /// What is missing or differs; each is fit to print.
    Broken(Vec<String>),
    /// It is unknown whether a deploy could use it: why, fit to print.
    Unclear(String),
}

/// What is known about an image in addition to its export.
#[derive(Debug, Clone, Default)]
pub struct StoreFacts {
    /// The platform that the engine pulls by default.
    pub platform: Option<Platform>,
    /// It came from a registry.
    pub pulled: bool,
    /// Digests of parts that are missing in the containerd store's own files.
    pub lost: BTreeSet<String>,
}

/// The number of layers, and what is wrong. The error tells why the image cannot be compared.
pub type Compared = Result<(usize, Vec<String>), String>;

/// `n`: from 0.
pub fn place(n: usize, of: usize, digest: &str) -> String {
    format!("layer {} of {of}, {},", n + 1, escape(digest))
}

/// `hash`: of the part's bytes, in hex.
pub fn differs(place: &str, hash: &str) -> String {
    format!(
        "{place} is not what it says: its bytes hash to {}",
        short(&format!("sha256:{hash}"))
    )
}

/// For an image that is here only for other platforms than the engine's.
pub fn only_for(here: &str, wanted: &str) -> String {
    format!("only {here} is here: a deploy that names no platform fetches {wanted}")
}
