//! Metrics of both commands: when a run began, how long it took, its result and its refusals.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::exit::Exit;
use crate::guard::{Refusal, RefusalKind};
use crate::report::metrics::page::{Page, PreviousFile};

/// Of a run that ended without a report.
pub const ERROR: &str = "error";

#[derive(Debug, Clone, Copy)]
pub struct Ran<'a> {
    pub began: DateTime<Utc>,
    pub took: Duration,
    pub exit: Exit,
    /// As in JSON, or [`ERROR`].
    pub result: &'static str,
    pub refusals: &'a [Refusal],
}

impl Ran<'_> {
    fn met(&self, kind: RefusalKind) -> bool {
        self.refusals.iter().any(|refusal| refusal.kind() == kind)
    }

    /// When it began, or this moment of the previous file, if that is later: another run may have
    /// begun after this one and ended before it.
    pub(crate) fn latest(&self, previous: Option<f64>) -> f64 {
        let began = self.began.timestamp() as f64;
        previous.map_or(began, |previous| previous.max(began))
    }

    /// In seconds since 1970.
    pub(crate) fn ended(&self) -> f64 {
        self.began.timestamp() as f64 + self.took.as_secs_f64()
    }
}

/// `results` are all possible ones.
pub(crate) fn run(
    page: &mut Page,
    ran: &Ran<'_>,
    results: &[&'static str],
    previous: &PreviousFile,
) {
    let began = ran.began.timestamp() as f64;
    page.gauge(
        "last_run_timestamp_seconds",
        "When the last run began.",
        began,
    );
    page.gauge(
        "last_run_duration_seconds",
        "How long the last run took.",
        (ran.took.as_secs_f64() * 1000.0).round() / 1000.0,
    );
    page.gauge(
        "last_run_exit_code",
        "Exit code of the last run; 75 is refused for now, 65 that a person must look.",
        f64::from(ran.exit as u8),
    );
    page.gauges(
        "last_run_result",
        "Result of the last run: 1 for one of them.",
        "result",
        results
            .iter()
            .map(|result| (*result, f64::from(u8::from(*result == ran.result)))),
    );
    let name = "last_success_timestamp_seconds";
    let before = previous.moment(page.prefix(), name, None, ran.ended());
    let success = if ran.exit == Exit::Done {
        Some(ran.latest(before))
    } else {
        before
    };
    page.gauges(
        name,
        "When the last run began that ended with exit code 0.",
        "",
        success.map(|at| ("", at)),
    );
}

pub(crate) fn refused(
    page: &mut Page,
    ran: &Ran<'_>,
    kinds: impl IntoIterator<Item = RefusalKind>,
) {
    page.gauges(
        "refused",
        "Whether this spoke against the last run.",
        "kind",
        kinds
            .into_iter()
            .map(|kind| (kind.name(), f64::from(u8::from(ran.met(kind))))),
    );
}

/// Since when every run has met each kind of refusal. A run that ended before its survey
/// (`surveyed`) does not end that: the lock of yesterday may still be held.
pub(crate) fn refused_since(
    page: &mut Page,
    ran: &Ran<'_>,
    surveyed: bool,
    previous: &PreviousFile,
) {
    let now = ran.began.timestamp() as f64;
    let prefix = page.prefix();
    let name = "refused_since_timestamp_seconds";
    let since = RefusalKind::ALL.into_iter().filter_map(|kind| {
        let since = previous.moment(prefix, name, Some(("kind", kind.name())), ran.ended());
        let since = if ran.met(kind) {
            Some(since.unwrap_or(now))
        } else {
            since.filter(|_| !surveyed)
        };
        Some((kind.name(), since?))
    });
    page.gauges(
        name,
        "When the first of the runs began that this spoke against without a break.",
        "kind",
        since,
    );
}
