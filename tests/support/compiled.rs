//! Programs that the commands of the pages compile. In the profile of the tests: that of a release
//! takes minutes, and differs in speed and size alone.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::lab::lab_dir;
use super::{Ran, built_apart, page};

/// Runs a line of a page in the project's own folder. Returns where cargo put what it made.
#[track_caller]
pub fn types(line: &str) -> PathBuf {
    let mut command = Command::new("bash");
    let target = built_apart(&mut command);
    let output = command
        .args(["-euo", "pipefail", "-c", line])
        .current_dir(page::file(""))
        .env("PATH", path_with_tools())
        .env("CARGO_NET_OFFLINE", "true")
        .stdin(Stdio::null())
        .output();
    Ran::of(output.expect("bash")).ended(0);
    target
}

/// Where cargo-deb is found, too.
pub fn path_with_tools() -> String {
    let path = std::env::var("PATH").expect("PATH");
    format!("{}:{path}", lab_dir().join("tools/bin").display())
}

/// The program of docs/operating.md that needs nothing of its root.
#[track_caller]
pub fn static_program() -> PathBuf {
    let lines = page::of("operating.md", "Install", "");
    let line = lines.iter().find(|block| block.text.contains("crt-static"));
    let line = line.expect("its command").text.trim();
    let target = types(&line.replace("--release", "--locked"));
    target.join("x86_64-unknown-linux-gnu/debug/secateur")
}
