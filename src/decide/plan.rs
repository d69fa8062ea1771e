//! The answer's shape: for every image of a host its class, every reason that
//! keeps it, and whether this run removes it. Fields are private, so that a
//! plan is only ever what `decide` made of it, or less. It decides nothing and
//! prints nothing but its own nouns.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::conditions::{Disk, Room};
use crate::model::reference::Reference;
use crate::model::time::{minute, next_minute, span};
use crate::model::{Bytes, EngineFacts, Image, ImageId, Observed, Spec};

/// What kind of image it is, by its names and our memory of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Has a tag.
    Tagged,
    /// No name at all: a local build that was rebuilt.
    Untagged,
    /// A digest reference only, and a tag that it was seen with is another
    /// image's now.
    Superseded,
    /// A digest reference only, pulled by digest: kept as cache.
    DigestPinned,
}

impl Class {
    /// As it stands in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tagged => "tagged",
            Self::Untagged => "untagged",
            Self::Superseded => "superseded",
            Self::DigestPinned => "digest-pinned",
        }
    }
}

/// What showed that an image was wanted at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// The first look that found it here.
    FirstSeen,
    /// The last moment at which it may have had a tag, as far as was seen.
    LastTagged,
    /// The last moment at which it may have been in use, as far as was seen.
    LastUsed,
    /// The last moment at which an image came that was built on it.
    BuiltOn,
    /// Its build date.
    Created,
    /// The engine's own date of the last tag set here.
    LastTagTime,
    /// The date of its file in the engine's image database.
    Stored,
}

impl Evidence {
    /// Fit to follow a date.
    pub fn words(self) -> &'static str {
        match self {
            Self::FirstSeen => "first seen here",
            Self::LastTagged => "had a tag up to then",
            Self::LastUsed => "in use up to then",
            Self::BuiltOn => "an image was built on it then",
            Self::Created => "its build date",
            Self::LastTagTime => "last tagged here, by the engine",
            Self::Stored => "stored here, by the date of its file",
        }
    }
}

/// The newest moment at which any evidence says that the image was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unneeded {
    /// That moment.
    pub since: DateTime<Utc>,
    /// What says so.
    pub evidence: Evidence,
}

/// Why one image stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeepReason {
    /// It has a tag.
    Tagged(BTreeSet<Reference>),
    /// A container in any state is of it.
    InUse {
        /// The container's name, fit to print.
        container: String,
        /// Its state, fit to print.
        state: String,
    },
    /// It is mounted into a container.
    ImageMount {
        /// The container's name, fit to print.
        container: String,
    },
    /// A Swarm service or task names it.
    Service {
        /// The service, fit to print.
        service: String,
        /// Where it is named.
        spec: Spec,
    },
    /// Another image is built on it.
    Parent {
        /// One such image.
        child: ImageId,
    },
    /// `keep.images` covers it.
    KeepImage {
        /// The pattern.
        pattern: String,
    },
    /// `keep.labels` covers it.
    KeepLabel {
        /// The rule.
        rule: String,
    },
    /// It is a rollback: `keep.previous`.
    Previous {
        /// The tag that it was seen with.
        tag: Reference,
        /// 1 for the newest.
        rank: usize,
        /// Whether no more is known than that it may have had the tag.
        perhaps: bool,
    },
    /// Not unneeded for long enough.
    TooYoung {
        /// Since when it is unneeded.
        unneeded: Unneeded,
        /// When it will have been so for long enough.
        ready_at: DateTime<Utc>,
        /// The age that is wanted.
        wanted: Duration,
    },
    /// This is the first look that finds it.
    FirstSeen {
        /// When it may go at the earliest.
        ready_at: DateTime<Utc>,
    },
    /// No date says how long it has been unneeded.
    AgeUnknown(String),
    /// Pulled by digest, and the policy or the store keeps such images.
    DigestPinned(String),
    /// What the engine says of it is not enough to judge by.
    Incomplete(String),
}

