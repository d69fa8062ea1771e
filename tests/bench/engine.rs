//! How long `plan` and `prune` take, as ratios taken in the same run:
//!
//!     tests/support/lab/install && tests/support/lab/alone cargo bench --offline
//!
//! (`-- --plan` or `-- --prune` for one of the two, `-- --quick` with 100 images.)
//!
//! On a private 28.5 engine with overlay2, 2,000 dangling and 60 tagged images:
//! plan against a bare `GET /images/json` by curl, prune against the engine's
//! own prune on a twin. Whole commands, medians of several runs; the machine
//! may be noisy, the ratio of one run much less so.

// The bans on clocks and on removing files are for the program alone.
#![allow(clippy::disallowed_methods)]

#[path = "../support/mod.rs"]
mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::Secateur;
use support::lab::image::Archive;
use support::lab::{Engine, Kind};

const DANGLING: usize = 2_000;
const TAGGED: usize = 60;
const PLANS: usize = 15;
const PRUNES: usize = 3;

fn main() {
    let asked = |what: &str| std::env::args().any(|arg| arg == what);
    let dangling = if asked("--quick") { 100 } else { DANGLING };
    if !asked("--prune") {
        plan(dangling);
    }
    if !asked("--plan") {
        prune(dangling);
    }
}

fn filled(dangling: usize) -> Engine {
    let engine = Engine::start(Kind::Overlay28);
    for number in 0..dangling + TAGGED {
        let archive = Archive::new().noise(64);
        let tag = format!("bench:{number}");
        engine.load(&if number < TAGGED {
            archive.tag(&tag)
        } else {
            archive
        });
    }
    engine
}

fn eager(engine: &Engine) -> Secateur {
    let secateur = Secateur::on(engine);
    secateur.policy(&format!("{}max_images = 100000\n", support::EAGER));
    secateur
}

fn timed(command: &mut Command) -> Duration {
    let start = Instant::now();
    let status = command
        .stdout(Stdio::null())
        .status()
        .expect("the command runs");
    let time = start.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    time
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn curl(engine: &Engine, method: &str, path: &str) -> Command {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--fail",
        "--globoff",
        "--request",
        method,
        "--unix-socket",
    ]);
    command
        .arg(engine.socket())
        .arg(format!("http://docker{path}"));
    command
}

fn plan(dangling: usize) {
    let engine = filled(dangling);
    let secateur = eager(&engine);
    // The plan of a first day, and of a day when every dangling image is old.
    for (day, limit) in [("first", 50), ("old, 50 go", 50), ("old, all go", 100_000)] {
        secateur.policy(&format!("{}max_images = {limit}\n", support::EAGER));
        if day == "old, 50 go" {
            secateur.remember_all();
        }
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..PLANS {
            ours.push(timed(&mut secateur.command(&["plan"])));
            bare.push(timed(&mut curl(&engine, "GET", "/images/json")));
        }
        let (ours, bare) = (median(ours), median(bare));
        let ratio = ours.as_secs_f64() / bare.as_secs_f64();
        println!("plan, {day}: {ours:.1?}, curl GET /images/json: {bare:.1?}, ratio {ratio:.2}");
        println!("plan, {day}: peak memory {:.1} MiB", peak_memory(&secateur));
    }
}

/// The largest resident size of one run, as the shell's `time` has it.
fn peak_memory(secateur: &Secateur) -> f64 {
    let mut command = secateur.command(&["plan"]);
    let mut child = command
        .stdout(Stdio::null())
        .spawn()
        .expect("the program runs");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0_f64;
    while child.try_wait().expect("a child").is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
        peak = peak.max(kib.unwrap_or(0.0) / 1024.0);
    }
    peak
}

fn prune(dangling: usize) {
    let mut ratios = Vec::new();
    for _ in 0..PRUNES {
        let (ours, twin) = (filled(dangling), filled(dangling));
        let secateur = eager(&ours);
        secateur.remember_all();
        let time = timed(&mut secateur.command(&["prune"]));
        assert_eq!(ours.images().len(), TAGGED, "all dangling images are gone");
        let engines = timed(&mut curl(&twin, "POST", "/images/prune"));
        assert_eq!(twin.images().len(), TAGGED, "all dangling images are gone");
        let each = |time: Duration| time.as_secs_f64() * 1000.0 / dangling as f64;
        let ratio = each(time) / each(engines);
        println!(
            "prune: {:.2} ms an image, the engine's own prune: {:.2} ms, ratio {ratio:.2}",
            each(time),
            each(engines)
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "prune: median ratio {:.2} of {PRUNES} runs",
        ratios[PRUNES / 2]
    );
}
