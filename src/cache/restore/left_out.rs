//! Why a promised image was not brought back.

use crate::model::kinds::kinds;
use crate::model::{Bytes, ImageId};

/// Texts are fit to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeftOut {
    /// The pattern of `cache.never` that covers it.
    Never(String),
    /// Its tag leads to this image here instead of the recorded one.
    Elsewhere(ImageId),
    /// It has no name by which a registry can be asked: why.
    Nameless(&'static str),
    /// Its registry no longer has what was promised.
    Gone {
        digest: Option<String>,
    },
    /// Its registry refuses it, or the credentials.
    Denied(String),
    /// It could not be requested, or was not transferred completely.
    Failed(String),
    /// The disk limit that was reached during the transfer.
    Disk(String),
    /// The run would bring more than this (`restore.max_share`).
    MaxShare(Bytes),
    /// `restore.max_run` is used up.
    MaxRun,
    Interrupted,
    /// Something is at work, or the host has no room: see the refusals.
    Refused(String),
}

kinds! {
    pub enum LeftOutKind of LeftOut {
        Never = "never",
        Elsewhere = "elsewhere",
        Nameless = "nameless",
        Gone = "gone",
        Denied = "denied",
        Failed = "failed",
        Disk = "disk",
        MaxShare = "max-share",
        MaxRun = "max-run",
        Interrupted = "interrupted",
        Refused = "refused",
    }
}

impl LeftOut {
    /// Its tag did not exist when the run began, and does now.
    pub fn tagged_meanwhile() -> Self {
        Self::Failed("its tag was set here meanwhile, and is not moved".to_owned())
    }

    /// Fit to print, with what to do about it.
    pub fn message(&self) -> String {
        match self {
            Self::Elsewhere(id) => format!(
                "its tag leads to image {} here, and not to the recorded one: it is not moved",
                id.short()
            ),
            Self::Nameless(why) => (*why).to_owned(),
            Self::Gone {
                digest: Some(digest),
            } => format!(
                "its registry no longer has {digest}, which was promised; --follow takes the tag as the registry has it now"
            ),
            Self::Gone { digest: None } => "its registry does not have it".to_owned(),
            Self::Never(why) | Self::Denied(why) | Self::Failed(why) | Self::Refused(why) => {
                why.clone()
            }
            Self::Disk(why) => format!("given up, for the disk has no room: {why}"),
            Self::MaxShare(most) => {
                format!("this run would bring more than {most} (restore.max_share)")
            }
            Self::MaxRun => "the time of this run is used up (restore.max_run)".to_owned(),
            Self::Interrupted => "the run was asked to end".to_owned(),
        }
    }
}
