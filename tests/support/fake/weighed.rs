//! Runs the program to its end and reads there, exactly, the most memory that
//! it had: it is stopped by ptrace on its way out, when that is still known.
//! (What wait4(2) gives is no less than its parent's, from before the exec.)

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// What a run gave.
#[derive(Debug)]
pub struct Weighed {
    /// -1 where a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// `VmHWM`, in KiB.
    pub peak: u64,
}

#[expect(clippy::zombie_processes, reason = "waitpid(2) waits for it")]
pub fn run(command: &Command) -> Weighed {
    // The shell waits until it is watched, and becomes the program.
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "read -r _ && exec \"$0\" \"$@\" </dev/null"]);
    shell.arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(key, value),
            None => shell.env_remove(key),
        };
    }
    let mut child = shell
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    ptrace::seize(pid, Options::PTRACE_O_TRACEEXIT).expect("a child may be traced");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(b"\n")
        .expect("it reads");
    let (mut out, mut err) = (
        child.stdout.take().expect("piped"),
        child.stderr.take().expect("piped"),
    );
    // What it says may be more than a pipe holds.
    let out = std::thread::spawn(move || text(&mut out));
    let err = std::thread::spawn(move || text(&mut err));
    let (mut peak, mut code) = (0, None);
    while code.is_none() {
        match waitpid(pid, None).expect("its state") {
            WaitStatus::PtraceEvent(..) => {
                peak = high_water(pid);
                ptrace::cont(pid, None).expect("it goes on");
            }
            WaitStatus::Stopped(_, signal) => ptrace::cont(pid, signal).expect("it goes on"),
            WaitStatus::Exited(_, status) => code = Some(status),
            WaitStatus::Signaled(..) => code = Some(-1),
            _ => {}
        }
    }
    Weighed {
        code: code.expect("its end"),
        stdout: out.join().expect("stdout"),
        stderr: err.join().expect("stderr"),
        peak,
    }
}

fn text(from: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).expect("its words");
    String::from_utf8(bytes).expect("UTF-8")
}

fn high_water(pid: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.expect("VmHWM").trim().trim_end_matches(" kB");
    kib.parse().expect("a number")
}
