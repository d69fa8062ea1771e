//! What becomes of one image, and why a candidate is not removed.

/// Why a candidate is not removed in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HeldBack {
    /// The disk is below its thresholds.
    DiskHasRoom,
    /// How full the disk is cannot be told.
    DiskUnknown,
    /// Removing older ones is enough.
    TargetReached,
    /// `limits.max_images`.
    MaxImages,
    /// It is not in the reviewed plan.
    NotReviewed,
    /// It would not have gone by a look a moment before, while a deploy held its lock.
    BesideADeploy,
}

impl HeldBack {
    pub fn name(self) -> &'static str {
        match self {
            Self::DiskHasRoom => "disk-has-room",
            Self::DiskUnknown => "disk-unknown",
            Self::TargetReached => "target-reached",
            Self::MaxImages => "max-images",
            Self::NotReviewed => "not-reviewed",
            Self::BesideADeploy => "beside-a-deploy",
        }
    }

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

/// What becomes of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// At least one reason keeps it.
    Keep,
    /// Nothing keeps it, but this run need not remove it.
    Candidate(HeldBack),
    /// This run removes it.
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
