//! The lab: private engines, a registry and Swarm for tests, on one machine and without a network.
//!
//! Everything runs in Debian trees made by `tests/support/lab/install`, and nothing outlives its test:
//! - a `Room` is the directory in which one engine or registry has all its files; `tests/support/lab/room`
//!   keeps it and removes it;
//! - an `Inside` is one command that runs in a tree; `tests/support/lab/enter` runs and kills it;
//! - a `Machine` is a whole Debian that `tests/support/lab/boot` boots, for the package and its units.
//!
//! These scripts hold their stdin as a lifeline. A test that returns, panics or is killed drops its
//! end of the pipe, so cleaning up does not depend on how it ended.

// Each test file uses its own part of the lab.
#![allow(dead_code, unused_imports)]
// The bans on clocks and on removing files are for the program, not for its tests.
#![allow(clippy::disallowed_methods)]
// Texts here are short: how they are put together does not matter.
#![allow(clippy::format_push_string, clippy::format_collect)]

mod buildkit;
mod containers;
mod engine;
pub mod front;
mod http;
pub mod image;
mod images;
pub mod index;
mod kind;
pub mod layout;
mod machine;
pub mod other;
mod registry;
mod room;
pub mod slow_line;
mod swarm;

pub use buildkit::Build;
pub use engine::{Builder, Engine};
pub use http::{Response, base64url, encode};
pub use images::Pull;
pub use kind::{Kind, version_of};
pub use machine::{Machine, Said};
pub use registry::{Access, Registry, USER};
pub use room::{Inside, Room, program};
pub use slow_line::SlowLine;

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Asks until there is an answer, and rests three times as long as it asked: others need the
/// processors.
#[track_caller]
pub fn wait_until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    wait_resting(what, || {
        let asked = Instant::now();
        ask().ok_or_else(|| (asked.elapsed() * 3).min(Duration::from_millis(500)))
    })
}

/// Asks until there is an answer, or else how long to rest. The bound is for a lab that is broken,
/// not for one that is slow.
#[track_caller]
pub fn wait_resting<T>(what: &str, mut ask: impl FnMut() -> Result<T, Duration>) -> T {
    let start = Instant::now();
    loop {
        let rest = match ask() {
            Ok(answer) => return answer,
            Err(rest) => rest,
        };
        assert!(
            start.elapsed() < Duration::from_mins(15),
            "waited for a quarter of an hour: {what}"
        );
        std::thread::sleep(rest.max(Duration::from_millis(20)));
    }
}

/// Where `tests/support/lab/install` put the trees.
pub fn lab_dir() -> PathBuf {
    let dir = std::env::var_os("SECATEUR_LAB").unwrap_or("/var/cache/secateur-lab".into());
    let dir = PathBuf::from(dir);
    assert!(
        dir.join("trees").is_dir(),
        "no lab in {}: run tests/support/lab/install",
        dir.display()
    );
    dir
}

/// A static busybox, for containers that really run.
pub fn busybox() -> Vec<u8> {
    std::fs::read(lab_dir().join("trees/bookworm/bin/busybox")).expect("busybox in the lab")
}

/// A loopback address that only its caller uses: engines and registries of many tests run at once.
pub fn loopback() -> String {
    let random = image::noise(3);
    format!(
        "127.{}.{}.{}",
        1 + random[0] % 254,
        random[1],
        1 + random[2] % 254
    )
}
