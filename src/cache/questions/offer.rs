//! Whether a registry can provide an image.

use crate::cache::registry::{Cost, Upstream};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// It has the image under this digest, and allows this many more pulls, if it says so.
    Has {
        digest: String,
        pulls_left: Option<u64>,
    },
    Gone,
    /// The message is fit to print.
    Denied(String),
    /// It accepts no request now (429).
    Limited,
    /// It gave no answer, or no valid one.
    Unknown,
}

impl Offer {
    /// `refused`: the registry refuses the credentials.
    pub(super) fn of(upstream: &Upstream, cost: &Cost, refused: bool) -> Self {
        match upstream {
            Upstream::Digest(digest) => Self::Has {
                digest: digest.clone(),
                pulls_left: cost.pulls_left(),
            },
            Upstream::Gone => Self::Gone,
            Upstream::Denied(status) if refused => Self::Denied(format!(
                "its registry refuses the credentials ({status}), and may lock the account if they come again"
            )),
            Upstream::Limited => Self::Limited,
            // After a denial, too: the engine may be allowed, because its requests differ.
            Upstream::Denied(_)
            | Upstream::NoManifest(_)
            | Upstream::TimedOut(_)
            | Upstream::Unknown(_) => Self::Unknown,
        }
    }
}
