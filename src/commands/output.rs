//! Writes report, journal entries, metrics and log lines. Decides which of them goes where;
//! `report` words them.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::cli::{Format, Global};
use crate::commands::progress::Progress;
use crate::exit::{Exit, Fault};
use crate::guard::Refusal;
use crate::host::clock;
use crate::host::files::write_atomic;
use crate::host::journald::{Journal, JournalEntry, Priority, is_read_by_journal};
use crate::model::text::escape_path;
use crate::policy::Policy;
use crate::report::metrics::{PreviousFile, Ran};
use crate::report::{COLUMNS, journald, metrics};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Began {
    monotonic: Instant,
    wall: DateTime<Utc>,
}

impl Began {
    pub(crate) fn now() -> Self {
        Self {
            monotonic: clock::monotonic(),
            wall: clock::now(),
        }
    }

    /// The run that ends now, for its metrics.
    pub(crate) fn ended<'a>(
        self,
        exit: &Result<Exit, Fault>,
        result: &'static str,
        refusals: &'a [Refusal],
    ) -> Ran<'a> {
        Ran {
            began: self.wall,
            took: clock::monotonic() - self.monotonic,
            exit: exit.as_ref().map_or_else(|fault| fault.exit, |exit| *exit),
            result,
            refusals,
        }
    }
}

/// Writes entries if systemd's journal reads stderr, and the report to stdout. If the same
/// journal also reads stdout, it leaves out the text report, which would repeat everything,
/// unless --verbose asks for more. Returns whether the entries were written.
pub(crate) fn publish(
    global: &Global,
    report: impl FnOnce() -> String,
    entries: impl FnOnce() -> Vec<JournalEntry>,
) -> Result<bool, Fault> {
    let said = Journal::of_stderr().is_some_and(|journal| journal.write(&entries()).is_ok());
    let again = global.format == Format::Text && !global.verbose;
    if said && again && is_read_by_journal(io::stdout()) {
        return Ok(said);
    }
    write_report(&report(), global.format).map(|()| said)
}

/// Writes the report. A reader that went away (`| head`) is no error.
pub(crate) fn write_report(report: &str, format: Format) -> Result<(), Fault> {
    let written = match format {
        Format::Text => anstream::stdout().write_all(report.as_bytes()),
        Format::Json => io::stdout().write_all(report.as_bytes()),
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Fault::new(
            Exit::State,
            format!("cannot write the report: {error}"),
        )),
        _ => Ok(()),
    }
}

/// The width of the terminal; without one, the widest report.
pub(crate) fn columns() -> usize {
    let size = terminal_size::terminal_size_of(io::stdout());
    size.map_or(COLUMNS, |(width, _)| usize::from(width.0))
}

const LONG: Duration = Duration::from_secs(10);

/// Waits for the engine. If that takes long, it tells people: on a terminal with a line that
/// counts, elsewhere with one line in the log.
pub(crate) async fn with_progress<T>(
    global: &Global,
    policy: &Policy,
    work: impl Future<Output = T>,
) -> T {
    with_kept_progress(&mut Progress::new(global), policy, work).await
}

/// As [`with_progress`], with a progress that stays. Locks are held, so it must not wait for a
/// reader.
pub(super) async fn with_kept_progress<T>(
    progress: &mut Progress,
    policy: &Policy,
    work: impl Future<Output = T>,
) -> T {
    let mut untold = progress.is_for_the_log();
    progress.show(|| "reading the engine".to_owned());
    let done = ticking(work, |took| {
        if took >= LONG && std::mem::take(&mut untold) {
            let limit = humantime::format_duration(policy.limits.max_answer);
            let line = format!(
                "the engine answers slowly: it is being read for {} s; each answer may take {limit} (limits.max_answer)",
                LONG.as_secs()
            );
            progress.run_beside(move || log(Priority::Notice, &line));
        }
    });
    done.await
}

/// Waits for `work`, and calls `tell` five times a second with the time so far.
async fn ticking<T>(work: impl Future<Output = T>, mut tell: impl FnMut(Duration)) -> T {
    const TICK: Duration = Duration::from_millis(200);
    let mut work = std::pin::pin!(work);
    let mut took = Duration::ZERO;
    loop {
        if let Ok(done) = tokio::time::timeout(TICK, &mut work).await {
            return done;
        }
        took += TICK;
        tell(took);
    }
}

/// Writes why a command ended without a report.
pub(crate) fn fault(fault: &Fault, command: &str) {
    let entry = journald::fault(fault, command);
    let said = Journal::of_stderr().is_some_and(|journal| journal.write(&[entry]).is_ok());
    if !said {
        log(Priority::Error, &format!("error: {}", fault.message));
    }
}

/// Writes a line to stderr; for systemd's journal with the priority that sd-daemon(3)
/// describes.
pub(crate) fn log(priority: Priority, line: &str) {
    let stderr = io::stderr();
    let mark = if is_read_by_journal(&stderr) {
        format!("<{}>", priority as u8)
    } else {
        String::new()
    };
    // Nobody is left to tell if stderr is gone.
    let _ = writeln!(anstream::stderr(), "{mark}secateur: {line}");
}

/// Writes metrics to `path`, if there is one. A failure is only a warning: the images matter
/// more.
pub(crate) fn write_metrics(
    global: &Global,
    path: Option<&Path>,
    prefix: &'static str,
    text: impl FnOnce(&PreviousFile) -> String,
) {
    let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else {
        return;
    };
    let written = metrics::write(path, prefix, text);
    if let Err(why) = written
        && !global.quiet
    {
        log(Priority::Warning, &format!("warning: metrics: {why}"));
    }
}

/// Writes a file that secateur reads again, unless it is too long for that.
pub(super) fn write_readable(path: &Path, bytes: &[u8], longest: u64) -> Result<(), Fault> {
    let length = bytes.len() as u64;
    if length > longest {
        let shown = escape_path(path);
        return Err(Fault::new(
            Exit::State,
            format!(
                "cannot write {shown}: it would have {length} bytes, more than the {longest} that are read again"
            ),
        ));
    }
    write_atomic(path, bytes).map_err(Fault::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_not_be_read_again_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.json");
        let fault = write_readable(&path, b"12345", 4).unwrap_err();
        assert_eq!(fault.exit, Exit::State);
        let words = "5 bytes, more than the 4 that are read again";
        assert!(fault.message.contains(words), "{}", fault.message);
        assert!(!path.exists());
        write_readable(&path, b"1234", 4).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"1234");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_told_for_how_long_something_is_waited_for_until_it_comes() {
        let mut told = Vec::new();
        let work = async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            "it"
        };
        assert_eq!(
            ticking(work, |took| told.push(took.as_millis())).await,
            "it"
        );
        assert_eq!(told, [200, 400, 600]);
    }
}
