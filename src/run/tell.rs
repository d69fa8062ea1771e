//! Where a run's words and numbers go: report, journal entries, metrics, log
//! lines. Decides only which of them is wanted where; the words are made in
//! `report`, the numbers in `metrics`.

use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use chrono::{DateTime, Utc};

use crate::cli::{Format, Global};
use crate::exit::{Exit, Fault};
use crate::guards::Refusal;
use crate::host::clock;
use crate::host::systemd::{Entry, Journal, Priority, is_read_by_journal};
use crate::metrics::{Before, Ran};
use crate::report::entries;

/// When a command began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Began {
    monotonic: Instant,
    wall: DateTime<Utc>,
}

impl Began {
    /// Now.
    pub(crate) fn now() -> Self {
        Self {
            monotonic: clock::monotonic(),
            wall: clock::now(),
        }
    }

    /// Now that it has ended: the run, for its numbers.
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

/// What was done, to whoever reads: entries with fields where systemd's journal
/// reads stderr, and the report on stdout. Where the same journal reads that,
/// too, the text report would say each thing a second time, and is left out but
/// for --verbose, which tells more. Says whether that journal was told.
pub(crate) fn tell(
    global: &Global,
    report: impl FnOnce() -> String,
    entries: impl FnOnce() -> Vec<Entry>,
) -> Result<bool, Fault> {
    let said = Journal::of_stderr().is_some_and(|journal| journal.write(&entries()).is_ok());
    let again = global.format == Format::Text && !global.verbose;
    if said && again && is_read_by_journal(io::stdout()) {
        return Ok(said);
    }
    say(&report(), global.format).map(|()| said)
}

/// The report. A reader that went away (`| head`) is no error.
pub(super) fn say(report: &str, format: Format) -> Result<(), Fault> {
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

/// Why a command ended before its work.
pub(super) fn fault(fault: &Fault, command: &str) {
    let entry = entries::fault(fault, command);
    let said = Journal::of_stderr().is_some_and(|journal| journal.write(&[entry]).is_ok());
    if !said {
        log(Priority::Error, &format!("error: {}", fault.message));
    }
}

/// A line on stderr; for systemd's journal with its priority, as sd-daemon(3)
/// writes it.
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

/// Numbers, where they are asked for. A file that cannot be written is a
/// warning: what was done to the images counts for more.
pub(crate) fn write_metrics(
    global: &Global,
    path: Option<&Path>,
    prefix: &'static str,
    text: impl FnOnce(&Before) -> String,
) {
    let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else {
        return;
    };
    let written = crate::metrics::write(path, prefix, text);
    if let Err(why) = written
        && !global.quiet
    {
        log(Priority::Warning, &format!("warning: metrics: {why}"));
    }
}