/// What kind of reason it is: the reason without its particulars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeepKind {
    Tagged,
    InUse,
    ImageMount,
    Service,
    Parent,
    KeepImage,
    KeepLabel,
    Previous,
    TooYoung,
    FirstSeen,
    AgeUnknown,
    DigestPinned,
    Incomplete,
}

/// How many kinds of keep reasons there are.
const REASONS: usize = 13;

impl KeepKind {
    /// All, in the order of the contract.
    pub const ALL: [Self; REASONS] = [
        Self::Tagged,
        Self::InUse,
        Self::ImageMount,
        Self::Service,
        Self::Parent,
        Self::KeepImage,
        Self::KeepLabel,
        Self::Previous,
        Self::TooYoung,
        Self::FirstSeen,
        Self::AgeUnknown,
        Self::DigestPinned,
        Self::Incomplete,
    ];

    /// As it stands in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tagged => "tagged",
            Self::InUse => "in-use",
            Self::ImageMount => "image-mount",
            Self::Service => "service",
            Self::Parent => "parent",
            Self::KeepImage => "keep-image",
            Self::KeepLabel => "keep-label",
            Self::Previous => "previous",
            Self::TooYoung => "too-young",
            Self::FirstSeen => "first-seen",
            Self::AgeUnknown => "age-unknown",
            Self::DigestPinned => "digest-pinned",
            Self::Incomplete => "incomplete",
        }
    }
}

impl KeepReason {
    pub fn kind(&self) -> KeepKind {
        match self {
            Self::Tagged(_) => KeepKind::Tagged,
            Self::InUse { .. } => KeepKind::InUse,
            Self::ImageMount { .. } => KeepKind::ImageMount,
            Self::Service { .. } => KeepKind::Service,
            Self::Parent { .. } => KeepKind::Parent,
            Self::KeepImage { .. } => KeepKind::KeepImage,
            Self::KeepLabel { .. } => KeepKind::KeepLabel,
            Self::Previous { .. } => KeepKind::Previous,
            Self::TooYoung { .. } => KeepKind::TooYoung,
            Self::FirstSeen { .. } => KeepKind::FirstSeen,
            Self::AgeUnknown(_) => KeepKind::AgeUnknown,
            Self::DigestPinned(_) => KeepKind::DigestPinned,
            Self::Incomplete(_) => KeepKind::Incomplete,
        }
    }

    /// One line for people.
    pub fn message(&self) -> String {
        match self {
            Self::Tagged(tags) => match tags.first() {
                Some(tag) if tags.len() > 1 => {
                    format!("tagged {} and {} more", tag.familiar(), tags.len() - 1)
                }
                Some(tag) => format!("tagged {}", tag.familiar()),
                None => "tagged".to_owned(),
            },
            Self::InUse { container, state } => format!("container {container} ({state}) uses it"),
            Self::ImageMount { container } => format!("mounted into container {container}"),
            Self::Service { service, spec } => match spec {
                Spec::Current => format!("service {service} runs it"),
                Spec::Previous => format!("service {service} rolls back to it"),
                Spec::Task => format!("a task of service {service} wants it"),
            },
            Self::Parent { child } => format!("image {} is built on it", child.short()),
            Self::KeepImage { pattern } => {
                format!("keep.images has {}", crate::model::text::escape(pattern))
            }
            Self::KeepLabel { rule } => {
                format!("keep.labels has {}", crate::model::text::escape(rule))
            }
            Self::Previous { tag, rank, perhaps } => {
                let is = if *perhaps {
                    "perhaps rollback"
                } else {
                    "rollback"
                };
                format!("{is} {rank} of {} (keep.previous)", tag.familiar())
            }
            Self::TooYoung {
                unneeded,
                ready_at,
                wanted,
            } => format!(
                "last wanted {} ({}); by age alone it may be removed from {} (minimum age {})",
                minute(unneeded.since),
                unneeded.evidence.words(),
                next_minute(*ready_at),
                span(TimeDelta::from_std(*wanted).unwrap_or(TimeDelta::MAX))
            ),
            Self::FirstSeen { ready_at } => {
                format!(
                    "this is the first look that finds it; by age alone it may be removed from {}",
                    next_minute(*ready_at)
                )
            }
            Self::AgeUnknown(why) => format!("its age is not known: {why}"),
            Self::DigestPinned(why) => format!("pulled by digest: {why}"),
            Self::Incomplete(why) => format!("not enough is known of it: {why}"),
        }
    }

