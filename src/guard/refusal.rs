//! Why a run does nothing, and for how long that has been so. Decides when a
//! refusal has lasted for so long that it will not mend itself.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::guard::cause::{Cause, RefusalKind};

/// Why a whole run does nothing, and for how long that has been so.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// What speaks against it.
    pub cause: Cause,
    /// Since when, as far as it is known.
    pub since: Option<DateTime<Utc>>,
    /// For how long, as far as it is known.
    pub lasted: Option<TimeDelta>,
    /// For longer than `guard.alert_after`.
    pub alert: bool,
}

impl From<Cause> for Refusal {
    /// One of which nobody knows for how long it has been so.
    fn from(cause: Cause) -> Self {
        Self {
            cause,
            since: None,
            lasted: None,
            alert: false,
        }
    }
}

impl Refusal {
    /// One that has been so since a moment, if it is known.
    pub fn lasting(
        cause: Cause,
        since: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        alert_after: Duration,
    ) -> Self {
        let lasted = since.map(|since| (now - since).max(TimeDelta::zero()));
        let alert = lasted
            .and_then(|time| time.to_std().ok())
            .is_some_and(|time| time > alert_after);
        Self {
            cause,
            since,
            lasted,
            alert,
        }
    }

    pub fn kind(&self) -> RefusalKind {
        self.cause.kind()
    }

    /// Whether it will not mend itself, so that a person must look.
    pub fn needs_a_person(&self) -> bool {
        matches!(self.cause, Cause::MaxFraction { .. }) || self.alert
    }

    /// Whether it may be over in a moment, so that it is worth waiting for: a
    /// deploy lock that somebody holds, and not for long as far as is known.
    pub fn may_end_at_any_moment(&self) -> bool {
        match &self.cause {
            Cause::DeployLock { unclear, .. } => !self.alert && unclear.is_none(),
            Cause::Pull { .. }
            | Cause::Build(_)
            | Cause::BuildKit { .. }
            | Cause::BuildUnclear(_)
            | Cause::Deploy { .. }
            | Cause::DeployUnclear(_)
            | Cause::OtherRun(_)
            | Cause::Clock(_)
            | Cause::MaxFraction { .. }
            | Cause::EngineInconsistent(_)
            | Cause::SignsUnreadable { .. }
            | Cause::Disk(_)
            | Cause::CpuPressure { .. }
            | Cause::Busy { .. }
            | Cause::PullsLeft { .. } => false,
        }
    }
}
