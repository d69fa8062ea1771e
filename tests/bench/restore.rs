//! How long `verify-cache --restore` takes to load 12 images of 2 GiB together out of an
//! archive, and how much memory, beside what `docker load` does with the same images, in the
//! same run:
//!
//!     tests/support/lab/install && tests/support/lab/alone cargo bench --offline --bench restore
//!
//! `docker load` is curl on the same request, with one archive of all images as `docker save`
//! writes it: the client adds nothing to it. `-- --quick` takes 96 MiB.

// The bans on clocks and on removing files are for the program alone.
#![allow(clippy::disallowed_methods)]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::lab::image::Archive;
use support::lab::layout::Layout;
use support::lab::{Engine, Kind};
use support::{CALM, EAGER, Secateur, measured};

const IMAGES: usize = 12;
const RUNS: usize = 3;

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let layer = if quick { 8 << 20 } else { 170 << 20 };
    let base = Archive::default().busybox();
    let tagged = |n| base.clone().noise(layer).tag(&format!("bench{n}:1"));
    let images: Vec<Archive> = (0..IMAGES).map(tagged).collect();
    let tar = Archive::together(&images);
    for kind in Kind::MAIN {
        let (mut ours, mut theirs, mut peak) = (Vec::new(), Vec::new(), 0.0_f64);
        for _ in 0..RUNS {
            let engine = Engine::start(kind);
            let file = engine.dir().join("images.tar");
            fs::write(&file, &tar).expect("the archive");
            theirs.push(loaded(&engine, &file.display().to_string()));
            fs::remove_file(&file).expect("it goes");
            drop(engine);
            let engine = Engine::start(kind);
            let mut layout = Layout::at(&engine.dir().join("archive"));
            for (n, image) in images.iter().enumerate() {
                layout.put(&format!("docker.io/library/bench{n}:1"), image);
            }
            let (time, memory) = restored(&engine, &layout);
            assert_eq!(engine.images().len(), IMAGES);
            ours.push(time);
            peak = peak.max(memory);
        }
        let (ours, theirs) = (median(ours), median(theirs));
        let mib = tar.len() as f64 / f64::from(1 << 20);
        println!(
            "{}: {mib:.0} MiB in {IMAGES} images, --restore {ours:.1?}, docker load {theirs:.1?}, \
             ratio {:.2}; peak memory {peak:.1} MiB",
            kind.name(),
            ours.as_secs_f64() / theirs.as_secs_f64()
        );
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn loaded(engine: &Engine, file: &str) -> Duration {
    let start = Instant::now();
    let mut curl = Command::new("curl");
    curl.args(["-sf", "--unix-socket"]).arg(engine.socket());
    curl.args([
        "-H",
        "Content-Type: application/x-tar",
        "-X",
        "POST",
        "-T",
        file,
    ]);
    curl.arg("http://docker/images/load?quiet=1");
    let status = curl.stdout(Stdio::null()).status().expect("curl");
    assert!(status.success(), "{status}");
    assert_eq!(engine.images().len(), IMAGES);
    start.elapsed()
}

/// The time of a run, and its largest resident size.
fn restored(engine: &Engine, layout: &Layout) -> (Duration, f64) {
    let policy = format!("{EAGER}{CALM}max_share = \"90%\"\n");
    let secateur = Secateur::at(&engine.host(), &policy);
    let mut command = secateur.command(&["verify-cache", "--restore", "--archive", layout.dir()]);
    command.args((0..IMAGES).map(|n| format!("bench{n}:1")));
    let (time, peak, ended) = measured(command);
    assert!(ended.success(), "{ended}");
    (time, peak)
}
