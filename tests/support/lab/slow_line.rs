//! A slow line to a registry, so that a pull is in flight for as long as a test needs.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::loopback;

/// A relay of our own, not a proxy server: a test can open it as soon as it has seen enough.
#[derive(Debug)]
pub struct SlowLine {
    address: String,
    valve: Arc<Valve>,
}

#[derive(Debug)]
struct Valve {
    open: Mutex<bool>,
    opened: Condvar,
    bytes_per_second: usize,
    passed: AtomicU64,
    closed: AtomicBool,
}

impl SlowLine {
    pub fn new(registry: &str, bytes_per_second: usize) -> SlowLine {
        let listener = TcpListener::bind((loopback(), 0)).expect("a free port");
        let address = listener.local_addr().expect("its address").to_string();
        let valve = Arc::new(Valve {
            open: Mutex::new(false),
            opened: Condvar::new(),
            bytes_per_second,
            passed: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        let (target, shared) = (registry.to_owned(), Arc::clone(&valve));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.closed.load(Ordering::Relaxed) {
                    break;
                }
                let (target, valve) = (target.clone(), Arc::clone(&shared));
                std::thread::spawn(move || relay(&client, &target, &valve));
            }
        });
        SlowLine { address, valve }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// The name of `app:v1` over this line.
    pub fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }

    /// Bytes of answers that have passed.
    pub fn passed(&self) -> u64 {
        self.valve.passed.load(Ordering::Relaxed)
    }

    /// Full speed from now on, also for what is under way.
    pub fn open(&self) {
        *self.valve.open.lock().expect("valve") = true;
        self.valve.opened.notify_all();
    }
}

impl Drop for SlowLine {
    fn drop(&mut self) {
        self.open();
        self.valve.closed.store(true, Ordering::Relaxed);
        // One connection more, so that the listening thread wakes up and ends.
        let _ = TcpStream::connect(&self.address);
    }
}

fn relay(client: &TcpStream, target: &str, valve: &Valve) {
    let Ok(server) = TcpStream::connect(target) else {
        return;
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::copy(&mut &*client, &mut &server);
            let _ = server.shutdown(Shutdown::Write);
        });
        let _ = valve.pour(&server, client);
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    });
}

impl Valve {
    /// Lets a spoonful through, then rests, so that headers and manifests pass at once.
    fn pour(&self, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
        const REST: Duration = Duration::from_millis(50);
        let spoon = (self.bytes_per_second / 20).max(1);
        let mut buffer = vec![0; 64 * 1024];
        let mut left = spoon;
        loop {
            let open = *self.open.lock().expect("valve");
            let length = if open {
                buffer.len()
            } else {
                buffer.len().min(left)
            };
            let length = from.read(&mut buffer[..length])?;
            if length == 0 {
                return Ok(());
            }
            to.write_all(&buffer[..length])?;
            self.passed.fetch_add(length as u64, Ordering::Relaxed);
            left = left.saturating_sub(length);
            if left == 0 && !open {
                let guard = self.open.lock().expect("valve");
                let closed = |open: &mut bool| !*open;
                drop(
                    self.opened
                        .wait_timeout_while(guard, REST, closed)
                        .expect("valve"),
                );
                left = spoon;
            }
        }
    }
}
