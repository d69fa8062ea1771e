//! The progress of a run on stderr: on a terminal, one changing line from the first second to
//! the end. It never waits for a reader: a run that holds locks goes on even if its terminal is
//! stopped.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::cache::step::Step;
use crate::cli::Global;
use crate::commands::speed::Speed;
use crate::host::clock::monotonic;

/// When the line first appears, and how often it is redrawn.
const SOON: Duration = Duration::from_millis(800);
const TICK: Duration = Duration::from_millis(200);

/// Columns of the line. A wider one would wrap and leave its beginning behind.
const WIDTH: usize = 78;

/// Dropping it removes the line, and waits until everything is written.
pub struct Progress {
    quiet: bool,
    on_terminal: bool,
    since: Instant,
    speed: Speed,
    writer: Option<Writer>,
}

impl Progress {
    pub fn new(global: &Global) -> Self {
        Self {
            quiet: global.quiet,
            on_terminal: std::io::stderr().is_terminal(),
            since: monotonic(),
            speed: Speed::default(),
            writer: None,
        }
    }

    /// Whether to write a line to the log instead, because there is no terminal.
    pub fn is_for_the_log(&self) -> bool {
        !self.quiet && !self.on_terminal
    }

    /// Shows what the run does from now on, with the seconds that the run has taken.
    pub fn show(&mut self, line: impl FnOnce() -> String) {
        if self.on_terminal && !self.quiet {
            let since = self.since;
            self.writer().show(line(), since);
        }
    }

    /// As [`Self::show`], with the speed of a transfer.
    pub fn step(&mut self, step: Step) {
        let speed = self.speed.of(step, monotonic());
        self.show(|| format!("{step}{speed}"));
    }

    /// Runs `write` on the thread; skips it if the thread is still busy with the last one.
    pub fn run_beside(&mut self, write: impl FnOnce() + Send + 'static) {
        self.writer().queue(write);
    }

    fn writer(&mut self) -> &Writer {
        self.writer.get_or_insert_with(Writer::new)
    }

    /// Removes the line, and waits for that: no lock may be held.
    pub fn clear(&mut self) {
        self.writer = None;
    }
}

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Wanted {
    job: Option<Job>,
    line: Option<(String, Instant)>,
    over: bool,
}

/// Writes on a thread of its own. Dropping it waits for the thread.
struct Writer {
    wanted: Arc<(Mutex<Wanted>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn new() -> Self {
        let wanted = Arc::new((Mutex::default(), Condvar::new()));
        let given = Arc::clone(&wanted);
        let thread = thread::Builder::new().spawn(move || write(&given));
        Self {
            wanted,
            // Without a thread nothing is shown.
            thread: thread.ok(),
        }
    }

    /// Skipped if another job waits.
    fn queue(&self, job: impl FnOnce() + Send + 'static) {
        self.update(|wanted| {
            wanted.job.get_or_insert_with(|| Box::new(job));
        });
    }

    fn show(&self, line: String, since: Instant) {
        self.update(|wanted| wanted.line = Some((line, since)));
    }

    /// The thread never writes while it holds this lock.
    fn update(&self, what: impl FnOnce(&mut Wanted)) {
        let (wanted, news) = &*self.wanted;
        what(&mut locked(wanted));
        news.notify_one();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.update(|wanted| wanted.over = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn locked(wanted: &Mutex<Wanted>) -> MutexGuard<'_, Wanted> {
    wanted.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes until it is over, then removes the line.
fn write((wanted, news): &(Mutex<Wanted>, Condvar)) {
    let mut shown = false;
    loop {
        let guard = locked(wanted);
        let news = news.wait_timeout_while(guard, TICK, |it| it.job.is_none() && !it.over);
        let (mut guard, _) = news.unwrap_or_else(PoisonError::into_inner);
        let (job, line, over) = (guard.job.take(), guard.line.clone(), guard.over);
        drop(guard);
        if let Some(job) = job {
            job();
        }
        if over {
            break;
        }
        let took = |since: Instant| monotonic().saturating_duration_since(since);
        if let Some((line, since)) = line.filter(|(_, since)| took(*since) > SOON) {
            shown = true;
            let line = format!("{line} ({} s)", took(since).as_secs());
            let line: String = line.chars().take(WIDTH).collect();
            let _ = write!(std::io::stderr(), "\r{line:WIDTH$}");
        }
    }
    if shown {
        let _ = write!(std::io::stderr(), "\r{:WIDTH$}\r", "");
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
        let writer = Writer::new();
        let first = wrote.clone();
        writer.queue(move || {
            first.send(0).unwrap();
            let _ = blocked.recv();
        });
        assert_eq!(written.recv(), Ok(0));
        for number in 1..=100 {
            let wrote = wrote.clone();
            writer.queue(move || wrote.send(number).unwrap());
            writer.show("a line".into(), monotonic());
        }
        drop((reads, wrote));
        drop(writer);
        assert_eq!(written.iter().collect::<Vec<_>>(), [1]);
    }
}
