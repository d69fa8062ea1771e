//! The last run as numbers, for node_exporter's textfile collector. Decides
//! which numbers there are and what of the file before is carried on: moments
//! that began before this run (refused since, last success). All are gauges of
//! the last run, and what this run did not see is left out: a number that
//! nobody measured would be believed. Nothing is decided by what a metrics file
//! says, and no run fails because of one.

pub mod cache;
mod page;
pub mod prune;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::exit::Exit;
use crate::guard::{Refusal, RefusalKind};
use crate::host::files::{read_untrusted, write_for_all};

pub use page::Before;
use page::Page;

/// No file of ours is longer.
const LONGEST: u64 = 1 << 20;

/// One run of a command.
#[derive(Debug, Clone, Copy)]
pub struct Ran<'a> {
    /// When it began.
    pub began: DateTime<Utc>,
    /// How long it took.
    pub took: Duration,
    /// Its exit code.
    pub exit: Exit,
    /// Its result, as in JSON; [`ERROR`] where it ended before its work.
    pub result: &'static str,
    /// What spoke against it.
    pub refusals: &'a [Refusal],
}

/// The result of a run that ended before its work.
pub const ERROR: &str = "error";

/// Writes the file anew: `text` makes it from what was in it before.
///
/// A file that holds anybody else's metrics is left alone, also those of another
/// command of ours: it would lose them.
pub fn write(
    path: &Path,
    prefix: &'static str,
    text: impl FnOnce(&Before) -> String,
) -> Result<(), String> {
    let before = read_untrusted(path, LONGEST).map_err(|error| error.to_string())?;
    let before = Before::of(&before.unwrap_or_default());
    if let Some(other) = before.not_of(prefix) {
        let (path, other) = (path.to_string_lossy(), crate::model::text::escape(other));
        return Err(format!(
            "{} holds {other}, which is not of this command: give each a file of its own, or delete it",
            crate::model::text::escape(&path)
        ));
    }
    write_for_all(path, text(&before).as_bytes()).map_err(|error| error.to_string())
}

/// What both commands tell of a run, with these results.
fn run(page: &mut Page, ran: &Ran<'_>, results: &[&'static str], before: &Before) {
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
    let success = if ran.exit == Exit::Done {
        Some(began)
    } else {
        before.moment(page.prefix(), "last_success_timestamp_seconds", None, began)
    };
    page.gauges(
        "last_success_timestamp_seconds",
        "When the last run began that ended with exit code 0.",
        "",
        success.map(|at| ("", at)),
    );
}

/// What spoke against the run.
fn refused(page: &mut Page, ran: &Ran<'_>) {
    let is = |kind: RefusalKind| ran.refusals.iter().any(|refusal| refusal.kind() == kind);
    page.gauges(
        "refused",
        "Whether this spoke against the last run.",
        "kind",
        RefusalKind::ALL.map(|kind| (kind.name(), f64::from(u8::from(is(kind))))),
    );
}

/// Since when it has, without a break. A run that did not look (`looked`) breaks
/// nothing: the lock of yesterday is held, for all that is known.
fn refused_since(page: &mut Page, ran: &Ran<'_>, looked: bool, before: &Before) {
    let now = ran.began.timestamp() as f64;
    let prefix = page.prefix();
    let since = RefusalKind::ALL.into_iter().filter_map(|kind| {
        let name = "refused_since_timestamp_seconds";
        let since = before.moment(prefix, name, Some(("kind", kind.name())), now);
        let is = ran.refusals.iter().any(|refusal| refusal.kind() == kind);
        let since = if is {
            Some(since.unwrap_or(now))
        } else {
            since.filter(|_| !looked)
        };
        Some((kind.name(), since?))
    });
    page.gauges(
        "refused_since_timestamp_seconds",
        "When the first of the runs began that this spoke against without a break.",
        "kind",
        since,
    );
}
