//! A machine: a whole Debian 12 with systemd as its first process, and Docker in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::room::{Inside, Room};
use super::wait_until;

/// Fields are dropped in order: the processes first, then their files.
#[derive(Debug)]
pub struct Machine {
    running: Inside,
    room: Room,
}

/// What a command in the machine gave.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    fn of(output: &Output) -> Said {
        Said {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub fn ended(self, code: i32) -> Said {
        assert_eq!(
            self.code, code,
            "stdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        self
    }
}

impl Machine {
    /// Boots a fresh machine. `disk`: the size of the file system that its engine has for itself
    /// ("64m"); without, it is on the host's.
    pub fn boot(disk: Option<&str>) -> Machine {
        let room = Room::new(disk);
        let mut machine = Machine {
            running: room.boot(),
            room,
        };
        machine.until_up();
        machine
    }

    /// Shuts the machine down in order and boots it again. `meanwhile` may change its files, below
    /// the given folder: what the machine itself wrote.
    pub fn reboot(&mut self, meanwhile: impl FnOnce(&Path)) {
        self.run(&["systemctl", "poweroff"]).ended(0);
        let ended = wait_until("the machine is off", || self.running.ended());
        assert!(ended.success(), "{}", self.running.log_tail());
        meanwhile(&self.room.dir().join("machine/upper"));
        self.running = self.room.boot();
        self.until_up();
    }

    fn until_up(&mut self) {
        wait_until("systemd runs", || {
            if let Some(status) = self.running.ended() {
                panic!(
                    "the machine ended with {status}: {}",
                    self.running.log_tail()
                );
            }
            let said = self.try_run(&["systemctl", "is-system-running", "--wait"])?;
            ["running", "degraded"]
                .contains(&said.stdout.trim())
                .then_some(())
        });
    }

    /// A file of the machine, as seen from outside.
    pub fn path(&self, path: &str) -> PathBuf {
        let init = self.running.pid_of("systemd").expect("the machine is up");
        PathBuf::from(format!("/proc/{init}/root{path}"))
    }

    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file in the machine");
    }

    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The folder of the machine's files, which is not in the machine but for what is in its
    /// /var/lib/docker: `data`, where it has no disk of its own.
    pub fn dir(&self) -> &Path {
        self.room.dir()
    }

    /// Runs a command on another machine, a tree that sees the folder of this one's files.
    pub fn beside(&self, suite: &str, command: &[&str]) -> Said {
        Said::of(&self.room.run(suite, command))
    }

    fn enter(&self, command: &[&str]) -> Option<Command> {
        let init = self.running.pid_of("systemd")?.to_string();
        let mut enter = Command::new("nsenter");
        enter
            .args(["--target", &init, "--all", "--wd=/", "env", "-i"])
            .args([
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME=/root",
                "LANG=C.UTF-8",
            ])
            .args(command)
            .stdin(Stdio::null());
        Some(enter)
    }

    fn try_run(&self, command: &[&str]) -> Option<Said> {
        let output = self.enter(command)?.output().expect("nsenter");
        Some(Said::of(&output))
    }

    /// Runs a command in the machine, as root.
    pub fn run(&self, command: &[&str]) -> Said {
        self.try_run(command).expect("the machine is up")
    }

    /// The same; it must end well. What it printed.
    #[track_caller]
    pub fn ok(&self, command: &[&str]) -> String {
        self.run(command).ended(0).stdout.trim_end().to_owned()
    }

    /// One property of a unit.
    #[track_caller]
    pub fn property(&self, unit: &str, property: &str) -> String {
        self.ok(&["systemctl", "show", "--value", "--property", property, unit])
    }

    /// What a unit said, and systemd about it, in its last run.
    #[track_caller]
    pub fn journal(&self, unit: &str) -> String {
        // What was said by now is in the journal soon, but not at once.
        self.ok(&["journalctl", "--sync"]);
        let all = self.ok(&["journalctl", "--boot", "--output=cat", "--unit", unit]);
        let last = all.rsplit(&format!("Starting {unit}")).next();
        last.unwrap_or_default().to_owned()
    }
}
