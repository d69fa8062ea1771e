//! Runs that a test watches while they are under way, what they wrote into
//! their journal, and images for them to remove.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;

use super::lab::image::Archive;
use super::lab::{Engine, Kind, wait_until};
use super::proxy::Proxy;
use super::{EAGER, Ran, Secateur};

/// A run under way. Killed when dropped.
pub struct Running {
    child: Option<Child>,
}

/// Sends a signal at once: no other program has to start for it.
#[track_caller]
pub fn signal(pid: u32, name: &str) {
    send(name, pid, kill);
}

#[track_caller]
fn send(name: &str, pid: u32, by: fn(Pid, Option<Signal>) -> nix::Result<()>) {
    let signal: Signal = format!("SIG{name}").parse().expect("a signal");
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid"));
    by(pid, Some(signal)).unwrap_or_else(|error| panic!("SIG{name} to {pid}: {error}"));
}

impl Running {
    pub fn of(command: &mut Command) -> Running {
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        Running { child: Some(child) }
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("not ended yet")
    }

    pub fn id(&mut self) -> u32 {
        self.child().id()
    }

    pub fn is_done(&mut self) -> bool {
        self.child().try_wait().expect("its state").is_some()
    }

    /// Sends a signal: `TERM`, `KILL`.
    pub fn signal(&mut self, name: &str) {
        signal(self.id(), name);
    }

    /// The same to all of its process group, which must be its own: what a CI system does to a
    /// job.
    pub fn signal_group(&mut self, name: &str) {
        send(name, self.id(), killpg);
    }

    /// Waits for its end, whatever that is.
    pub fn done(mut self) -> Ran {
        let child = self.child.take().expect("not ended yet");
        Ran::of(child.wait_with_output().expect("its end"))
    }

    /// Waits for its end, which must be this code.
    #[track_caller]
    pub fn ended(self, code: i32) -> Ran {
        self.done().ended(code)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Secateur {
    /// Starts `prune`; its report is JSON.
    pub fn start_prune(&self) -> Running {
        Running::of(&mut self.command(&["prune", "--format", "json"]))
    }

    /// What the journal holds, line by line.
    #[track_caller]
    pub fn journal(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.state().join("journal.jsonl")).expect("the journal");
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .inspect(super::schema::check)
            .collect()
    }

    /// Whether the journal has an intent to remove this image.
    #[track_caller]
    pub fn intended(&self, id: &str) -> bool {
        let journal = self.journal();
        let mut intents = journal.iter().filter(|record| record["event"] == "intent");
        intents.any(|record| record["id"] == id)
    }

    /// Images that were to be removed, and of which nothing says what came of it.
    #[track_caller]
    pub fn open_intents(&self) -> Vec<String> {
        let mut open: Vec<String> = Vec::new();
        for record in self.journal() {
            let id = record["id"].as_str().expect("an id").to_owned();
            if record["event"] == "intent" {
                open.push(id);
            } else if record["result"] != "unknown" {
                open.retain(|other| *other != id);
            }
        }
        open.sort();
        open.dedup();
        open
    }

    /// The results that the journal holds for one image, in order.
    #[track_caller]
    pub fn results(&self, id: &str) -> Vec<String> {
        self.journal()
            .iter()
            .filter(|record| record["id"] == id && record["event"] == "outcome")
            .map(|record| record["result"].as_str().expect("a result").to_owned())
            .collect()
    }

    /// The ledgers of the engines that are remembered.
    pub fn ledgers(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.state()).expect("the state folder");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let is_ledger = |path: &PathBuf| {
            let named = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("ledger-");
            path.file_name().is_some_and(named) && path.extension().is_some_and(|it| it == "json")
        };
        let mut ledgers: Vec<PathBuf> = paths.filter(is_ledger).collect();
        ledgers.sort();
        ledgers
    }

    /// The ledger of the only engine that is remembered.
    #[track_caller]
    pub fn ledger(&self) -> PathBuf {
        let mut ledgers = self.ledgers();
        assert_eq!(ledgers.len(), 1, "{ledgers:?}");
        ledgers.remove(0)
    }

    /// Whether the ledger knows this image.
    #[track_caller]
    pub fn remembers(&self, id: &str) -> bool {
        let text = fs::read_to_string(self.ledger()).expect("the ledger");
        let ledger: Value = serde_json::from_str(&text).expect("JSON");
        ledger["images"].get(id).is_some()
    }

