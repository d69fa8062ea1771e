use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::decide::plan::class::Unneeded;
use crate::model::kinds::kinds;
use crate::model::reference::Reference;
use crate::model::text::escape;
use crate::model::time::{minute, next_minute, span};
use crate::model::{ImageId, Spec};

/// Why one image stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeepReason {
    Tagged(BTreeSet<Reference>),
    /// A container, in any state.
    InUse {
        /// Fit to print.
        container: String,
        /// Fit to print.
        state: String,
    },
    /// It is mounted into a container.
    ImageMount {
        /// Fit to print.
        container: String,
    },
    /// A Swarm service or task names it.
    Service {
        /// Fit to print.
        service: String,
        spec: Spec,
    },
    /// Another image is built on it.
    Parent {
        child: ImageId,
    },
    KeepImage {
        pattern: String,
    },
    KeepLabel {
        rule: String,
    },
    /// `keep.previous`: another image has this tag now.
    Previous {
        tag: Reference,
        /// 1 for the newest.
        rank: usize,
        /// It may have had the tag; more is not known.
        perhaps: bool,
        retain: Option<String>,
    },
    TooYoung {
        unneeded: Unneeded,
        ready_at: DateTime<Utc>,
        /// The minimum age.
        wanted: Duration,
        /// The pattern of the `[[retain]]` rule that sets it.
        retain: Option<String>,
    },
    /// No earlier survey found it.
    FirstSeen {
        ready_at: DateTime<Utc>,
    },
    /// No date says how long it has been unneeded.
    AgeUnknown(String),
    /// Pulled by digest, and the policy or the store keeps such images.
    DigestPinned(String),
    /// The engine's answers about it do not suffice for a decision.
    Incomplete(String),
}

kinds! {
    /// A reason without its particulars.
    pub enum KeepKind of KeepReason {
        Tagged = "tagged",
        InUse = "in-use",
        ImageMount = "image-mount",
        Service = "service",
        Parent = "parent",
        KeepImage = "keep-image",
        KeepLabel = "keep-label",
        Previous = "previous",
        TooYoung = "too-young",
        FirstSeen = "first-seen",
        AgeUnknown = "age-unknown",
        DigestPinned = "digest-pinned",
        Incomplete = "incomplete",
    }
}

impl KeepReason {
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
                format!("keep.images has {}", escape(pattern))
            }
            Self::KeepLabel { rule } => {
                format!("keep.labels has {}", escape(rule))
            }
            Self::Previous {
                tag,
                rank,
                perhaps,
                retain,
            } => {
                let is = if *perhaps {
                    "perhaps rollback"
                } else {
                    "rollback"
                };
                let key = key_of("keep.previous", retain.as_deref());
                format!("{is} {rank} of {} ({key})", tag.familiar())
            }
            Self::TooYoung {
                unneeded,
                ready_at,
                wanted,
                retain,
            } => format!(
                "last wanted {} ({}); by age alone it may be removed from {} (minimum age {}{})",
                minute(unneeded.since),
                unneeded.evidence.words(),
                next_minute(*ready_at),
                span(TimeDelta::from_std(*wanted).unwrap_or(TimeDelta::MAX)),
                match retain {
                    Some(_) => format!(" by {}", key_of("", retain.as_deref())),
                    None => String::new(),
                }
            ),
            Self::FirstSeen { ready_at } => {
                format!(
                    "this is the first survey that finds it; by age alone it may be removed from {}",
                    next_minute(*ready_at)
                )
            }
            Self::AgeUnknown(why) => format!("its age is not known: {why}"),
            Self::DigestPinned(why) => format!("pulled by digest: {why}"),
            Self::Incomplete(why) => format!("not enough is known of it: {why}"),
        }
    }

    /// When this reason ends by itself, if it does.
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

/// The policy's key, or the `[[retain]]` rule that takes its place.
pub fn key_of(general: &str, retain: Option<&str>) -> String {
    match retain {
        Some(pattern) => format!("[[retain]] of {}", escape(pattern)),
        None => general.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::plan::class::Evidence;
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
            retain: None,
        };
        let [was, comes] = [at(0), at(120)].map(|at| at.format("%Y-%m-%d %H:%M UTC"));
        let said = reason.message();
        assert!(said.contains(&format!("last wanted {was} (")), "{said}");
        assert!(said.contains(&format!("removed from {comes} (")), "{said}");
    }
}
