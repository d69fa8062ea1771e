//! The picture of the README is a run that docs/first-five-minutes.md has recorded, and which
//! a test there compares with what the program says. To draw it anew, and look at it:
//! UPDATE_PICTURE=1 cargo test --test offline picture

use std::fmt::Write as _;
use std::fs;

use crate::support::page;

/// What the recording says before the run that is drawn.
const BEFORE: &str = "# What has no name is known by the one that it had.\n";

/// Pixels of a line and of a character.
const LINE: usize = 18;
const CHARACTER: f64 = 8.4;

/// The command and what it said.
fn recorded() -> String {
    let text = page::text("first-five-minutes.md");
    let (_, run) = text.split_once(BEFORE).expect("the run");
    let (run, _) = run.split_once("\n\n# ").expect("its end");
    assert!(run.starts_with("$ secateur plan\n"), "{run}");
    run.to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn part(class: &str, text: &str) -> String {
    format!("<tspan class=\"{class}\">{}</tspan>", escaped(text))
}

/// Coloured as on a terminal, as far as the text shows it.
fn line(text: &str) -> String {
    if text.starts_with("$ ") || text.starts_with("would remove ") || text.starts_with("kept ") {
        return part("head", text);
    }
    let used = text.rfind('#').filter(|_| text.starts_with("        ["));
    match used {
        Some(last) => {
            let (lead, bar) = text[..=last].split_at("        [".len());
            let rest = escaped(&text[last + 1..]);
            format!("{lead}{}{rest}", part("full", bar))
        }
        None => escaped(text),
    }
}

fn drawn(run: &str) -> String {
    let lines = run.lines().count();
    let (width, height) = ((82.0 * CHARACTER).ceil(), (lines + 2) * LINE);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         role=\"img\" aria-label=\"secateur plan in a terminal\">\n<style>\
         text{{font:14px monospace;fill:#ddd;white-space:pre}}.head{{font-weight:bold;fill:#fff}}\
         .full{{fill:#f66;font-weight:bold}}</style>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#1c1c1c\"/>\n"
    );
    for (number, text) in run.lines().enumerate() {
        let y = (number + 2) * LINE - 4;
        let _ = writeln!(
            svg,
            "<text x=\"8\" y=\"{y}\" xml:space=\"preserve\">{}</text>",
            line(text)
        );
    }
    svg + "</svg>\n"
}

#[test]
fn the_picture_of_the_readme_is_the_run_that_was_recorded() {
    let drawn = drawn(&recorded());
    let path = page::file("docs/plan.svg");
    if std::env::var_os("UPDATE_PICTURE").is_some() {
        fs::write(&path, &drawn).expect("the picture");
    }
    let picture = fs::read_to_string(&path).unwrap_or_default();
    assert!(picture == drawn, "draw it anew? {drawn}");
    let readme = fs::read_to_string(page::file("README.md")).expect("README.md");
    let (first, _) = readme.split_once("\n## Install").expect("Install");
    assert!(first.contains("](docs/plan.svg)"), "on its first screen");
}
