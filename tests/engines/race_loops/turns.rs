//! Whose turn it is: follows an engine's events, so that a racer can aim at an
//! image that is being removed at this moment.

use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lab::{Engine, encode};

/// Images in the order in which their removal began.
pub struct Turns {
    seen: Arc<Seen>,
    connection: UnixStream,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    begun: Vec<String>,
    /// How many racers may still take the newest one.
    free: usize,
    /// Between the last two turns.
    pace: Duration,
    last: Option<Instant>,
    /// Images that are gone.
    deleted: usize,
    over: bool,
}

impl Turns {
    /// From now on. An image's turn begins when secateur names it, or where it
    /// has a digest reference, when that is dropped.
    /// Each turn is for so many racers.
    pub fn follow(engine: &Engine, racers: usize) -> Turns {
        let filters = json!({"type": ["image"], "event": ["tag", "untag", "delete"]}).to_string();
        let path = format!("/events?filters={}", encode(&filters));
        let mut connection = UnixStream::connect(engine.socket()).expect("the engine's socket");
        let request = format!("GET {path} HTTP/1.1\r\nHost: lab\r\n\r\n");
        connection.write_all(request.as_bytes()).expect("events");
        let mut lines = BufReader::new(connection.try_clone().expect("a second handle")).lines();
        // The head comes once the engine listens for us.
        for line in &mut lines {
            if line.expect("the head").is_empty() {
                break;
            }
        }
        let seen = Arc::new(Seen::default());
        let told = Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            // Each event is a line of JSON; lengths of chunks stand in between.
            for line in lines.map_while(Result::ok) {
                if let Ok(event) = serde_json::from_str::<Value>(&line) {
                    told.event(&event, racers);
                }
            }
        });
        Turns {
            seen,
            connection,
            reader: Some(reader),
        }
    }

    /// Waits for a turn that not enough racers took yet; the newest. With the time
    /// that the one before it took. `None` when it is over.
    pub fn next(&self) -> Option<(String, Duration)> {
        let state = self.seen.state.lock().expect("no racer panicked");
        let waiting = |state: &mut State| !state.over && state.free == 0;
        let mut state = self
            .seen
            .changed
            .wait_while(state, waiting)
            .expect("no racer panicked");
        if state.over {
            return None;
        }
        state.free -= 1;
        Some((state.begun.last()?.clone(), state.pace))
    }

    /// How many images went so far.
    pub fn deleted(&self) -> usize {
        self.seen.state.lock().expect("no racer panicked").deleted
    }

    /// No turn comes any more.
    pub fn over(&self) {
        self.seen.state.lock().expect("no racer panicked").over = true;
        self.seen.changed.notify_all();
    }
}

impl Seen {
    fn event(&self, event: &Value, racers: usize) {
        let actor = &event["Actor"];
        let name = actor["Attributes"]["name"].as_str().unwrap_or_default();
        let ours = name.starts_with("secateur.invalid/");
        if event["Action"] == "tag" && !ours {
            return;
        }
        let Some(id) = actor["ID"].as_str() else {
            return;
        };
        let mut state = self.state.lock().expect("no racer panicked");
        if event["Action"] == "delete" {
            state.deleted += 1;
            return;
        }
        if state.begun.last().is_some_and(|last| last == id) {
            return;
        }
        state.begun.push(id.to_owned());
        state.free = racers;
        let now = Instant::now();
        if let Some(last) = state.last.replace(now) {
            state.pace = now - last;
        }
        self.changed.notify_all();
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        self.over();
        let _ = self.connection.shutdown(Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
