//! What the documents show is so: their commands run, their policies are read,
//! their lists are whole.

// The bans on clocks and on removing files are for the program, not for its tests.
#![allow(clippy::disallowed_methods)]

#[path = "lab/mod.rs"]
mod lab;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lab::image::Archive;
use lab::{Engine, Kind};
use secateur::guards::Refusal;
use secateur::policy::Policy;
use support::{PROGRAM, Secateur, page};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every document of the project, by its name.
fn documents() -> BTreeMap<String, String> {
    let folder = fs::read_dir(root().join("docs")).expect("docs");
    let paths = folder.map(|entry| entry.expect("an entry").path());
    let named = |path: PathBuf| {
        let name = path.strip_prefix(root()).expect("below the root");
        let text = fs::read_to_string(&path).expect("a text");
        (name.display().to_string(), text)
    };
    let markdown = |path: &PathBuf| path.extension().is_some_and(|end| end == "md");
    let documents: BTreeMap<_, _> = paths
        .chain([root().join("README.md")])
        .filter(markdown)
        .map(named)
        .collect();
    assert!(documents.len() > 5, "{:?}", documents.keys());
    documents
}

/// The fenced blocks of this kind.
fn blocks(text: &str, kind: &str) -> Vec<String> {
    let all = page::blocks_of(text).into_iter();
    all.filter(|block| block.language == kind)
        .map(|block| block.text)
        .collect()
}

/// The commands of a session: what follows `$ `, with the lines that go on: after
/// a backslash, or within single quotes.
fn commands(session: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in session.lines() {
        if let Some(command) = line.trim_start().strip_prefix("$ ") {
            found.push(command.to_owned());
        } else if goes_on {
            let last = found.last_mut().expect("a command that goes on");
            *last = format!("{last}\n{line}");
        } else {
            continue;
        }
        let quoted = |command: &String| command.matches('\'').count() % 2 == 1;
        goes_on = line.ends_with('\\') || found.last().is_some_and(quoted);
    }
    found
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn every_command_of_a_session_in_the_documents_runs() {
    let engine = Engine::start(Kind::Overlay28);
    for name in ["shop:latest", "app:1", "app:latest"] {
        engine.load(&Archive::new().noise(64).tag(name));
    }
    let mut count = 0;
    for (name, text) in documents() {
        let secateur = Secateur::on(&engine);
        fs::write(secateur.dir().join("stricter.toml"), support::patient()).expect("a policy");
        let sessions = blocks(&text, "console");
        for command in sessions.iter().flat_map(|session| commands(session)) {
            // The reader's files and the state folder are this test's own.
            let typed = command
                .replace("/root/", &format!("{}/", secateur.dir().display()))
                .replace("/var/lib/secateur", &secateur.state().to_string_lossy());
            let bin = Path::new(PROGRAM).parent().expect("its folder").display();
            let path = std::env::var("PATH").expect("a path");
            let ran = Command::new("bash")
                .args(["-euo", "pipefail", "-c", &typed])
                .current_dir(secateur.dir())
                .env("PATH", format!("{bin}:{path}"))
                .env("DOCKER_HOST", engine.host())
                .env("SECATEUR_POLICY", secateur.policy_path())
                .env("STATE_DIRECTORY", secateur.state())
                .stdin(Stdio::null())
                .output()
                .expect("bash runs");
            let said = String::from_utf8_lossy(&ran.stderr);
            assert!(ran.status.success(), "{name}: {command}: {said}");
            count += 1;
        }
    }
    assert!(count >= 12, "only {count} commands: are they still found?");
}

#[test]
fn every_policy_in_the_documents_is_read() {
    let mut count = 0;
    for (name, text) in documents() {
        for snippet in blocks(&text, "toml") {
            // A part stands for a whole: only the one key that must be there is
            // missing.
            let whole = if snippet.contains("min_age") {
                snippet.clone()
            } else {
                format!("[age]\nmin_age = \"14d\"\n{snippet}")
            };
            if let Err(error) = Policy::parse(&whole, &name) {
                panic!("{error}\n{snippet}");
            }
            count += 1;
        }
    }
    assert!(count > 0, "no policy found");
}

#[test]
fn every_refusal_has_its_section() {
    let text = &documents()["docs/refusals.md"];
    for kind in Refusal::KINDS {
        assert!(text.contains(&format!("\n## {kind}\n")), "{kind}");
        assert!(text.contains(&format!("| [{kind}](#{kind}) |")), "{kind}");
    }
    for code in [1, 2, 65, 69, 70, 74, 77, 78] {
        assert!(text.contains(&format!("\n| {code} |")), "exit code {code}");
    }
}

#[test]
fn every_test_that_the_documents_name_is_there() {
    let mut tests = String::new();
    let mut folders = vec![root().join("tests"), root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                tests += &fs::read_to_string(path).expect("a text");
            }
        }
    }
    let mut count = 0;
    for name in documents()["docs/reliability.md"].split('`') {
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.matches('_').count() > 3 && name.chars().all(letters) {
            assert!(tests.contains(&format!("fn {name}(")), "no test {name}");
            count += 1;
        }
    }
    assert!(count > 39, "only {count} tests named");
}

#[test]
fn every_link_between_the_documents_leads_somewhere() {
    let documents = documents();
    let heading = |line: &str| -> Option<String> {
        let title = line.trim_start_matches('#').strip_prefix(' ')?;
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let title: String = title.to_lowercase().chars().filter(kept).collect();
        line.starts_with('#').then(|| title.replace(' ', "-"))
    };
    for (name, text) in &documents {
        let folder = Path::new(name).parent().expect("a folder");
        for target in text.split("](").skip(1) {
            let target = target.split(')').next().expect("a target");
            if target.starts_with("http") {
                continue;
            }
            let (file, place) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() {
                root().join(name)
            } else {
                root().join(folder).join(file)
            };
            assert!(path.exists(), "{name}: {target}");
            let there = fs::read_to_string(&path).unwrap_or_default();
            let found = place.is_empty()
                || there
                    .lines()
                    .filter_map(heading)
                    .any(|title| title == place);
            assert!(found, "{name}: no section {target}");
        }
    }
}
