//! What other settings would remove on this host, for a person whose disk is full and whose
//! plan is not enough. They change no decision.

use crate::decide::facts::{Facts, Trust};
use crate::decide::plan::{Plan, Verdict};
use crate::decide::reasons;
use crate::memory::ledger::Ledger;
use crate::model::{Bytes, Inventory};
use crate::policy::{DigestPinned, Policy};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// `--trust-engine-dates`.
    EngineDates,
    /// `age.digest_pinned` as short as it may be: `age.min_age`.
    DigestPinned,
}

/// What this setting would make removable besides what already is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alternative {
    pub setting: Setting,
    pub images: usize,
    /// At most: an inspection may still keep some of the images.
    pub frees: Bytes,
}

/// Those that would make any more image removable.
pub fn alternatives(
    policy: &Policy,
    inventory: &Inventory,
    ledger: &Ledger,
    plan: &Plan,
) -> Vec<Alternative> {
    let by = |setting, policy: &Policy, trust| {
        let facts = Facts::new(policy, inventory, ledger, trust);
        let kept = plan.entries().iter();
        let kept = kept.filter(|entry| entry.verdict == Verdict::Keep);
        let more = kept.filter(|entry| {
            let subject = facts.subject(&entry.image);
            reasons(&facts, &subject).next().is_none()
        });
        let more: Vec<Bytes> = more.map(|entry| entry.reclaimable).collect();
        Alternative {
            setting,
            images: more.len(),
            frees: more.into_iter().sum(),
        }
    };
    let short = Policy {
        digest_pinned: DigestPinned::After(policy.min_age),
        ..policy.clone()
    };
    [
        by(Setting::EngineDates, policy, Trust::EngineDates),
        by(Setting::DigestPinned, &short, Trust::OwnMemory),
    ]
    .into_iter()
    .filter(|alternative| alternative.images > 0)
    .collect()
}
