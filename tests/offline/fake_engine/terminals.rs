//! Runs that are stopped, or whose terminal or pipe nobody reads: none keeps a deploy or
//! another run waiting, and SIGTERM ends each.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc::{SIGKILL, SIGTERM, SYS_write};
use nix::pty::openpty;
use nix::sys::termios::{FlowArg, tcflow};

use super::restore::{promising, registry};
use super::{Host, KIND};
use crate::fake::fault::Fault;
use crate::lab::wait_until;
use crate::support::scene::signal;
use crate::support::{EAGER, Ran, ids, page};

/// An answer that waits until it is let through.
struct Gate {
    arrived: Receiver<()>,
    opened: Sender<()>,
}

impl Gate {
    /// Before the first answer to such a request, which the engine has done by then.
    fn before(host: &Host, method: &str, part: &str) -> Gate {
        Gate::at(host, method, part, 1)
    }

    /// The same of a later answer, the first being 1.
    fn at(host: &Host, method: &str, part: &str, number: usize) -> Gate {
        let (came, arrived) = channel();
        let (opened, open) = channel();
        let both = Mutex::new((came, open));
        let wait = Fault::json(move |_| {
            let both = both.lock().expect("once");
            let _ = both.0.send(());
            let _ = both.1.recv();
        });
        host.fake.fault_at(method, part, number, wait);
        Gate { arrived, opened }
    }

    fn wait(&self) {
        self.arrived.recv().expect("the request comes");
    }

    fn open(&self) {
        self.opened.send(()).expect("it waits");
    }
}

/// A run of the program; it is killed with the test.
struct Run(Child);

impl Run {
    fn of(command: &mut Command) -> Run {
        // A group of its own, as a shell gives it: only such a one can be stopped.
        Run(command.process_group(0).spawn().expect("it starts"))
    }

    fn signal(&self, name: &str) {
        signal(self.0.id(), name);
    }

    /// Whether one of its threads is in write(2) to this descriptor.
    fn is_writing_to(&self, number: u32) -> bool {
        let wanted = format!("{SYS_write} {number:#x} ");
        let threads = fs::read_dir(format!("/proc/{}/task", self.0.id()));
        threads.expect("its threads").flatten().any(|thread| {
            let call = fs::read_to_string(thread.path().join("syscall"));
            call.is_ok_and(|call| call.starts_with(&wanted))
        })
    }

    fn is_stopped(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("it runs");
        stat.contains(") T ")
    }

    /// Ends it by SIGTERM, and says which signal it died of, if it did.
    fn ends_on_sigterm(mut self) -> Option<i32> {
        self.signal("TERM");
        let status = wait_until("it ends on SIGTERM", || self.0.try_wait().expect("a child"));
        assert_ne!(status.signal(), Some(SIGKILL));
        status.signal()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A host with a deploy lock, and an image less for each run that ends well.
fn host() -> (Host, [PathBuf; 2]) {
    let host = Host::of(KIND);
    let lock = host.secateur.dir().join("deploy.lock");
    fs::write(&lock, "").expect("a lock");
    let path = lock.display();
    let table = format!("[[guard.lock]]\npath = \"{path}\"\nkind = \"flock\"\n");
    host.secateur.policy(&format!("{EAGER}{table}"));
    let run_lock = host.secateur.state().join("run.lock");
    (host, [lock, run_lock])
}

fn are_free(locks: &[PathBuf]) -> bool {
    let is_free = |path: &PathBuf| File::open(path).is_ok_and(|file| file.try_lock().is_ok());
    locks.iter().all(is_free)
}

/// A terminal of which nobody reads anything, as after Ctrl-S. Both ends.
fn stopped_terminal() -> (OwnedFd, OwnedFd) {
    let ends = openpty(None, None).expect("a terminal");
    tcflow(&ends.slave, FlowArg::TCOOFF).expect("Ctrl-S");
    (ends.master, ends.slave)
}

/// A pipe that is full, and that nobody reads.
fn full_pipe() -> (PipeReader, OwnedFd) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let flags = |flags| fcntl(&writer, FcntlArg::F_SETFL(flags)).expect("its flags");
    flags(OFlag::O_NONBLOCK);
    while writer.write(&[b'.'; 4096]).is_ok() {}
    while writer.write(b".").is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).expect("its flags");
    (reader, writer.into())
}