    /// When this reason will have passed by itself, if it will.
    pub fn ready_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::TooYoung { ready_at, .. } | Self::FirstSeen { ready_at } => Some(*ready_at),
            Self::Tagged(_)
            | Self::InUse { .. }
            | Self::ImageMount { .. }
            | Self::Service { .. }
            | Self::Parent { .. }
            | Self::KeepImage { .. }
            | Self::KeepLabel { .. }
            | Self::Previous { .. }
            | Self::AgeUnknown(_)
            | Self::DigestPinned(_)
            | Self::Incomplete(_) => None,
        }
    }
}

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
    /// As it stands in JSON.
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

    /// One line for people.
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
    /// As it stands in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Candidate(_) => "candidate",
            Self::Remove => "remove",
        }
    }
}

/// One image and what was decided of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub(crate) image: Arc<Image>,
    pub(crate) class: Class,
    pub(crate) reasons: Vec<KeepReason>,
    pub(crate) unneeded: Option<Unneeded>,
    pub(crate) reclaimable: Bytes,
    pub(crate) verdict: Verdict,
}

impl Entry {
    /// The image.
    pub fn image(&self) -> &Image {
        &self.image
    }
    /// Its class.
    pub fn class(&self) -> Class {
        self.class
    }
    /// All reasons that keep it, in the order of the rules' table.
    pub fn reasons(&self) -> &[KeepReason] {
        &self.reasons
    }
    /// Since when it is unneeded; `None` where something wants it now, or no
    /// evidence is there.
    pub fn unneeded(&self) -> Option<Unneeded> {
        self.unneeded
    }
    /// What removing it frees at least.
    pub fn reclaimable(&self) -> Bytes {
        self.reclaimable
    }
    /// What becomes of it.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }
}

/// What the disk must have before a run that frees space stops.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// At most so much of the bytes and of the inodes used; 0: no use is low enough.
    pub percent: Option<f64>,
    /// At least so much free.
    pub free: Option<Bytes>,
}

impl Target {
    /// Every candidate goes.
    pub const NEVER: Self = Self {
        percent: Some(0.0),
        free: None,
    };

    /// Bytes to free until it is reached; `None` where bytes cannot tell (inodes,
    /// or no lower threshold).
    pub fn missing(&self, disk: &Disk) -> Option<Bytes> {
        let Room { used, available } = disk.bytes;
        let by_percent = match self.percent {
            None => 0,
            Some(0.0) => return None,
            Some(percent) => {
                let few = |inodes: Room| inodes.used_percent() <= percent;
                if !disk.inodes.is_none_or(few) {
                    return None;
                }
                let allowed = (used as f64 + available as f64) * percent / 100.0;
                // Rounded up: not to be above the threshold.
                let above = (used as f64 - allowed).max(0.0).ceil();
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "0 or more, at most a u64"
                )]
                let above = above as u64;
                above
            }
        };
        let by_free = self.free.map_or(0, |free| free.0.saturating_sub(available));
        Some(Bytes(by_percent.max(by_free)))
    }

    /// Whether a run that frees space can stop.
    pub fn is_reached(&self, disk: &Disk) -> bool {
        self.missing(disk) == Some(Bytes(0))
    }
}

