//! Runs the program under strace(1), which can make its system calls fail, or
//! kill it at one.

use std::fs;
use std::process::Command;

use super::scene::Running;
use super::{Ran, Secateur};

/// `prune` as strace runs it, with these options; and strace's log.
pub fn traced_prune(secateur: &Secateur, options: &[&str]) -> (Ran, String) {
    traced(secateur, &["prune", "--format", "json"], options)
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