    /// Fails unless a run could start now, and left nothing but its own files.
    #[track_caller]
    pub fn left_nothing_over(&self) {
        let ledger = self.ledger();
        let ledger = ledger.file_name().expect("a name").to_string_lossy();
        let mut files: Vec<String> = fs::read_dir(self.state())
            .expect("the state folder")
            .map(|entry| {
                let name = entry.expect("an entry").file_name();
                name.to_string_lossy().into_owned()
            })
            .collect();
        files.sort();
        let own = [
            "journal.jsonl",
            &*ledger,
            "ledger.json",
            "policy",
            "run.lock",
        ];
        assert_eq!(files, own);
        let lock = fs::File::open(self.state().join("run.lock")).expect("the run lock");
        lock.try_lock().expect("nobody holds the run lock");
    }
}

/// A host where the next prune removes so many images; and these, as [`untagged`] has them.
#[track_caller]
pub fn due(kind: Kind, count: usize) -> (Engine, Secateur, (Vec<String>, String)) {
    let engine = Engine::start(kind);
    let secateur = Secateur::on(&engine);
    let images = untagged(&engine, count);
    secateur.remember_all();
    (engine, secateur, images)
}

/// The same where secateur asks the engine by way of a proxy.
#[track_caller]
pub fn due_behind_a_proxy(
    kind: Kind,
    count: usize,
) -> (Engine, Proxy, Secateur, (Vec<String>, String)) {
    let engine = Engine::start(kind);
    let proxy = Proxy::before(&engine);
    let secateur = Secateur::at(&proxy.host(), EAGER);
    let images = untagged(&engine, count);
    secateur.remember_all();
    (engine, proxy, secateur, images)
}

/// So many images that lost their only name, a tag, to the next one, and the
/// image that has it now. In the order in which they go where they were all
/// first seen by one run: by id.
pub fn untagged(engine: &Engine, count: usize) -> (Vec<String>, String) {
    let mut ids: Vec<String> = (0..=count)
        .map(|_| engine.load(&Archive::new().noise(1000).tag("app:latest")))
        .collect();
    let last = ids.pop().expect("one more than asked for");
    ids.sort();
    (ids, last)
}

/// The names of an image that are somebody's or ours, as the engine lists them.
pub fn tags(engine: &Engine, id: &str) -> Vec<String> {
    let tags = engine.inspect(id)["RepoTags"].clone();
    let tags = tags.as_array().cloned().unwrap_or_default();
    tags.iter()
        .map(|tag| tag.as_str().expect("a tag").to_owned())
        .collect()
}

/// Names of the program's own that are left anywhere on the engine.
pub fn left_names(engine: &Engine) -> Vec<String> {
    engine
        .images()
        .iter()
        .flat_map(|image| image["RepoTags"].as_array().cloned().unwrap_or_default())
        .map(|tag| tag.as_str().expect("a tag").to_owned())
        .filter(|tag| tag.starts_with("secateur.invalid/"))
        .collect()
}

/// A deploy that guards itself with flock(1): it asks for the lock, touches
/// `marker` as soon as it has it, and keeps it until told to end.
pub struct Deploy {
    child: Child,
    marker: std::path::PathBuf,
}

impl Deploy {
    /// Starts it, with these options of flock(1).
    pub fn start(lock: &Path, options: &[&str]) -> Deploy {
        let marker = lock.with_extension("deploying");
        assert!(!marker.exists(), "one deploy at a time");
        let child = Command::new("flock")
            .args(options)
            .arg(lock)
            .args(["sh", "-c", "touch \"$0\" && read -r _"])
            .arg(&marker)
            .stdin(Stdio::piped())
            .spawn()
            .expect("flock");
        Deploy { child, marker }
    }

    pub fn has_the_lock(&self) -> bool {
        self.marker.exists()
    }

    /// Waits until the kernel has it in the queue for the lock, if it does not have it.
    #[track_caller]
    pub fn waits(&self) {
        let pid = self.child.id().to_string();
        wait_until("the deploy asks for the lock", || {
            let locks = fs::read_to_string("/proc/locks").expect("/proc/locks");
            let waiting = |line: &str| {
                let mut words = line.split_whitespace().skip(1);
                words.next() == Some("->") && words.any(|word| word == pid)
            };
            (self.has_the_lock() || locks.lines().any(waiting)).then_some(())
        });
    }

    #[track_caller]
    pub fn gets_the_lock(&self) {
        wait_until("the deploy has the lock", || {
            self.has_the_lock().then_some(())
        });
    }

    /// Ends it, and with it its lock.
    pub fn end(mut self) {
        let mut stdin = self.child.stdin.take().expect("piped");
        stdin.write_all(b"\n").expect("it reads");
        self.child.wait().expect("its end");
    }
}

impl Drop for Deploy {
    fn drop(&mut self) {
        // The shell below flock ends with its stdin; flock may still wait.
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.marker);
    }
}
