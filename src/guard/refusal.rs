//! Why a run does nothing, and since when. Decides when a refusal has lasted so long that a
//! person must act.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::guard::cause::{Cause, RefusalKind};

#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub cause: Cause,
    /// `None` where it is not known.
    pub since: Option<DateTime<Utc>>,
    /// The time since `since`, never negative.
    pub lasted: Option<TimeDelta>,
    /// It has lasted longer than `guard.alert_after`.
    pub alert: bool,
}

impl From<Cause> for Refusal {
    /// Its beginning is not known.
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
            since,
            lasted,
            alert,
            ..cause.into()
        }
    }

    pub fn kind(&self) -> RefusalKind {
        self.cause.kind()
    }

    /// Whether it will not end by itself.
    pub fn needs_a_person(&self) -> bool {
        matches!(self.cause, Cause::MaxFraction { .. }) || self.alert
    }

    /// Whether it is worth waiting for: a deploy lock that somebody holds, and not for long as
    /// far as is known.
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
