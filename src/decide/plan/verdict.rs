//! Whether one image stays or goes, and why a candidate is not removed.

use crate::model::kinds::kinds;

kinds! {
    /// Why a candidate is not removed in this run.
    pub enum HeldBack {
        DiskHasRoom = "disk-has-room",
        DiskUnknown = "disk-unknown",
        TargetReached = "target-reached",
        /// `limits.max_images`.
        MaxImages = "max-images",
        /// It is not in the reviewed plan.
        NotReviewed = "not-reviewed",
        /// A survey a moment before, while a deploy held its lock, would not have removed it.
        BesideADeploy = "beside-a-deploy",
    }
}

impl HeldBack {
    pub fn message(self) -> &'static str {
        match self {
            Self::DiskHasRoom => "the disk has room",
            Self::DiskUnknown => "how full the disk is cannot be told",
            Self::TargetReached => "removing older ones is enough",
            Self::MaxImages => "more than one run removes (limits.max_images)",
            Self::NotReviewed => "not in the reviewed plan",
            Self::BesideADeploy => "a deploy was changing things a moment ago",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// At least one reason keeps it.
    Keep,
    /// Nothing keeps it, but this run need not remove it.
    Candidate(HeldBack),
    Remove,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Candidate(_) => "candidate",
            Self::Remove => "remove",
        }
    }
}
