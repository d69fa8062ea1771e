//! The faults that happen to a run, each at one of its system calls.

use std::collections::BTreeMap;

use crate::support::strace::traced_prune;
use crate::support::{Ran, Secateur};

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// `KILL`, or the error that the call gives without being carried out.
    pub what: &'static str,
    /// The calls that it is tried on, where these are not all.
    pub calls: Option<&'static [&'static str]>,
}

/// Calls that make, write or replace files: a disk without room fails these.
const WRITING: Option<&[&str]> = Some(&[
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

const LOCKING: Option<&[&str]> = Some(&["flock", "fcntl"]);

const fn fault(what: &'static str, calls: Option<&'static [&'static str]>) -> Fault {
    Fault { what, calls }
}

/// Every fault that is tried.
pub const FAULTS: [Fault; 6] = [
    fault("KILL", None),
    fault("EIO", None),
    fault("ENOSPC", WRITING),
    fault("EDQUOT", WRITING),
    fault("EROFS", WRITING),
    fault("ENOLCK", LOCKING),
];

/// For the moments at which files take each other's places.
pub const KILL_AT_WRITES: Fault = fault(
    "KILL",
    Some(&[
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
    Some(&[
        "sendto",
        "sendmsg",
        "write",
        "writev",
        "recvfrom",
        "fdatasync",
    ]),
);

/// A run that was tampered with.
#[derive(Debug)]
pub struct Tampered {
    pub ran: Ran,
    /// The call that it happened to, if the run came so far.
    pub hit: Option<String>,
}

/// How often an undisturbed run makes each call.
pub fn calls(secateur: &Secateur) -> BTreeMap<String, usize> {
    let (ran, log) = traced_prune(secateur, &[]);
    ran.ended(0);
    let mut calls = BTreeMap::new();
    for line in log.lines() {
        // `1234  openat(AT_FDCWD</>, ...`; a line of another form goes on with a call.
        let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
        let name = rest.trim_start().split('(').next().unwrap_or_default();
        if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    calls
}

/// `prune`, with this fault at the call of that name and number, from 1.
pub fn prune(secateur: &Secateur, fault: Fault, call: &str, number: usize) -> Tampered {
    let kills = fault.what == "KILL";
    let how = if kills { "signal" } else { "error" };
    let inject = format!("inject={call}:{how}={}:when={number}", fault.what);
    let only = format!("trace={call}");
    let mut options = vec!["-e", &only, "-e", &inject];
    if !kills {
        // Much faster, but then no signal gets through.
        options.push("--seccomp-bpf");
    }
    let (ran, log) = traced_prune(secateur, &options);
    let hit = if kills {
        (ran.code == -1).then(|| log.lines().last().unwrap_or_default().to_owned())
    } else {
        let injected = |line: &&str| line.ends_with("(INJECTED)");
        log.lines().find(injected).map(str::to_owned)
    };
    Tampered { ran, hit }
}