/// Whether the disk asks for space.
#[derive(Debug, Clone, PartialEq)]
pub enum Pressure {
    /// It does: which thresholds are crossed, and how many bytes are wanted at
    /// least until it no longer does. `None`: bytes cannot tell.
    Asked {
        /// In words fit to print.
        why: String,
        /// Bytes to free.
        wanted: Option<Bytes>,
        /// When it has enough.
        until: Target,
    },
    /// It does not.
    Room {
        /// In words fit to print.
        why: String,
    },
    /// How full it is cannot be told.
    Unknown(String),
}

/// For every image of a host, what becomes of it and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub(crate) now: DateTime<Utc>,
    pub(crate) engine: EngineFacts,
    pub(crate) disk: Observed<Disk>,
    pub(crate) pressure: Pressure,
    /// Sorted by id.
    pub(crate) entries: Vec<Entry>,
    /// Indices of the entries to remove, oldest unneeded first.
    pub(crate) order: Vec<usize>,
}

impl Plan {
    /// When it was decided.
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }
    /// For which engine.
    pub fn engine(&self) -> &EngineFacts {
        &self.engine
    }
    /// The disk as it was then.
    pub fn disk(&self) -> &Observed<Disk> {
        &self.disk
    }
    /// Whether the disk asks for space.
    pub fn pressure(&self) -> &Pressure {
        &self.pressure
    }
    /// Every image, sorted by id.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
    /// What this run removes, oldest unneeded first; what resisted before, last.
    pub fn removals(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.order.iter().map(|&index| &self.entries[index])
    }
    /// The entry of one image.
    pub fn entry(&self, id: &ImageId) -> Option<&Entry> {
        self.entries
            .binary_search_by(|entry| entry.image.id.cmp(id))
            .ok()
            .map(|index| &self.entries[index])
    }
    /// Every image that stays, counted once, under the first of its reasons, in
    /// the order of [`KeepKind::ALL`]: how many, and their sizes together,
    /// layers that they share counted for each.
    pub fn kept(&self) -> [(KeepKind, usize, Bytes); REASONS] {
        KeepKind::ALL.map(|kind| {
            let first = |entry: &&Entry| entry.reasons.first().map(KeepReason::kind) == Some(kind);
            let sizes = self.entries.iter().filter(first);
            let sizes = sizes.map(|entry| entry.image.size.known().copied().unwrap_or_default());
            (kind, sizes.clone().count(), sizes.sum())
        })
    }
    /// When the next image becomes a candidate by age alone, if one will.
    pub fn next_ready(&self) -> Option<DateTime<Utc>> {
        let by_age = |entry: &Entry| -> Option<DateTime<Utc>> {
            let passes: Option<Vec<_>> = entry.reasons.iter().map(KeepReason::ready_at).collect();
            passes?.into_iter().max()
        };
        self.entries
            .iter()
            .filter(|entry| entry.verdict == Verdict::Keep)
            .filter_map(by_age)
            .min()
    }

    /// The same plan, removing only what `reviewed` names: a plan may only
    /// ever be made smaller.
    #[must_use]
    pub fn restricted_to(mut self, these: &BTreeSet<ImageId>, why: HeldBack) -> Self {
        for &index in &self.order {
            let entry = &mut self.entries[index];
            if !these.contains(&entry.image.id) {
                entry.verdict = Verdict::Candidate(why);
            }
        }
        self.order
            .retain(|&index| self.entries[index].verdict == Verdict::Remove);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    #[test]
    fn what_was_is_not_told_to_be_to_come_nor_what_is_to_come_too_early() {
        let reason = KeepReason::TooYoung {
            unneeded: Unneeded {
                since: at(59),
                evidence: Evidence::LastTagged,
            },
            ready_at: at(119),
            wanted: Duration::from_mins(1),
        };
        let [was, comes] = [at(0), at(120)].map(|at| at.format("%Y-%m-%d %H:%M UTC"));
        let said = reason.message();
        assert!(said.contains(&format!("last wanted {was} (")), "{said}");
        assert!(said.contains(&format!("removed from {comes} (")), "{said}");
    }
}
