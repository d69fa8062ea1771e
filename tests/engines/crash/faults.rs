//! The faults that happen to a run, each at one of its system calls.

use crate::support::strace::{self, Call, PRUNE, traced_prune};
use crate::support::{Ran, Secateur};

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// `KILL`, or the error that the call gives without being carried out.
    pub what: &'static str,
    pub calls: Calls,
}

/// The calls that a fault is tried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    All,
    /// Those that change what others see.
    Changing,
    Named(&'static [&'static str]),
}

/// Calls that make, write or replace files: a disk without room fails these.
const WRITING: Calls = Calls::Named(&[
    "open",
    "openat",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "ftruncate",
    "rename",
    "renameat",
    "renameat2",
    "mkdir",
    "mkdirat",
    "unlink",
    "unlinkat",
    "chmod",
    "fchmod",
    "close",
]);

const LOCKING: Calls = Calls::Named(&["flock", "fcntl"]);

const fn fault(what: &'static str, calls: Calls) -> Fault {
    Fault { what, calls }
}

/// Every fault that is tried.
pub const FAULTS: [Fault; 6] = [
    fault("KILL", Calls::All),
    fault("EIO", Calls::All),
    fault("ENOSPC", WRITING),
    fault("EDQUOT", WRITING),
    fault("EROFS", WRITING),
    fault("ENOLCK", LOCKING),
];

/// In between, a kill leaves the same.
pub const KILL_AT_CHANGES: Fault = fault("KILL", Calls::Changing);

/// For the moments at which files take each other's places.
pub const KILL_AT_WRITES: Fault = fault(
    "KILL",
    Calls::Named(&[
        "link",
        "linkat",
        "rename",
        "renameat",
        "renameat2",
        "write",
        "fsync",
        "fdatasync",
        "ftruncate",
        "unlink",
        "unlinkat",
        "exit_group",
    ]),
);

/// For the moments before and after each request to the engine.
pub const KILL_AT_REQUESTS: Fault = fault(
    "KILL",
    Calls::Named(&["sendto", "sendmsg", "write", "writev", "recvfrom"]),
);

/// A run that was tampered with.
#[derive(Debug)]
pub struct Tampered {
    pub ran: Ran,
    /// The call that it happened to, if the run came so far.
    pub hit: Option<String>,
}

/// The calls of an undisturbed run at which this fault is tried.
pub fn calls(secateur: &Secateur, fault: Fault) -> Vec<Call> {
    let (ran, log) = traced_prune(secateur, &[]);
    ran.ended(0);
    let mut calls = strace::calls(&log);
    calls.retain(|call| match fault.calls {
        Calls::All => true,
        Calls::Changing => call.changes,
        Calls::Named(names) => names.contains(&&*call.name),
    });
    calls
}

/// `prune`, with this fault at that call.
pub fn prune(secateur: &Secateur, fault: Fault, call: &Call) -> Tampered {
    let (ran, log) = strace::tampered(secateur, &PRUNE, fault.what, call);
    let hit = if fault.what == "KILL" {
        (ran.code == -1).then(|| log.lines().last().unwrap_or_default().to_owned())
    } else {
        let injected = |line: &&str| line.ends_with("(INJECTED)");
        log.lines().find(injected).map(str::to_owned)
    };
    Tampered { ran, hit }
}
