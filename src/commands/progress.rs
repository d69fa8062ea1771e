//! How far a run is, on stderr: one line that changes, on a terminal, from the second
//! second on. It decides whether and how often to write, and never waits for a reader:
//! a run that holds locks goes on beside a terminal that is stopped.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::cli::Global;
use crate::host::clock::monotonic;

/// How far a run is. What is shown goes at the end; that waits until all is written.
pub struct Progress {
    quiet: bool,
    on_terminal: bool,
    shown: bool,
    since: Instant,
    last: Option<Instant>,
    aside: Option<Aside>,
}

impl Progress {
    /// For a run that begins now.
    pub fn new(global: &Global) -> Self {
        Self {
            quiet: global.quiet,
            on_terminal: std::io::stderr().is_terminal(),
            shown: false,
            since: monotonic(),
            last: None,
            aside: None,
        }
    }

    /// Whether something is to be told once, in the log, for there is no terminal.
    pub fn is_for_the_log(&self) -> bool {
        !self.quiet && !self.on_terminal
    }

    /// Shows a line, if it is time for one.
    pub fn show(&mut self, line: impl FnOnce() -> String) {
        let now = monotonic();
        let recent = self
            .last
            .is_some_and(|last| now - last < Duration::from_millis(200));
        let wanted = self.on_terminal && !self.quiet;
        if wanted && !recent && now - self.since > Duration::from_secs(1) {
            self.shown = true;
            self.last = Some(now);
            let line = line();
            self.aside(move || drop(write!(std::io::stderr(), "\r{line:70}")));
        }
    }

    /// Does this beside the run, or not at all where what came before is not done.
    pub fn aside(&mut self, write: impl FnOnce() + Send + 'static) {
        self.aside.get_or_insert_with(Aside::new).does(write);
    }

    /// Takes the line away. It waits until that is done: no lock may be held.
    pub fn clear(&mut self) {
        self.aside = None;
        if std::mem::take(&mut self.shown) {
            let _ = write!(std::io::stderr(), "\r{:70}\r", "");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Does one thing after the other on a thread of its own. Dropping it waits for the last.
struct Aside {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Aside {
    fn new() -> Self {
        let (jobs, given) = sync_channel::<Job>(1);
        let thread = thread::Builder::new().spawn(move || given.into_iter().for_each(|job| job()));
        Self {
            jobs: Some(jobs),
            // Without a thread nothing is shown.
            thread: thread.ok(),
        }
    }

    /// Left out where one is being done and another waits.
    fn does(&self, job: impl FnOnce() + Send + 'static) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.try_send(Box::new(job));
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn what_waits_for_a_reader_holds_up_nobody_until_the_end() {
        let (reads, blocked) = channel::<()>();
        let (wrote, written) = channel();
        let aside = Aside::new();
        let first = wrote.clone();
        aside.does(move || {
            first.send(0).unwrap();
            let _ = blocked.recv();
        });
        assert_eq!(written.recv(), Ok(0));
        for number in 1..=100 {
            let wrote = wrote.clone();
            aside.does(move || wrote.send(number).unwrap());
        }
        drop((reads, wrote));
        drop(aside);
        assert_eq!(written.iter().collect::<Vec<_>>(), [1]);
    }
}
