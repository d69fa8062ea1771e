//! The signals that end or stop a run. A process that holds locks releases them before it is
//! stopped. Decides when a stop takes effect, and how long a run that was asked to end may
//! take.
//!
//! The signals are blocked and only observed (signalfd(2)): the kernel keeps them until they
//! are unblocked, and then does what it always does. SIGSTOP cannot be blocked; the SIGCONT
//! that ends it shows that the run was stopped.

use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use futures_util::future::{Either, select};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::exit::{Exit, Fault};

/// A run ends at the latest this long after SIGTERM: before the SIGKILL that some send after 10
/// s. It is more than a run waits for an engine that hangs.
const LAST: Duration = Duration::from_millis(9500);

/// Signals that ask for an end.
const ENDS: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];

/// Signals by which a terminal stops a process.
const STOPS: [Signal; 3] = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];

/// While it lives, this thread and those that it starts are not stopped. A stop that was
/// requested meanwhile takes effect at its end.
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
        // It cannot fail for a valid set.
        let _ = self.0.thread_unblock();
    }
}

/// Whether the run must end: after SIGTERM, SIGINT, and each signal that stops the process or
/// shows that it was stopped, because then what it saw before is old. The default never ends.
#[derive(Debug, Clone, Default)]
pub struct EndRequest(Option<Rc<Pending>>);

#[derive(Debug)]
struct Pending {
    any: SignalFd,
    stopped: SignalFd,
}

impl EndRequest {
    /// Once true, always true.
    pub fn is(&self) -> bool {
        self.0.as_ref().is_some_and(|pending| came(&pending.any))
    }

    /// The result of `work`; `None` if the run must end before.
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

    /// Whether the process was stopped, or is about to be, so that what it saw before may be
    /// old. The kernel forgets a SIGCONT if a stop comes after it.
    pub fn was_stopped(&self) -> bool {
        let pending = self.0.as_ref();
        pending.is_some_and(|pending| came(&pending.stopped))
    }
}

/// Leaves the signal pending.
fn came(signals: &SignalFd) -> bool {
    let mut polled = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// The signals of a run that takes locks. No lock may be held when this is dropped.
#[derive(Debug)]
pub struct Signals {
    asked: EndRequest,
    _unstopped: Unstopped,
}

impl Signals {
    /// Takes effect in this thread and those that it starts; there must be no other yet.
    ///
    /// SIGTERM and SIGINT stay blocked after the drop, so that there is a report. A pending one
    /// kills the process in the end, if its report is still not read.
    pub fn new() -> Result<Self, Fault> {
        Self::block()
            .map_err(|error| Fault::new(Exit::State, format!("cannot watch for signals: {error}")))
    }

    fn block() -> io::Result<Self> {
        let unstopped = Unstopped::new();
        let ends = SigSet::from_iter(ENDS);
        ends.thread_block()?;
        let all = ENDS.into_iter().chain(STOPS).chain([Signal::SIGCONT]);
        let pending = |signals| SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC);
        let asked = EndRequest(Some(Rc::new(Pending {
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

    pub fn asked_to_end(&self) -> EndRequest {
        self.asked.clone()
    }
}

/// Unblocks the signal that asked for an end, when the time is over: nothing that the run waits
/// for (engine, terminal, disk) may keep it longer.
fn end_in_time(watched: &SignalFd, ends: &SigSet) {
    let mut polled = [PollFd::new(watched.as_fd(), PollFlags::POLLIN)];
    while poll(&mut polled, PollTimeout::NONE).is_err() {}
    thread::sleep(LAST);
    let _ = ends.thread_unblock();
    // The signal does not kill process 1 of a container.
    std::process::exit(128 + Signal::SIGTERM as i32);
}
