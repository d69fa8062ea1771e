//! How far a run is: one line on stderr, on a terminal, from the second second
//! on. It decides only whether and how often to write.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::cli::Global;
use crate::host::clock::monotonic;

/// How far a run is, on a terminal, from the second second on.
pub struct Progress {
    wanted: bool,
    shown: bool,
    since: Instant,
    last: Option<Instant>,
}

impl Progress {
    /// For a run that begins now.
    pub fn new(global: &Global) -> Self {
        let wanted = !global.quiet && std::io::stderr().is_terminal();
        Self {
            wanted,
            shown: false,
            since: monotonic(),
            last: None,
        }
    }

    /// Whether anybody sees it.
    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Shows a line, if it is time for one.
    pub fn show(&mut self, line: impl FnOnce() -> String) {
        let now = monotonic();
        let recent = self
            .last
            .is_some_and(|last| now - last < Duration::from_millis(200));
        if self.wanted && !recent && now - self.since > Duration::from_secs(1) {
            self.shown = true;
            self.last = Some(now);
            let _ = write!(std::io::stderr(), "\r{:70}", line());
        }
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r{:70}\r", "");
        }
    }
}
