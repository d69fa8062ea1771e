//! A socket in front of an engine's, where a test can stop one request, do
//! something to the engine itself, and let that request go on. So a test gets
//! in between two steps of a run without any guess at how long they take.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::lab::Engine;

/// No step of a run takes this long, unless something hangs.
const PATIENCE: Duration = Duration::from_mins(10);

/// The socket. Requests that nobody stops pass at once, one connection each:
/// the engine is told to close after its answer.
pub struct Proxy {
    dir: tempfile::TempDir,
    road: Arc<Road>,
}

struct Road {
    engine: PathBuf,
    barriers: Mutex<Vec<Barrier>>,
    seen: Mutex<Vec<String>>,
    pace: Mutex<Duration>,
}

struct Barrier {
    wanted: Box<dyn FnMut(&str) -> bool + Send>,
    arrived: Sender<String>,
    go: Receiver<()>,
}

/// Where one request is stopped. Dropping it hangs up on that request, which
/// then never reaches the engine.
pub struct Gate {
    what: String,
    arrived: Receiver<String>,
    go: Sender<()>,
}

impl Gate {
    /// Waits until the request is here, and gives it as `METHOD path`.
    #[track_caller]
    pub fn reached(&self) -> String {
        self.arrived
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|error| panic!("waiting for {}: {error}", self.what))
    }

    /// Lets the request go on to the engine.
    pub fn let_through(self) {
        self.go.send(()).expect("a request that waits");
    }
}

impl Proxy {
    pub fn before(engine: &Engine) -> Proxy {
        let dir = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(dir.path().join("docker.sock")).expect("a socket");
        let road = Arc::new(Road {
            engine: engine.socket(),
            barriers: Mutex::default(),
            seen: Mutex::default(),
            pace: Mutex::default(),
        });
        let shared = Arc::clone(&road);
        // Ends with the test's process: there is nothing to be put in order.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let road = Arc::clone(&shared);
                std::thread::spawn(move || road.carry(client));
            }
        });
        Proxy { dir, road }
    }

    /// For --host.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    /// Stops the `number`th request from now on (counted from 1) that begins
    /// with `method` and has `part` in its path.
    pub fn stop(&self, method: &str, part: &str, number: usize) -> Gate {
        let (arrived_tx, arrived) = channel();
        let (go, go_rx) = channel();
        let (method, part) = (format!("{method} "), part.to_owned());
        let what = format!("{method}{part} no. {number}");
        let mut count = 0;
        let wanted = move |line: &str| {
            let counts = line.starts_with(&method) && line.contains(&part);
            count += usize::from(counts);
            counts && count == number
        };
        let barrier = Barrier {
            wanted: Box::new(wanted),
            arrived: arrived_tx,
            go: go_rx,
        };
        self.road.barriers.lock().expect("barriers").push(barrier);
        Gate { what, arrived, go }
    }

    /// Makes an engine that needs this long for each removal.
    pub fn slow_removals(&self, pace: Duration) {
        *self.road.pace.lock().expect("pace") = pace;
    }

    /// All requests so far, in order, as `METHOD path`.
    pub fn seen(&self) -> Vec<String> {
        self.road.seen.lock().expect("seen").clone()
    }

    /// How many requests so far have this method.
    pub fn count(&self, method: &str) -> usize {
        let method = format!("{method} ");
        let seen = self.seen();
        seen.iter().filter(|line| line.starts_with(&method)).count()
    }
}

impl Road {
    /// One connection, and so one request.
    fn carry(&self, mut client: UnixStream) {
        let Ok(head) = head(&mut client) else { return };
        let text = String::from_utf8(head).expect("a head in ASCII, and no body");
        let line = text.lines().next().unwrap_or_default();
        let line = line.trim_end_matches(" HTTP/1.1").to_owned();
        self.seen.lock().expect("seen").push(line.clone());
        if let Some(barrier) = self.barrier(&line) {
            let _ = barrier.arrived.send(line.clone());
            if barrier.go.recv().is_err() {
                return; // the gate is gone: hang up
            }
        }
        if line.starts_with("DELETE ") {
            let pace = *self.pace.lock().expect("pace");
            std::thread::sleep(pace); // the engine's work, not a wait for anything
        }
        let Ok(mut engine) = UnixStream::connect(&self.engine) else {
            return;
        };
        let (line, rest) = text.split_once("\r\n").expect("a whole head");
        let once = format!("{line}\r\nConnection: close\r\n{rest}");
        if engine.write_all(once.as_bytes()).is_err() {
            return;
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _ = io::copy(&mut &client, &mut &engine);
                let _ = engine.shutdown(Shutdown::Write);
            });
            let _ = io::copy(&mut &engine, &mut &client);
            let _ = client.shutdown(Shutdown::Both);
        });
    }

    fn barrier(&self, line: &str) -> Option<Barrier> {
        let mut barriers = self.barriers.lock().expect("barriers");
        // Every barrier counts every request, also one that another stops.
        let hits: Vec<bool> = barriers.iter_mut().map(|b| (b.wanted)(line)).collect();
        let first = hits.iter().position(|hit| *hit)?;
        Some(barriers.remove(first))
    }
}

/// Reads to the end of the headers, and what came along of the body.
fn head(client: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
        let length = client.read(&mut buffer)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&buffer[..length]);
    }
    Ok(bytes)
}
