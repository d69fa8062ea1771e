//! How long `verify-cache --deep` takes on an image of 2 GiB, and how much
//! memory, beside what `docker save | sha256sum` does, in the same run:
//!
//!     tests/support/lab/install && tests/support/lab/alone cargo bench --offline --bench verify
//!
//! `docker save` is curl on the same request: the client adds nothing to it.
//! `-- --quick` takes an image of 64 MiB.

// The bans on clocks and on removing files are for the program alone.
#![allow(clippy::disallowed_methods)]

#[path = "../support/mod.rs"]
mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::lab::image::Archive;
use support::lab::{Engine, Kind};
use support::{Secateur, measured};

const LAYERS: usize = 8;
const RUNS: usize = 3;

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let layer = if quick { 8 << 20 } else { 256 << 20 };
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let filled = |archive: Archive, _| archive.noise(layer);
        engine.load(&(0..LAYERS).fold(Archive::new(), filled).tag("bench:1"));
        let secateur = Secateur::on(&engine);
        let (mut ours, mut theirs, mut peak) = (Vec::new(), Vec::new(), 0.0_f64);
        for _ in 0..RUNS {
            theirs.push(saved_and_summed(&engine));
            let (time, memory) = verified(&secateur);
            ours.push(time);
            peak = peak.max(memory);
        }
        let (ours, theirs) = (median(ours), median(theirs));
        let mib = (LAYERS * layer) as f64 / f64::from(1 << 20);
        println!(
            "{}: {mib} MiB, --deep {ours:.1?} ({:.0} MiB/s), docker save | sha256sum {theirs:.1?} ({:.0} MiB/s), \
             ratio {:.2}; peak memory {peak:.1} MiB",
            kind.name(),
            mib / ours.as_secs_f64(),
            mib / theirs.as_secs_f64(),
            ours.as_secs_f64() / theirs.as_secs_f64()
        );
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn saved_and_summed(engine: &Engine) -> Duration {
    let script = "set -o pipefail; curl -sf --unix-socket \"$0\" http://docker/images/bench:1/get | sha256sum";
    let start = Instant::now();
    let mut command = Command::new("bash");
    command.args(["-c", script]).arg(engine.socket());
    let status = command.stdout(Stdio::null()).status().expect("bash");
    assert!(status.success(), "{status}");
    start.elapsed()
}

/// The time of a run, and its largest resident size.
fn verified(secateur: &Secateur) -> (Duration, f64) {
    let mut command = secateur.command(&["verify-cache", "--deep", "bench:1"]);
    command.args(["--user-config", "/nonexistent"]);
    let (time, peak, ended) = measured(command);
    // 1 on the containerd store, which makes up a digest for a loaded image:
    // its registry, which is not there, is asked.
    assert!(ended.code().is_some_and(|code| code <= 1), "{ended}");
    (time, peak)
}
