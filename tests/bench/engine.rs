//! How long `plan` and `prune` take, as ratios taken in the same run, on the newest engine with
//! either store:
//!
//!     tests/support/lab/install && tests/support/lab/alone cargo bench --offline --bench engine
//!
//! (`-- --plan` or `-- --prune` for one of the two, `-- --quick` with 100 images.)
//!
//! Plan: 2,000 dangling and 60 tagged images (200 and 60 on the containerd store, which takes over
//! ten seconds to list 2,000), against a bare `GET /images/json` by curl. Prune: 500 dangling
//! images with one small layer each, against the engine's own prune and against `DELETE` of each
//! id, as `docker rmi` sends it, on engines that are filled alike. Whole commands, medians of
//! several runs; the machine may be noisy, the ratio of one run much less so.

// The bans on clocks and on removing files are for the program alone.
#![allow(clippy::disallowed_methods)]

#[path = "../support/mod.rs"]
mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::Secateur;
use support::lab::image::Archive;
use support::lab::{Engine, Kind};

const LISTED: usize = 2_000;
const LISTED_CONTAINERD: usize = 200;
const REMOVED: usize = 500;
const TAGGED: usize = 60;
const PLANS: usize = 15;
const PRUNES: usize = 3;

fn main() {
    let asked = |what: &str| std::env::args().any(|arg| arg == what);
    let [listed, removed] = [LISTED, REMOVED].map(|n| if asked("--quick") { 100 } else { n });
    for kind in Kind::NEWEST {
        if !asked("--prune") {
            let most = if kind.containerd() {
                LISTED_CONTAINERD
            } else {
                LISTED
            };
            plan(kind, listed.min(most));
        }
        if !asked("--plan") {
            prune(kind, removed);
        }
    }
}

fn filled(kind: Kind, dangling: usize) -> Engine {
    let engine = Engine::start(kind);
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
    let mut command = to(engine, method);
    command.arg(format!("http://docker{path}"));
    command
}

/// curl without an address.
fn to(engine: &Engine, method: &str) -> Command {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--fail",
        "--globoff",
        "--request",
        method,
        "--unix-socket",
    ]);
    command.arg(engine.socket());
    command
}

fn plan(kind: Kind, dangling: usize) {
    let (engine, name) = (filled(kind, dangling), kind.name());
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
        let (ratio, peak) = (ratio(ours, bare), peak_memory(&secateur));
        println!(
            "{name}: plan, {day}: {ours:.1?}, bare list {bare:.1?}, ratio {ratio:.2}; {peak:.1} MiB"
        );
    }
}

fn ratio(ours: Duration, theirs: Duration) -> f64 {
    ours.as_secs_f64() / theirs.as_secs_f64()
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

fn prune(kind: Kind, dangling: usize) {
    let name = kind.name();
    let (mut to_prune, mut to_rmi) = (Vec::new(), Vec::new());
    for _ in 0..PRUNES {
        let remaining = |engine: &Engine| assert_eq!(engine.images().len(), TAGGED);
        let engine = filled(kind, dangling);
        let secateur = eager(&engine);
        secateur.remember_all();
        let ours = timed(&mut secateur.command(&["prune"]));
        remaining(&engine);
        let engine = filled(kind, dangling);
        let pruned = timed(&mut curl(&engine, "POST", "/images/prune"));
        remaining(&engine);
        let engine = filled(kind, dangling);
        let removed = timed(&mut rmi(&engine));
        remaining(&engine);
        let each = |time: Duration| time.as_secs_f64() * 1000.0 / dangling as f64;
        println!(
            "{name}: an image: prune {:.2} ms, the engine's own {:.2} ms, docker rmi {:.2} ms",
            each(ours),
            each(pruned),
            each(removed)
        );
        to_prune.push(ratio(ours, pruned));
        to_rmi.push(ratio(ours, removed));
    }
    for (what, ratios) in [("the engine's own prune", to_prune), ("docker rmi", to_rmi)] {
        println!("{name}: ratio to {what}: {}", spread(ratios));
    }
}

/// Drops each dangling image by its id over one connection, one after the other.
fn rmi(engine: &Engine) -> Command {
    let dangling = engine.get("/images/json?filters=%7B%22dangling%22%3A%5B%22true%22%5D%7D");
    let mut command = to(engine, "DELETE");
    for image in dangling.as_array().expect("a list") {
        let id = image["Id"].as_str().expect("an id");
        command.arg(format!("http://docker/images/{id}"));
    }
    command
}

fn spread(mut ratios: Vec<f64>) -> String {
    ratios.sort_by(f64::total_cmp);
    let (first, last) = (ratios[0], ratios[ratios.len() - 1]);
    let median = ratios[ratios.len() / 2];
    format!(
        "{median:.2} (median of {}, {first:.2} to {last:.2})",
        ratios.len()
    )
}
