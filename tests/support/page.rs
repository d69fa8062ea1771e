//! The project's pages and examples, as somebody copies from them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::Ran;

/// A fenced block of a page.
#[derive(Debug)]
pub struct Block {
    pub section: String,
    pub language: String,
    pub text: String,
}

impl Block {
    fn new(section: &str, language: &str) -> Block {
        Block {
            section: section.to_owned(),
            language: language.to_owned(),
            text: String::new(),
        }
    }
}

/// A file of the project.
pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// All blocks of a page of docs/.
#[track_caller]
pub fn blocks(page: &str) -> Vec<Block> {
    blocks_of(&text(page))
}

/// A page of docs/.
#[track_caller]
pub fn text(page: &str) -> String {
    fs::read_to_string(file("docs").join(page)).expect("the page")
}

/// The page that is seen first.
#[track_caller]
pub fn readme() -> String {
    fs::read_to_string(file("README.md")).expect("the page")
}

/// What stands between single backticks in a text, each on one line.
pub fn spans(text: &str) -> Vec<String> {
    let mut fenced = false;
    let prose: Vec<&str> = text
        .lines()
        .filter(|line| {
            let fence = line.trim_start().starts_with("```");
            fenced ^= fence;
            !fenced && !fence
        })
        .collect();
    let prose = prose.join("\n");
    let spans = prose.split('`').skip(1).step_by(2);
    spans
        .map(|span| span.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// A section of a page, by the beginning of its title.
#[track_caller]
pub fn section(page: &str, title: &str) -> String {
    let text = text(page);
    let from = text.find(&format!("\n## {title}")).expect("the section");
    let rest = &text[from + 1..];
    rest[..rest.find("\n## ").unwrap_or(rest.len())].to_owned()
}

/// Has shellcheck read commands that stand in no file.
#[track_caller]
pub fn shellchecked(what: &str, shell: &str) {
    let mut child = Command::new("shellcheck")
        .args(["--shell=sh", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("shellcheck");
    let mut stdin = child.stdin.take().expect("its stdin");
    stdin.write_all(shell.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{what}:\n{said}");
}

/// The language of a block that is none but for its margin of four.
pub const INDENTED: &str = "indented";

/// All blocks of a text, those of its lists too.
#[track_caller]
pub fn blocks_of(page: &str) -> Vec<Block> {
    let (mut blocks, mut section) = (Vec::new(), String::new());
    let mut open: Option<(Block, usize)> = None;
    let mut after_nothing = true;
    for line in page.lines().chain([""]) {
        let bare = line.trim_start();
        let margin = line.len() - bare.len();
        if let Some((mut block, its)) = open.take() {
            let ends = if block.language == INDENTED {
                margin < its
            } else {
                bare == "```" && margin == its
            };
            if !ends {
                block.text.extend([&line[its.min(margin)..], "\n"]);
                open = Some((block, its));
                continue;
            }
            blocks.push(block);
        } else if let Some(language) = bare.strip_prefix("```") {
            open = Some((Block::new(&section, language), margin));
        } else if after_nothing && margin >= 4 {
            let mut block = Block::new(&section, INDENTED);
            block.text.extend([&line[4..], "\n"]);
            open = Some((block, 4));
        } else if let Some(title) = line.strip_prefix("## ") {
            title.clone_into(&mut section);
        }
        after_nothing = line.is_empty();
    }
    assert!(open.is_none(), "a block without an end");
    blocks
}

/// Those of a section (by the beginning of its title) and a language; at least one.
#[track_caller]
pub fn of(page: &str, section: &str, language: &str) -> Vec<Block> {
    let all = blocks(page).into_iter();
    let found: Vec<Block> = all
        .filter(|block| block.section.starts_with(section) && block.language == language)
        .collect();
    assert!(!found.is_empty(), "no {language} in {section} of {page}");
    found
}

/// What YAML means.
#[track_caller]
pub fn yaml(text: &str) -> Value {
    let read = "import json, sys, yaml; json.dump(yaml.safe_load(sys.argv[1]), sys.stdout)";
    let output = Command::new("python3").args(["-c", read, text]).output();
    Ran::of(output.expect("python3")).ended(0).json()
}
