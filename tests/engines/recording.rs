//! The first five minutes with secateur, as a recording in the documents: what
//! `tests/support/lab/demo` shows now is what the recording shows, but for figures,
//! dates and ids. Its paths are those of a host, not those of the lab.
//!
//! To record it again: `SECATEUR_RECORD=1 cargo test --test engines -- --ignored recording::`

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::built_apart;

const BEGIN: &str = "```text\n";
const END: &str = "\n```\n";

/// What the demonstration shows, with a host's paths in place of its room's.
fn as_on_a_host(shown: &str) -> String {
    let lab = std::env::var("SECATEUR_LAB").unwrap_or_default();
    let lab = Some(lab).filter(|lab| !lab.is_empty());
    let lab = lab.unwrap_or_else(|| "/var/cache/secateur-lab".into());
    let room = format!("{lab}/rooms/demo-");
    let mut parts = shown.split(&room);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // The room's name ends in the number of a process.
        let file = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let (path, rest) = [
            ("/disk", "/var/lib/docker"),
            ("/policy.toml", "/etc/secateur/policy.toml"),
        ]
        .iter()
        .find_map(|(ours, hosts)| Some((*hosts, file.strip_prefix(ours)?)))
        .unwrap_or_else(|| panic!("a path without a name on a host: {file:.60}"));
        text += path;
        text += rest;
    }
    // A line that was broken before the longer path.
    text.replace(",\n        /var/lib/docker\n", ", /var/lib/docker\n")
}

/// A text without what differs from one recording to the next.
fn shape(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(word).collect();
    // On a slow host seconds become minutes.
    let text = words.join(" ");
    text.replace("N min N s", "N s").replace("N min", "N s")
}

/// Ids and figures, each as one sign.
fn word(word: &str) -> String {
    let bare = word.trim_start_matches("sha256:");
    if bare.len() >= 12 && bare.chars().all(|c| c.is_ascii_hexdigit()) {
        return "ID".into();
    }
    let mut shape = String::new();
    let mut chars = word.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_ascii_digit() {
            while chars.next_if(|c| c.is_ascii_digit() || *c == '.').is_some() {}
            shape.push('N');
        } else {
            shape.push(c);
        }
    }
    shape
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_recording_shows_what_the_program_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join("docs/first-five-minutes.md");
    let mut demo = Command::new(root.join("tests/support/lab/demo"));
    built_apart(&mut demo);
    let ran = demo
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .expect("the demo runs");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    let shown = String::from_utf8(ran.stdout).expect("UTF-8");
    let shown = as_on_a_host(shown.trim());
    let document = fs::read_to_string(&file).expect("the recording");
    let (head, rest) = document.split_once(BEGIN).expect("a recording");
    let (recorded, tail) = rest.split_once(END).expect("its end");
    if std::env::var_os("SECATEUR_RECORD").is_some() {
        let new = format!("{head}{BEGIN}{shown}{END}{tail}");
        fs::write(&file, new).expect("the new recording");
        return;
    }
    assert_eq!(shape(&shown), shape(recorded), "record it again? {shown}");
}
