//! How long `verify-cache --save` takes for 12 images of 2 GiB together, and how much memory,
//! beside `docker save | gzip -1` and beside skopeo, in the same run:
//!
//!     tests/support/lab/install && tests/support/lab/alone cargo bench --offline --bench archive
//!
//! `docker save` is curl on the same request: the client adds nothing to it. Half of each
//! layer compresses. `-- --quick` takes images of 96 MiB together.

// The bans on clocks and on removing files are for the program alone.
#![allow(clippy::disallowed_methods)]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::lab::image::{Archive, noise};
use support::lab::{Engine, Kind};
use support::{EAGER, Secateur, measured};

const IMAGES: usize = 12;

fn name(number: usize) -> String {
    format!("bench:{number}")
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let size: usize = if quick { 96 << 20 } else { 2 << 30 };
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let half = size / IMAGES / 2;
        for number in 0..IMAGES {
            let mut bytes = noise(half);
            bytes.resize(2 * half, b'x');
            let image = Archive::new().layer(&[(&format!("file-{number}"), &bytes)]);
            engine.load(&image.tag(&name(number)));
        }
        let secateur = Secateur::on(&engine);
        let folder = engine.dir().join("archive");
        for compress in ["none", "gzip"] {
            policy(&secateur, &folder, compress);
            let (first, peak) = saved(&secateur);
            let (again, _) = saved(&secateur);
            println!(
                "{}: {} MiB, --save, compress {compress}: {first:.1?}, again {again:.2?} ({:.1} %); peak memory {peak:.1} MiB",
                kind.name(),
                size >> 20,
                again.as_secs_f64() / first.as_secs_f64() * 100.0,
            );
            fs::remove_dir_all(&folder).expect("the archive");
        }
        let piped = saved_and_compressed(&engine, &folder);
        let copied = match copied_by_skopeo(&engine, &folder) {
            Some(took) => format!("{took:.1?}"),
            None => "speaks another API".to_owned(),
        };
        let name = kind.name();
        println!("{name}: docker save | gzip -1 {piped:.1?}, skopeo copy {copied}");
    }
}

fn policy(secateur: &Secateur, folder: &Path, compress: &str) {
    let names: Vec<String> = (0..IMAGES).map(name).collect();
    let folder = folder.display().to_string();
    secateur.policy(&format!(
        "{EAGER}[cache]\nimages = {names:?}\n[archive]\ndir = {folder:?}\ncompress = {compress:?}\n"
    ));
}

/// The time of a run, and its largest resident size in MiB.
fn saved(secateur: &Secateur) -> (Duration, f64) {
    let mut command = secateur.command(&["verify-cache", "--save", "--quiet"]);
    command.args(["--user-config", "/nonexistent"]);
    let (time, peak, ended) = measured(command);
    // 1 on the containerd store, which makes up a digest for a loaded image: its registry,
    // which is not there, is asked.
    assert!(ended.code().is_some_and(|code| code <= 1), "{ended}");
    (time, peak)
}

fn saved_and_compressed(engine: &Engine, folder: &Path) -> Duration {
    let names: Vec<String> = (0..IMAGES).map(|n| format!("names={}", name(n))).collect();
    let script = "set -o pipefail; curl -sf --unix-socket \"$0\" \"http://docker/images/get?$1\" | gzip -1 > \"$2\" && sync \"$2\" && rm \"$2\"";
    let start = Instant::now();
    let mut command = Command::new("bash");
    command.args(["-c", script]).arg(engine.socket());
    command
        .arg(names.join("&"))
        .arg(folder.with_extension("tar.gz"));
    let status = command.status().expect("bash");
    assert!(status.success(), "{status}");
    start.elapsed()
}

/// `None` where the engine's oldest API is newer than skopeo's (1.22 in Debian 12).
fn copied_by_skopeo(engine: &Engine, folder: &Path) -> Option<Duration> {
    let start = Instant::now();
    for number in 0..IMAGES {
        let from = format!("docker-daemon:{}", name(number));
        let to = format!("oci:{}:{}", folder.display(), name(number));
        let host = engine.host();
        let copy = [
            "skopeo",
            "copy",
            "--quiet",
            "--insecure-policy",
            "--src-daemon-host",
        ];
        let output = engine.inside("bookworm", &[&copy[..], &[&host, &from, &to]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("is too old") {
            return None;
        }
        assert!(output.status.success(), "{said}");
    }
    let took = start.elapsed();
    fs::remove_dir_all(folder).expect("the copies");
    Some(took)
}
