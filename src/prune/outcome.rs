//! What a run did, as values: for the journal, the report and the exit code.
//! It decides only which exit code an outcome deserves.

use chrono::{DateTime, Utc};

use crate::decide::plan::{Class, Entry, Unneeded};
use crate::exit::Exit;
use crate::guard;
use crate::guard::Refusal;
use crate::memory::journal::Because;
use crate::model::conditions::Disk;
use crate::model::lost::Lost;
use crate::model::reference::Reference;
use crate::model::{Bytes, ImageId, Observed};

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Every image of the plan was tried, or the disk had enough before.
    Done,
    /// Something speaks against removing anything; the refusals say what.
    /// Before the first removal, or between two.
    Refused,
    /// The reviewed plan may not be carried out, and why.
    PlanRefused(String),
    /// `limits.max_run` was over.
    OutOfTime,
    /// SIGTERM or SIGINT.
    Interrupted,
    /// The engine went away.
    EngineLost(String),
    /// Something went that the plan did not name, or a removal that the engine
    /// confirmed did not happen: whatever is going on, more of it is worse.
    Surprised,
    /// The journal could not be written.
    StateLost(String),
}

/// What a run comes to, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Nothing had to go.
    Nothing,
    /// Images went, and the run came to its end.
    Pruned,
    /// Something spoke against it before anything went.
    Refused,
    /// It ended before its end.
    Stopped,
}

impl How {
    /// As it stands in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Pruned => "pruned",
            Self::Refused => "refused",
            Self::Stopped => "stopped",
        }
    }
}

/// An image that is gone by this run.
#[derive(Debug, Clone, PartialEq)]
pub struct Removed {
    /// Its id.
    pub id: ImageId,
    /// The digest references that it had.
    pub names: Vec<Reference>,
    /// Its class.
    pub class: Class,
    /// What removing it frees at least.
    pub reclaimable: Bytes,
    /// Since when it was unneeded, and what says so.
    pub unneeded: Option<Unneeded>,
}

impl Removed {
    /// Of the plan's entry.
    pub fn of(entry: &Entry) -> Self {
        Self {
            id: entry.image().id.clone(),
            names: entry.image().digests.iter().cloned().collect(),
            class: entry.class(),
            reclaimable: entry.reclaimable(),
            unneeded: entry.unneeded(),
        }
    }
}

/// An image of the plan that stayed, and why; or that gave an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stayed {
    /// Its id.
    pub id: ImageId,
    /// Fit to print.
    pub why: String,
    /// Where a later step goes by the reason.
    pub because: Option<Because>,
}

/// Something that the plan did not name and that went with a removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collateral {
    /// What went.
    pub what: Lost,
    /// While this image was being removed.
    pub with: ImageId,
    /// The digest references that this image had, as far as they are known.
    pub digests: Vec<Reference>,
}

impl Collateral {
    /// The command that brings it back, where a registry is known to have it.
    pub fn way_back(&self) -> Option<String> {
        let name = self.what.name()?;
        if name.is_digest() {
            return Some(format!("docker pull {}", name.familiar()));
        }
        // By its digest: the tag may lead elsewhere by now, and what was built
        // here was never anywhere else, whatever has its name on Docker Hub.
        let digest = self.digests.first()?.familiar();
        let name = name.familiar();
        Some(format!(
            "docker pull {digest} && docker tag {digest} {name}"
        ))
    }

    /// Whether a name went that no registry is known to have.
    pub fn is_to_be_built(&self) -> bool {
        self.what.name().is_some() && self.way_back().is_none()
    }
}

/// What a run did.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Names this run in the journal.
    pub run: String,
    /// When it began.
    pub started: DateTime<Utc>,
    /// How it ended.
    pub ending: Ending,
    /// What spoke against it.
    pub refusals: Vec<Refusal>,
    /// What is gone.
    pub removed: Vec<Removed>,
    /// What stayed although the plan named it: it changed, or the engine
    /// would not.
    pub skipped: Vec<Stayed>,
    /// What could not be removed for an error.
    pub failed: Vec<Stayed>,
    /// What may be gone or not: the engine contradicts itself, or was lost
    /// before it could be asked.
    pub unconfirmed: Vec<Stayed>,
    /// What went and should not have.
    pub collateral: Vec<Collateral>,
    /// The disk before the first removal.
    pub disk_before: Observed<Disk>,
    /// The disk after the last.
    pub disk_after: Observed<Disk>,
}

impl Outcome {
    /// A run that has done nothing yet.
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
            collateral: Vec::new(),
            disk_after: disk.clone(),
            disk_before: disk,
        }
    }

    /// In a word.
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

    /// As it stands in JSON.
    pub fn result(&self) -> &'static str {
        self.how().name()
    }

    /// Measured on the disk, not summed from sizes: layers are shared, and
    /// others write meanwhile. `None` where it cannot be measured.
    pub fn reclaimed(&self) -> Option<Bytes> {
        let (before, after) = (self.disk_before.known()?, self.disk_after.known()?);
        Some(Bytes(
            after.bytes.available.saturating_sub(before.bytes.available),
        ))
    }

    /// 0 and 75 are no failures of a unit or a job; a removal that failed is.
    fn or_failed(&self, exit: Exit) -> Exit {
        match exit {
            Exit::Done | Exit::RefusedForNow if !self.failed.is_empty() => Exit::NotAllWell,
            other => other,
        }
    }

    /// The exit code, the worst of all that happened.
    pub fn exit(&self) -> Exit {
        if !self.collateral.is_empty() || self.ending == Ending::Surprised {
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
