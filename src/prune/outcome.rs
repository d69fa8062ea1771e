//! What a run did, for journal and report, and which exit code that gives.

use chrono::{DateTime, Utc};

use crate::decide::plan::{Class, Entry, Unneeded};
use crate::engine::EngineError;
use crate::exit::Exit;
use crate::guard;
use crate::guard::Refusal;
use crate::memory::journal::SkipCause;
use crate::model::conditions::Disk;
use crate::model::lost::Lost;
use crate::model::reference::Reference;
use crate::model::{Bytes, ImageId, Observed};

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Every image of the plan was tried, or the disk had enough before.
    Done,
    /// The guards refused before the first removal or between two; the outcome has the
    /// refusals.
    Refused,
    /// The reviewed plan may not be carried out, for this reason.
    PlanRefused(String),
    /// `limits.max_run` was over.
    OutOfTime,
    /// SIGTERM or SIGINT.
    Interrupted,
    /// The engine failed or did not answer.
    EngineLost(String),
    /// Something was lost, or an image is there that the engine said is gone. Further
    /// removals could make it worse.
    Surprised,
    /// The journal could not be written.
    StateLost(String),
}

impl Ending {
    /// Which of two endings to report: `Surprised` if there is one, because then the engine's own
    /// answers are wrong, else the first.
    pub(super) fn of_both(first: Result<(), Self>, second: Result<(), Self>) -> Result<(), Self> {
        match (first, second) {
            (_, Err(Self::Surprised)) => Err(Self::Surprised),
            (Ok(()), second) => second,
            (first, _) => first,
        }
    }
}

impl From<EngineError> for Ending {
    fn from(error: EngineError) -> Self {
        Self::EngineLost(error.to_string())
    }
}

/// The result of a run in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It came to its end and removed nothing.
    Nothing,
    /// It came to its end and removed images.
    Pruned,
    /// It was refused before anything was removed.
    Refused,
    /// It ended early.
    Stopped,
}

impl How {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Pruned => "pruned",
            Self::Refused => "refused",
            Self::Stopped => "stopped",
        }
    }
}

/// An image that this run removed.
#[derive(Debug, Clone, PartialEq)]
pub struct Removed {
    pub id: ImageId,
    /// The digest references that it had.
    pub names: Vec<Reference>,
    /// Tags that it had once, the last one first.
    pub had_tags: Vec<Reference>,
    pub class: Class,
    /// What its removal frees at least.
    pub reclaimable: Bytes,
    pub unneeded: Option<Unneeded>,
}

impl Removed {
    pub fn of(entry: &Entry) -> Self {
        Self {
            id: entry.image.id.clone(),
            names: entry.image.digests.iter().cloned().collect(),
            had_tags: entry.had_tags.clone(),
            class: entry.class,
            reclaimable: entry.reclaimable,
            unneeded: entry.unneeded,
        }
    }
}

/// An image of the plan that stayed, failed, or may be gone or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stayed {
    pub id: ImageId,
    /// Fit to print.
    pub why: String,
    /// The reason as a value, if a later step needs it.
    pub because: Option<SkipCause>,
}

/// A name or image that went with a removal and was not planned. JSON and journal call it
/// collateral.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    pub what: Lost,
    /// The image that was being removed.
    pub with: ImageId,
    /// The digest references that this image had, as far as they are known.
    pub digests: Vec<Reference>,
}

impl Loss {
    /// The command that brings it back, if a registry is known to have it.
    pub fn way_back(&self) -> Option<String> {
        let name = self.what.name()?;
        if name.is_digest() {
            return Some(format!("docker pull {}", name.familiar()));
        }
        // By its digest, because the tag may lead to another image by now. An image that was
        // built here is in no registry, even if Docker Hub has one of the same name.
        let digest = self.digests.first()?.familiar();
        let name = name.familiar();
        Some(format!(
            "docker pull {digest} && docker tag {digest} {name}"
        ))
    }

    /// Whether a name was lost that no registry is known to have.
    pub fn is_to_be_built(&self) -> bool {
        self.what.name().is_some() && self.way_back().is_none()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The name of this run in the journal.
    pub run: String,
    pub started: DateTime<Utc>,
    pub ending: Ending,
    pub refusals: Vec<Refusal>,
    pub removed: Vec<Removed>,
    /// Images of the plan that stayed: they changed, or the engine kept them.
    pub skipped: Vec<Stayed>,
    /// Images whose removal ended in an error.
    pub failed: Vec<Stayed>,
    /// Images that may be gone or not: the engine contradicts itself, or was lost before
    /// it could be asked.
    pub unconfirmed: Vec<Stayed>,
    pub lost: Vec<Loss>,
    /// The disk before the first removal.
    pub disk_before: Observed<Disk>,
    /// The disk after the last.
    pub disk_after: Observed<Disk>,
}

impl Outcome {
    pub fn new(run: String, started: DateTime<Utc>, disk: Observed<Disk>) -> Self {
        Self {
            run,
            started,
            ending: Ending::Done,
            refusals: Vec::new(),
            removed: Vec::new(),
            skipped: Vec::new(),
            failed: Vec::new(),
            unconfirmed: Vec::new(),
            lost: Vec::new(),
            disk_after: disk.clone(),
            disk_before: disk,
        }
    }

    pub fn how(&self) -> How {
        match &self.ending {
            Ending::Done if self.removed.is_empty() => How::Nothing,
            Ending::Done => How::Pruned,
            Ending::Refused if self.removed.is_empty() => How::Refused,
            Ending::PlanRefused(_) => How::Refused,
            Ending::Refused
            | Ending::OutOfTime
            | Ending::Interrupted
            | Ending::EngineLost(_)
            | Ending::Surprised
            | Ending::StateLost(_) => How::Stopped,
        }
    }

    /// As in JSON.
    pub fn result(&self) -> &'static str {
        self.how().name()
    }

    /// Measured on the disk, not summed from sizes, because layers are shared. Others may write
    /// meanwhile. `None` if the disk cannot be measured.
    pub fn reclaimed(&self) -> Option<Bytes> {
        let (before, after) = (self.disk_before.known()?, self.disk_after.known()?);
        Some(Bytes(
            after.bytes.available.saturating_sub(before.bytes.available),
        ))
    }

    /// 0 and 75 count as success for a unit or job, but a failed removal must make it fail.
    fn or_failed(&self, exit: Exit) -> Exit {
        match exit {
            Exit::Done | Exit::RefusedForNow if !self.failed.is_empty() => Exit::NotAllWell,
            other => other,
        }
    }

    /// The exit code of the worst that happened.
    pub fn exit(&self) -> Exit {
        if !self.lost.is_empty() || self.ending == Ending::Surprised {
            return Exit::Collateral;
        }
        match &self.ending {
            Ending::StateLost(_) => Exit::State,
            Ending::EngineLost(_) => Exit::Engine,
            Ending::Refused => self.or_failed(guard::exit(&self.refusals)),
            Ending::PlanRefused(_) => Exit::NeedsAPerson,
            Ending::Interrupted => self.or_failed(Exit::RefusedForNow),
            Ending::Done | Ending::OutOfTime | Ending::Surprised => self.or_failed(Exit::Done),
        }
    }
}
