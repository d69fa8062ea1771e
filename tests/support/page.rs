//! The project's pages and examples, as somebody copies from them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::Ran;

/// A fenced block of a page.
#[derive(Debug)]
pub struct Block {
    pub section: String,
    pub language: String,
    pub text: String,
}

/// A file of the project.
pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// All blocks of a page of docs/.
#[track_caller]
pub fn blocks(page: &str) -> Vec<Block> {
    blocks_of(&fs::read_to_string(file("docs").join(page)).expect("the page"))
}

/// All blocks of a text.
#[track_caller]
pub fn blocks_of(page: &str) -> Vec<Block> {
    let (mut blocks, mut section) = (Vec::new(), String::new());
    let mut open: Option<Block> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(language), None) => {
                open = Some(Block {
                    section: section.clone(),
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
            (None, Some(block)) => block.text.extend([line, "\n"]),
            (None, None) => {
                if let Some(title) = line.strip_prefix("## ") {
                    title.clone_into(&mut section);
                }
            }
        }
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
