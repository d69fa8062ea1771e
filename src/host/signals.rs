//! The signals that end or stop a run. A process that holds locks is not stopped: it
//! lets them go first. Decides when a stop comes about, and how long a run that was asked
//! to end may take.
//!
//! The signals are blocked and only looked at (signalfd(2)): the kernel keeps them
//! until they are let through, and then does what it always does. SIGSTOP cannot be
//! blocked; that the run was stopped shows in the SIGCONT that ended it.

use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use futures_util::future::{Either, select};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// A run is over this long after SIGTERM, come what may: in time for whoever sends SIGKILL
/// after 10 s. It is more than a run waits for an engine that hangs.
const LAST: Duration = Duration::from_millis(9500);

/// Those that ask for an end.
const ENDS: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];

/// Those by which a terminal stops a process.
const STOPS: [Signal; 3] = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];

/// While it lives, this thread and those that it starts are not stopped. A stop that was
/// asked for meanwhile comes about at its end.
#[derive(Debug)]
pub(in crate::host) struct Unstopped(SigSet);

impl Unstopped {
    pub(in crate::host) fn new() -> Self {
        let mut signals = SigSet::from_iter(STOPS);
        signals.add(Signal::SIGCONT);
        let ours = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK).map(|had| {
            // What was blocked before stays so.
            signals
                .iter()
                .filter(|signal| !had.contains(*signal))
                .collect()
        });
        Self(ours.unwrap_or_else(|_| SigSet::empty()))
    }
}

impl Drop for Unstopped {
    fn drop(&mut self) {
        // Fails for no set of signals.
        let _ = self.0.thread_unblock();
    }
}

/// What tells a run to end: SIGTERM, SIGINT, and each signal that stops a process or
/// shows that it was stopped, for what it saw before is old then. By default nothing does.
#[derive(Debug, Clone, Default)]
pub struct AskedToEnd(Option<Rc<Pending>>);

#[derive(Debug)]
struct Pending {
    any: SignalFd,
    stopped: SignalFd,
}

impl AskedToEnd {
    /// Once it is so, it stays so.
    pub fn is(&self) -> bool {
        self.0.as_ref().is_some_and(|pending| came(&pending.any))
    }

    /// What this work gives; `None` where the run is asked to end before.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        const TICK: Duration = Duration::from_millis(100);
        let ends = async {
            while !self.is() {
                tokio::time::sleep(TICK).await;
            }
        };
        match select(std::pin::pin!(work), std::pin::pin!(ends)).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }

    /// Whether the process was stopped, or is about to be: what it saw before may be old.
    /// The kernel forgets a SIGCONT where a stop comes after it.
    pub fn was_stopped(&self) -> bool {
        let pending = self.0.as_ref();
        pending.is_some_and(|pending| came(&pending.stopped))
    }
}

/// Looks, and leaves the signal pending.
fn came(signals: &SignalFd) -> bool {
    let mut polled = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// The signals of a run that takes locks, until dropped; then no lock may be held.
#[derive(Debug)]
pub struct Signals {
    asked: AskedToEnd,
    _unstopped: Unstopped,
}

impl Signals {
    /// From now on, in this thread and those that it starts; there must be no other yet.
    ///
    /// SIGTERM and SIGINT stay held back after the drop, so that there is a report. One
    /// that came kills the process in the end, if its report is still not read.
    pub fn new() -> io::Result<Self> {
        let unstopped = Unstopped::new();
        let ends = SigSet::from_iter(ENDS);
        ends.thread_block()?;
        let all = ENDS.into_iter().chain(STOPS).chain([Signal::SIGCONT]);
        let pending = |signals| SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC);
        let asked = AskedToEnd(Some(Rc::new(Pending {
            any: pending(all.collect())?,
            stopped: pending(STOPS.into_iter().chain([Signal::SIGCONT]).collect())?,
        })));
        let watched = pending(ends)?;
        thread::Builder::new().spawn(move || end_in_time(&watched, &ends))?;
        Ok(Self {
            asked,
            _unstopped: unstopped,
        })
    }

    /// What tells the run to end.
    pub fn asked_to_end(&self) -> AskedToEnd {
        self.asked.clone()
    }
}

/// Lets the signal through that asked for an end, when its time is over. An engine,
/// a terminal, a disk: nothing that the run waits for may keep it longer.
fn end_in_time(watched: &SignalFd, ends: &SigSet) {
    let mut polled = [PollFd::new(watched.as_fd(), PollFlags::POLLIN)];
    while poll(&mut polled, PollTimeout::NONE).is_err() {}
    thread::sleep(LAST);
    let _ = ends.thread_unblock();
    // Process 1 of a container is not killed by it.
    std::process::exit(128 + Signal::SIGTERM as i32);
}
