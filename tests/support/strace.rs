//! Runs the program under strace(1), which can make its system calls fail, or
//! kill it at one.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use super::scene::Running;
use super::{Ran, Secateur};

pub const PRUNE: [&str; 3] = ["prune", "--format", "json"];

/// A system call of a run that was traced.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub name: String,
    /// The how manieth of this name in its thread, from 1: as strace counts them for `when=`.
    pub number: usize,
    /// Whether it may change what others see: a run that is killed at any other call leaves what
    /// one leaves that is killed at the next that does.
    pub changes: bool,
    /// Of strace's log.
    pub line: String,
}

impl Call {
    /// Whether this is worth a try: a kill or a full disk where something changes, `EIO` anywhere.
    pub fn may_meet(&self, how: &str) -> bool {
        self.changes || how == "EIO" || (how == "ENOSPC" && self.name == "fsync")
    }
}

/// Calls that change files, locks, or what the engine has got. `recvfrom`: what was sent may not
/// be carried out yet.
const CHANGING: &[&str] = &[
    "chmod",
    "chown",
    "connect",
    "copy_file_range",
    "exit_group",
    "fallocate",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "flock",
    "ftruncate",
    "link",
    "linkat",
    "mkdir",
    "mkdirat",
    "pwrite64",
    "pwritev",
    "recvfrom",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendfile",
    "sendmsg",
    "sendto",
    "splice",
    "symlink",
    "symlinkat",
    "truncate",
    "unlink",
    "unlinkat",
    "utimensat",
    "write",
    "writev",
];

/// The calls of a log, in their order.
pub fn calls(log: &str) -> Vec<Call> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    // `1234  openat(AT_FDCWD</>, ...`; a line of another form goes on with a call.
    let call = |line| {
        let (thread, call) = str::split_once(line, ' ')?;
        let (name, arguments) = call.trim_start().split_once('(')?;
        let is_one = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let number = counts.entry((thread, name)).or_default();
        *number += 1;
        let opened = |how| name.starts_with("open") && arguments.contains(how);
        let makes_a_file = || opened("O_CREAT") || opened("O_TRUNC");
        is_one.then(|| Call {
            name: name.to_owned(),
            number: *number,
            line: line.to_owned(),
            changes: CHANGING.contains(&name) || makes_a_file(),
        })
    };
    log.lines().filter_map(call).collect()
}

/// `prune` as strace runs it, with these options; and strace's log.
pub fn traced_prune(secateur: &Secateur, options: &[&str]) -> (Ran, String) {
    traced(secateur, &PRUNE, options)
}

/// The program with these arguments as strace runs it, with these options; and strace's log.
pub fn traced(secateur: &Secateur, args: &[&str], options: &[&str]) -> (Ran, String) {
    let log = secateur.dir().join("strace.log");
    let command = secateur.command(args);
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-qq", "-y", "-s", "60", "-e", "signal=none", "-o"])
        .arg(&log)
        .args(options)
        .arg(command.get_program())
        .args(command.get_args())
        // cargo's, for which the loader would look into dozens of folders.
        .env_remove("LD_LIBRARY_PATH");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    let ran = Running::of(&mut strace).done();
    (ran, fs::read_to_string(&log).expect("strace's log"))
}

/// The program with these arguments, which is killed at this call where `how` is `KILL`, and for
/// which the call fails with that error otherwise; and strace's log.
pub fn tampered(secateur: &Secateur, args: &[&str], how: &str, call: &Call) -> (Ran, String) {
    let (name, number) = (&call.name, call.number);
    let kills = how == "KILL";
    let what = if kills { "signal" } else { "error" };
    let inject = format!("inject={name}:{what}={how}:when={number}");
    let only = format!("trace={name}");
    let mut options = vec!["-e", &only, "-e", &inject];
    if !kills {
        // Much faster, but then no signal gets through.
        options.push("--seccomp-bpf");
    }
    traced(secateur, args, &options)
}
