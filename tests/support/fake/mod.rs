//! An engine that is none: it answers on a Unix socket from a recording, as
//! faultily as a test asks for, and writes down every request.
//!
//! - `recorded`: what live engines of the lab answered; see tests/engines/fake_recorded.rs
//! - `world`: what is on the pretended host, and what a request does to it
//! - `fault`: what can be wrong with an answer
//! - `weighed`: the program under test, and the most memory that it had
//! - `wire`: HTTP, with connections that are kept alive or not
//!
//! It runs in the test's own process and without root: the program it is for
//! is the real one.

// Each test file uses its own part of this.
#![allow(dead_code, unused_imports)]

pub mod fault;
pub mod recorded;
pub mod weighed;
mod wire;
pub mod world;

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use fault::Fault;
use recorded::Recorded;
use world::World;

/// The pretended engine. Its folder, with socket and data root, goes with it.
pub struct Fake {
    dir: tempfile::TempDir,
    shared: Arc<Shared>,
}

struct Shared {
    world: Mutex<World>,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<String>>,
    /// Connections that are closed unread, by their number.
    unread: Mutex<Vec<usize>>,
}

/// Which requests are answered with a fault.
struct Rule {
    method: String,
    part: String,
    /// The first request, counted from 1.
    from: usize,
    /// How many from there on.
    count: usize,
    met: usize,
    fault: Fault,
}

impl Fake {
    /// The host that was recorded from this kind of engine: `28.5 overlay2`.
    pub fn new(kind: &str) -> Fake {
        Fake::with(|root| World::new(&Recorded::read(kind), root))
    }

    /// Any host; the world is given its data root, which looks like a real one.
    pub fn with(world: impl FnOnce(&Path) -> World) -> Fake {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("data");
        for folder in ["image/overlay2", "overlay2", "containers", "volumes", "tmp"] {
            std::fs::create_dir_all(root.join(folder)).expect("a data root");
        }
        let containerd = root.join("containerd/daemon");
        for folder in [
            "io.containerd.metadata.v1.bolt",
            "io.containerd.content.v1.content/ingest",
        ] {
            std::fs::create_dir_all(containerd.join(folder)).expect("a containerd root");
        }
        let listener = UnixListener::bind(dir.path().join("docker.sock")).expect("a socket");
        let shared = Arc::new(Shared {
            world: Mutex::new(world(&root)),
            rules: Mutex::default(),
            seen: Mutex::default(),
            unread: Mutex::default(),
        });
        let served = Arc::clone(&shared);
        // Ends with the test's process: there is nothing to be put in order.
        std::thread::spawn(move || {
            for (number, client) in (1..).zip(listener.incoming().flatten()) {
                if served.unread.lock().expect("unread").contains(&number) {
                    continue; // dropped, with whatever was sent
                }
                let served = Arc::clone(&served);
                std::thread::spawn(move || wire::serve(&served, &client));
            }
        });
        Fake { dir, shared }
    }

    /// For --host.
    pub fn host(&self) -> String {
        format!("unix://{}", self.dir.path().join("docker.sock").display())
    }

    pub fn data_root(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Every request with this method and this in its path is answered so.
    pub fn fault(&self, method: &str, part: &str, fault: Fault) -> &Fake {
        self.fault_from(method, part, 1, usize::MAX, fault)
    }

    /// The `number`th such request from now on alone, counted from 1.
    pub fn fault_at(&self, method: &str, part: &str, number: usize, fault: Fault) -> &Fake {
        self.fault_from(method, part, number, 1, fault)
    }

    fn fault_from(
        &self,
        method: &str,
        part: &str,
        from: usize,
        count: usize,
        fault: Fault,
    ) -> &Fake {
        let rule = Rule {
            method: method.to_owned(),
            part: part.to_owned(),
            from,
            count,
            met: 0,
            fault,
        };
        self.shared.rules.lock().expect("rules").push(rule);
        self
    }

    /// Closes the `number`th connection from the engine's start unread.
    pub fn close_unread(&self, number: usize) {
        self.shared.unread.lock().expect("unread").push(number);
    }

    /// How often a fault was answered with.
    pub fn faults_met(&self) -> usize {
        let rules = self.shared.rules.lock().expect("rules");
        let met = |rule: &Rule| (rule.met + 1).saturating_sub(rule.from).min(rule.count);
        rules.iter().map(met).sum()
    }

    /// Looks at the host, or changes it.
    pub fn world<T>(&self, with: impl FnOnce(&mut World) -> T) -> T {
        with(&mut self.shared.world.lock().expect("the world"))
    }

    /// All requests so far, in order, as `METHOD /path`, without the API version.
    pub fn seen(&self) -> Vec<String> {
        self.shared.seen.lock().expect("seen").clone()
    }

    /// Names that only secateur gives.
    pub fn names_of_ours(&self) -> Vec<String> {
        let mut names = self.world(|world| world.names());
        names.retain(|name| name.starts_with("secateur.invalid/"));
        names
    }

    /// Those that are to change something.
    pub fn changes(&self) -> Vec<String> {
        let mut seen = self.seen();
        seen.retain(|line| !line.starts_with("GET ") && !line.starts_with("HEAD "));
        seen
    }
}

impl Shared {
    /// What is wrong with the answer to this request. Every rule counts every
    /// request, also one that another answers.
    fn fault_for(&self, method: &str, path: &str) -> Option<Fault> {
        let mut rules = self.rules.lock().expect("rules");
        let mut found = None;
        for rule in rules.iter_mut() {
            if rule.method != method || !path.contains(&rule.part) {
                continue;
            }
            rule.met += 1;
            if rule.met >= rule.from && rule.met - rule.from < rule.count {
                found = found.or_else(|| Some(rule.fault.clone()));
            }
        }
        found
    }
}
