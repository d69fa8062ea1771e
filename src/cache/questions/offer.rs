//! What a registry says of one image that is to be pulled.

use crate::cache::registry::{Cost, Upstream};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// It has it, and allows so many more pulls, where it says so.
    Has(Option<u64>),
    Gone,
    /// In words fit to print.
    Denied(String),
    /// It allows no request now (429).
    Limited,
    /// It gave no answer, or none that a registry gives.
    Unknown,
}

impl Offer {
    /// `credentials`: the registry refuses those that there are.
    pub(super) fn of(upstream: &Upstream, cost: &Cost, credentials: bool) -> Self {
        match upstream {
            Upstream::Digest(_) => Self::Has(cost.pulls_left()),
            Upstream::Gone => Self::Gone,
            Upstream::Denied(status) if credentials => Self::Denied(format!(
                "its registry refuses the credentials ({status}), and may lock the account if they come again"
            )),
            // What the engine may do, secateur may not: both are not asked alike.
            Upstream::Denied(_) => Self::Unknown,
            Upstream::Limited => Self::Limited,
            Upstream::NoManifest(_) | Upstream::Silent(_) | Upstream::Unknown(_) => Self::Unknown,
        }
    }
}
