//! Directories that are removed, and processes that are killed, whatever ends the test.

use std::fs;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use super::{image, lab_dir, wait_until};

fn script(name: &str) -> Command {
    let mut command = Command::new(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/support/lab")
            .join(name),
    );
    // An interrupt from the keyboard is for the test; the scripts see their lifeline end.
    command.process_group(0).stdin(Stdio::piped());
    command
}

/// A script that is a program of a tree, for use outside of it: with the tree's own libraries.
pub fn program(suite: &str, path: &str) -> String {
    let tree = lab_dir().join("trees").join(suite);
    let libraries = fs::read_dir(tree.join("usr/lib"))
        .expect("the tree")
        .flatten();
    let loader = libraries
        .filter_map(|folder| fs::read_dir(folder.path()).ok())
        .flat_map(Iterator::flatten)
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"ld-linux"))
        })
        .expect("the tree's loader");
    format!(
        "#!/bin/sh\nexec {:?} --library-path {:?} {:?} \"$@\"\n",
        loader.display().to_string(),
        loader.parent().expect("a folder").display().to_string(),
        tree.join(path).display().to_string()
    )
}

/// The directory in which one engine or registry has all its files.
#[derive(Debug)]
pub struct Room {
    dir: PathBuf,
    keeper: Child,
}

impl Room {
    /// `disk`: the size of a file system of the room's own, at `disk` in it ("64m").
    pub fn new(disk: Option<&str>) -> Room {
        let dir = lab_dir().join("rooms").join(image::unique());
        let mut keeper = script("room")
            .arg(&dir)
            .args(disk)
            .stdout(Stdio::piped())
            .spawn()
            .expect("tests/support/lab/room");
        let mut ready = [0; 6];
        let stdout = keeper.stdout.as_mut().expect("piped");
        stdout
            .read_exact(&mut ready)
            .expect("tests/support/lab/room makes a room (as root)");
        Room { dir, keeper }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn enter(&self, suite: &str, command: &[&str]) -> Command {
        let mut enter = script("enter");
        enter.arg(suite).arg(&self.dir).args(command);
        enter
    }

    /// Runs a command in a tree to its end.
    pub fn run(&self, suite: &str, command: &[&str]) -> Output {
        let mut enter = self.enter(suite, command);
        let mut child = enter
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tests/support/lab/enter");
        let lifeline = child.stdin.take();
        let output = child.wait_with_output().expect("tests/support/lab/enter");
        drop(lifeline);
        output
    }

    /// Starts a command in a tree; what it says is appended to `log` in the room.
    pub fn start(&self, suite: &str, command: &[&str], log: &str) -> Inside {
        self.spawn(self.enter(suite, command), log)
    }

    /// Boots the room's machine.
    pub fn boot(&self) -> Inside {
        let mut boot = script("boot");
        boot.arg(&self.dir);
        self.spawn(boot, "console.log")
    }

    fn spawn(&self, mut command: Command, log: &str) -> Inside {
        let log = self.dir.join(log);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .expect("log");
        let stderr = file.try_clone().expect("log");
        let child = command
            .stdout(file)
            .stderr(stderr)
            .spawn()
            .expect("a script of the lab");
        Inside { child, log }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let status = self.keeper.wait();
        if !std::thread::panicking() {
            assert!(
                status.is_ok_and(|s| s.success()),
                "{} was not removed",
                self.dir.display()
            );
        }
    }
}

/// A command that runs in a tree, in process and mount namespaces of its own.
#[derive(Debug)]
pub struct Inside {
    child: Child,
    log: PathBuf,
}

impl Inside {
    /// SIGKILL to everything inside at once; returns when all of it is gone.
    pub fn kill(&mut self) {
        drop(self.child.stdin.take());
        // No panic: this also runs when a test is panicking already.
        let _ = self.child.wait();
    }

    /// SIGTERM to the command; returns when it and everything it left behind is gone.
    pub fn stop(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill");
        assert!(sent.success(), "SIGTERM to {pid}");
        wait_until("the command ends after SIGTERM", || self.ended())
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("tests/support/lab/enter")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// The process of that name, as the host numbers it.
    pub fn pid_of(&self, name: &str) -> Option<u32> {
        let mut open = vec![self.child.id()];
        while let Some(pid) = open.pop() {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if comm.trim_end() == name {
                return Some(pid);
            }
            // A child may just have ended.
            let tasks = fs::read_dir(format!("/proc/{pid}/task"));
            for task in tasks.into_iter().flatten().flatten() {
                let children = fs::read_to_string(task.path().join("children"));
                open.extend(
                    children
                        .unwrap_or_default()
                        .split_whitespace()
                        .flat_map(str::parse::<u32>),
                );
            }
        }
        None
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // It may have ended by itself.
            let ended = self.child.try_wait();
            eprintln!("{}: {ended:?}\n{}", self.log.display(), self.log_tail());
        }
        self.kill();
    }
}