#[test]
fn a_terminal_or_pipe_that_nobody_reads_holds_up_no_run_and_no_deploy() {
    let (_master, terminal) = stopped_terminal();
    let (_reader, pipe) = full_pipe();
    for stream in [terminal, pipe] {
        let (host, locks) = host();
        let litter = host.litter();
        let gate = Gate::before(&host, "GET", "/containers/json");
        let mut command = host.secateur.command(&["prune"]);
        let both = stream.try_clone().expect("the same");
        let run = Run::of(command.stdout(both).stderr(stream));
        gate.wait();
        wait_until("it tells that the engine is slow", || {
            run.is_writing_to(2).then_some(())
        });
        gate.open();
        wait_until("the images are gone", || {
            (host.gone(&litter).len() == litter.len()).then_some(())
        });
        wait_until("both locks are free", || are_free(&locks).then_some(()));
        assert_eq!(run.ends_on_sigterm(), Some(SIGTERM));
        host.is_whole_but_for(&litter);
    }
}

/// What somebody sees who reads a terminal.
struct Watched {
    terminal: File,
    seen: Vec<u8>,
}

impl Watched {
    fn new(terminal: OwnedFd) -> Watched {
        fcntl(&terminal, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("its flags");
        Watched {
            terminal: File::from(terminal),
            seen: Vec::new(),
        }
    }

    /// Whether it goes on: it ends with an error when nobody else has it.
    fn read(&mut self) -> bool {
        let mut piece = [0; 4096];
        match self.terminal.read(&mut piece) {
            Ok(count) => {
                self.seen.extend_from_slice(&piece[..count]);
                count > 0
            }
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }

    /// Waits for these words, and forgets what came up to them.
    fn shows(&mut self, words: &str) {
        wait_until(words, || {
            self.read();
            let seen = String::from_utf8_lossy(&self.seen);
            let end = seen.find(words)? + words.len();
            self.seen = seen.as_bytes()[end..].to_vec();
            Some(())
        });
    }

    /// As [`Self::shows`], for words with their seconds, of which it goes on to count more.
    fn counts(&mut self, words: &str) {
        let words = words.trim_end_matches(|c| c != '(');
        let seconds = |seen: &[u8]| -> BTreeSet<String> {
            let seen = String::from_utf8_lossy(seen);
            let after = seen.split(words).skip(1);
            let counts = after.filter_map(|rest| Some(rest.split_once(" s)")?.0.to_owned()));
            counts.filter(|text| text.parse::<u64>().is_ok()).collect()
        };
        wait_until(words, || {
            self.read();
            (seconds(&self.seen).len() > 1).then(|| self.seen.clear())
        });
    }

    fn rest(mut self) -> String {
        wait_until("its end", || (!self.read()).then_some(()));
        String::from_utf8(self.seen).expect("UTF-8")
    }
}

#[test]
fn on_a_terminal_what_is_waited_for_is_told_until_it_comes_and_gone_before_the_report() {
    // As they stand in the page, each with its seconds.
    let page = page::of("first-five-minutes.md", "While it works", "text");
    let lines: Vec<&str> = page[0].text.lines().collect();
    let &[survey, removing] = &lines[..] else {
        panic!("two lines: {lines:?}")
    };
    for (args, (method, part, number), told) in [
        (&["plan"][..], ("GET", "/info", 1), survey),
        (&["prune"], ("GET", "/containers/json", 1), survey),
        (&["prune"], ("DELETE", "/images/", 2), removing),
        (&["verify-cache", "gone:1"], ("GET", "/info", 1), survey),
    ] {
        let (host, _) = host();
        let gate = Gate::at(&host, method, part, number);
        let ends = openpty(None, None).expect("a terminal");
        let mut watched = Watched::new(ends.master);
        let mut command = host.secateur.command(args);
        let _run = Run::of(command.stdout(Stdio::null()).stderr(ends.slave));
        drop(command);
        gate.wait();
        // It goes on as long as that takes: seconds are counted.
        watched.counts(told);
        gate.open();
        let rest = watched.rest();
        let (_, after) = rest.rsplit_once(" s)").unwrap_or(("", &rest));
        let mut left = after.split('\r').filter(|line| !line.trim().is_empty());
        let warned = left.all(|line| line.contains("warning"));
        assert!(warned, "{args:?} {part}: {rest:?}");
        assert!(after.contains(&format!("\r{:78}\r", "")), "{rest:?}");
    }
}

#[test]
fn without_a_terminal_and_with_quiet_nothing_of_it_is_written() {
    for quiet in [false, true] {
        let (host, _) = host();
        let gate = Gate::before(&host, "GET", "/info");
        let mut args = vec!["plan"];
        args.extend(quiet.then_some("--quiet"));
        let mut command = host.secateur.command(&args);
        let ends = openpty(None, None).expect("a terminal");
        let both = if quiet {
            ends.slave.into()
        } else {
            Stdio::piped()
        };
        let mut run = Run::of(command.stdout(Stdio::null()).stderr(both));
        drop(command);
        gate.wait();
        // Nothing that does not come can be awaited: it would have come after 0.8 s.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        gate.open();
        let mut seen = Vec::new();
        let mut stderr: Box<dyn Read> = match run.0.stderr.take() {
            Some(pipe) => Box::new(pipe),
            None => Box::new(File::from(ends.master)),
        };
        let _ = stderr.read_to_end(&mut seen);
        assert_eq!(String::from_utf8_lossy(&seen), "", "quiet: {quiet}");
    }
}

#[test]
fn on_a_terminal_alone_the_bytes_of_a_pull_are_told_with_their_speed() {
    let begun = br#"{"id":"a","status":"Downloading","progressDetail":{"current":31457280,"total":104857600}}
"#;
    for (option, doing) in [("--redeploy", "pulling"), ("--restore", "restoring")] {
        let pulls = || {
            let host = Host::of(KIND);
            promising(&host, &registry(200, 100), "");
            let fault = Fault::HangAfterBytes(begun);
            host.fake.fault("POST", "/images/create", fault);
            let command = host.secateur.command(&["verify-cache", option]);
            (host, command)
        };
        let (piped, mut command) = pulls();
        let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut without = Run::of(command);
        wait_until("its pull", || {
            (!piped.fake.changes().is_empty()).then_some(())
        });
        let (_host, mut command) = pulls();
        let ends = openpty(None, None).expect("a terminal");
        let mut watched = Watched::new(ends.master);
        let _run = Run::of(command.stdout(Stdio::null()).stderr(ends.slave));
        drop(command);
        // Nothing more comes: its speed falls as long as that takes.
        for words in [
            &format!("{doing} 1 of 2 images: 30.0 MiB of 100.0 MiB"),
            " MiB/s, ",
            " s left (",
        ] {
            watched.shows(words);
        }
        // By now the other, which pulled before, would have told of it.
        without.signal("KILL");
        let mut seen = String::new();
        let stderr = without.0.stderr.as_mut().expect("piped");
        stderr.read_to_string(&mut seen).expect("UTF-8");
        assert_eq!(seen, "", "{option}");
    }
}

#[test]
fn a_run_that_waits_for_its_reader_holds_no_lock_and_ends_on_sigterm() {
    let (_reader, pipe) = full_pipe();
    let (host, locks) = host();
    let mut command = host.secateur.command(&["prune"]);
    let run = Run::of(command.stdout(pipe).stderr(Stdio::null()));
    wait_until("it writes its report", || {
        run.is_writing_to(1).then_some(())
    });
    assert!(are_free(&locks));
    assert_eq!(run.ends_on_sigterm(), Some(SIGTERM));
}

#[test]
fn a_run_that_is_asked_to_stop_lets_its_locks_go_first_and_ends_when_it_goes_on() {
    for signal in ["TSTP", "TTIN", "TTOU"] {
        let (host, locks) = host();
        let litter = host.litter();
        let gate = Gate::before(&host, "DELETE", "/images/");
        let mut command = host.secateur.command(&["prune", "--format", "json"]);
        let mut run = Run::of(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        gate.wait();
        assert!(!are_free(&locks[1..]), "it holds the run lock");
        run.signal(signal);
        gate.open();
        wait_until("it is stopped", || run.is_stopped().then_some(()));
        assert!(are_free(&locks), "SIG{signal}");
        run.signal("CONT");
        ends_with_one_image_less(&host, &mut run, &litter);
    }
}

#[test]
fn a_run_that_was_stopped_by_sigstop_ends_when_it_goes_on() {
    let (host, locks) = host();
    let litter = host.litter();
    let gate = Gate::before(&host, "DELETE", "/images/");
    let mut command = host.secateur.command(&["prune", "--format", "json"]);
    let mut run = Run::of(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    gate.wait();
    run.signal("STOP");
    wait_until("it is stopped", || run.is_stopped().then_some(()));
    gate.open();
    run.signal("CONT");
    ends_with_one_image_less(&host, &mut run, &litter);
    assert!(are_free(&locks));
}

/// As one that was asked to end: the image whose turn it was is gone, and no other.
#[track_caller]
fn ends_with_one_image_less(host: &Host, run: &mut Run, litter: &[String]) {
    let mut text = String::new();
    let stdout = run.0.stdout.as_mut().expect("piped");
    std::io::Read::read_to_string(stdout, &mut text).expect("the report");
    let code = run.0.wait().expect("its end").code();
    let ran = Ran {
        code: code.unwrap_or(-1),
        stdout: text,
        stderr: String::new(),
    };
    let outcome = ran.ended(75).json();
    assert_eq!(ids(&outcome, "removed"), litter[..1], "{outcome:#}");
    host.is_whole_but_for(&litter[..1]);
}
