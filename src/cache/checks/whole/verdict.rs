//! What an export of an image shows, and the words for it.

use std::collections::BTreeSet;

use crate::cache::checks::current::short;
use crate::engine::Platform;
use crate::model::Bytes;
use crate::model::text::escape;

/// What an export shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every part is here and has its digest.
    Whole {
        layers: usize,
        /// Read.
        bytes: Bytes,
    },
    /// What is missing or differs; each text is fit to print.
    Broken(Vec<String>),
    /// Whether it is what a deploy takes cannot be told: why, fit to print.
    Unclear(String),
}

/// What is known of an image beside its export.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// What the engine pulls where nobody names a platform.
    pub platform: Option<Platform>,
    /// It came from a registry.
    pub pulled: bool,
    /// Digests of its parts that the containerd store's own files show gone.
    pub lost: BTreeSet<String>,
}

/// How many layers there are, and what is wrong. The error says why it cannot be told.
pub type Compared = Result<(usize, Vec<String>), String>;

/// `n`: from 0.
pub fn place(n: usize, of: usize, digest: &str) -> String {
    format!("layer {} of {of}, {},", n + 1, escape(digest))
}

/// `hash`: what the bytes of this part come to, in hex.
pub fn differs(place: &str, hash: &str) -> String {
    format!(
        "{place} is not what it says: its bytes hash to {}",
        short(&format!("sha256:{hash}"))
    )
}

/// Said of an image that is here for other platforms than the engine's.
pub fn only_for(here: &str, wanted: &str) -> String {
    format!("only {here} is here: a deploy that names no platform fetches {wanted}")
}
