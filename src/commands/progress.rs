//! How far a run is, on stderr: one line that changes, on a terminal, within the first
//! second and until the end. It decides whether to write, and never waits for a reader: a
//! run that holds locks goes on beside a terminal that is stopped.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::cache::step::Step;
use crate::cli::Global;
use crate::commands::speed::Speed;
use crate::host::clock::monotonic;

/// From when on a line is shown, and how often it is drawn anew.
const SOON: Duration = Duration::from_millis(800);
const TICK: Duration = Duration::from_millis(200);

/// Columns of a line. A wider one would leave its beginning behind.
const WIDTH: usize = 78;

/// How far a run is. What is shown goes at the end; that waits until all is written.
pub struct Progress {
    quiet: bool,
    on_terminal: bool,
    since: Instant,
    speed: Speed,
    aside: Option<Aside>,
}

impl Progress {
    /// For a run that begins now.
    pub fn new(global: &Global) -> Self {
        Self {
            quiet: global.quiet,
            on_terminal: std::io::stderr().is_terminal(),
            since: monotonic(),
            speed: Speed::default(),
            aside: None,
        }
    }

    /// Whether something is to be told once, in the log, for there is no terminal.
    pub fn is_for_the_log(&self) -> bool {
        !self.quiet && !self.on_terminal
    }

    /// What the run does from now on. It is shown until something else is, with the
    /// seconds that the run has taken.
    pub fn show(&mut self, line: impl FnOnce() -> String) {
        if self.on_terminal && !self.quiet {
            let since = self.since;
            self.thread().shows(line(), since);
        }
    }

    /// The same, with the speed of bytes that come.
    pub fn step(&mut self, step: Step) {
        let speed = self.speed.of(step, monotonic());
        self.show(|| format!("{step}{speed}"));
    }

    /// Does this beside the run, or not at all where what came before is not done.
    pub fn aside(&mut self, write: impl FnOnce() + Send + 'static) {
        self.thread().does(write);
    }

    fn thread(&mut self) -> &Aside {
        self.aside.get_or_insert_with(Aside::new)
    }

    /// Takes the line away. It waits until that is done: no lock may be held.
    pub fn clear(&mut self) {
        self.aside = None;
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// What the thread is to write.
#[derive(Default)]
struct Wanted {
    job: Option<Job>,
    line: Option<(String, Instant)>,
    over: bool,
}

/// Writes on a thread of its own. Dropping it waits for the last.
struct Aside {
    wanted: Arc<(Mutex<Wanted>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Aside {
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

    /// Left out where one waits that has not begun.
    fn does(&self, job: impl FnOnce() + Send + 'static) {
        self.wants(|wanted| {
            wanted.job.get_or_insert_with(|| Box::new(job));
        });
    }

    fn shows(&self, line: String, since: Instant) {
        self.wants(|wanted| wanted.line = Some((line, since)));
    }

    /// The thread never writes while it has this lock.
    fn wants(&self, what: impl FnOnce(&mut Wanted)) {
        let (wanted, news) = &*self.wanted;
        what(&mut locked(wanted));
        news.notify_one();
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.wants(|wanted| wanted.over = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn locked(wanted: &Mutex<Wanted>) -> MutexGuard<'_, Wanted> {
    wanted.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes what is wanted, until it is over; then takes the line away.
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
            aside.shows("a line".into(), monotonic());
        }
        drop((reads, wrote));
        drop(aside);
        assert_eq!(written.iter().collect::<Vec<_>>(), [1]);
    }
}
