//! The generated files of the repository are up to date and complete. tests/offline/manual.rs
//! gives them to the programs that read them.

use std::path::Path;

use clap::{Arg, Command, CommandFactory};
use clap_complete::Shell;
use serde_json::Value;

use crate::cli::args::Cli;
use crate::cli::manual::words::{EXITS, FURTHER};
use crate::cli::manual::{policy_page, program_page};
use crate::cli::read::brief;
use crate::policy::document::{Part, sections};
use crate::policy::schema::schema;

/// Every file that is made, with its path in the repository.
fn files() -> Vec<(&'static str, String)> {
    let schema = serde_json::to_string_pretty(&schema());
    vec![
        ("docs/man/secateur.1", program_page::page()),
        ("docs/man/secateur-policy.5", policy_page::page()),
        ("config/completions/secateur.bash", completion(Shell::Bash)),
        ("config/completions/_secateur", completion(Shell::Zsh)),
        ("config/completions/secateur.fish", completion(Shell::Fish)),
        (
            "config/policy.schema.json",
            schema.expect("a schema is JSON") + "\n",
        ),
    ]
}

fn completion(shell: Shell) -> String {
    let mut written = Vec::new();
    let mut command = Cli::command();
    clap_complete::generate(shell, &mut command, "secateur", &mut written);
    String::from_utf8(written).expect("a completion is UTF-8")
}

#[test]
fn the_files_of_the_manual_are_what_the_program_says_now() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut stale = Vec::new();
    for (name, made) in files() {
        let path = root.join(name);
        if std::env::var_os("UPDATE_MANUAL").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, made).unwrap();
        } else if std::fs::read_to_string(&path).unwrap_or_default() != made {
            stale.push(name);
        }
    }
    assert!(
        stale.is_empty(),
        "not what the program says now: {stale:?}; run UPDATE_MANUAL=1 cargo test --lib manual and read the difference"
    );
}

#[test]
fn every_exit_code_is_in_the_manual_and_in_the_order_of_its_number() {
    let codes: Vec<u8> = EXITS.iter().map(|exit| *exit as u8).collect();
    assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
    let source = include_str!("../../exit.rs");
    let variants = source.lines().filter_map(|line| {
        let (_, number) = line.strip_suffix(',')?.split_once(" = ")?;
        number.parse::<u8>().ok()
    });
    assert_eq!(codes, variants.collect::<Vec<_>>());
}

/// The program and each of its commands, as `--help` finds them.
fn commands() -> Vec<Command> {
    let mut program = Cli::command().term_width(80);
    program.build();
    let subs: Vec<Command> = program.get_subcommands().cloned().collect();
    [program].into_iter().chain(subs).collect()
}

/// What the program says when it is asked for help on one of these.
fn shown(program: Command, command: &str, option: &str) -> String {
    let program = program.term_width(80);
    let words = [command, option].into_iter();
    let words = words.filter(|word| *word != "secateur");
    let asked = program.try_get_matches_from(["secateur"].into_iter().chain(words));
    asked.expect_err("help").render().to_string()
}

#[test]
fn every_help_is_short_narrow_and_has_examples() {
    for command in commands() {
        let name = command.get_name().to_owned();
        let most = if name == "verify-cache" { 44 } else { 31 };
        let after = command.get_after_help().expect("examples").to_string();
        assert!(
            after.starts_with("Examples:\n  secateur "),
            "{name}: {after}"
        );
        let help = shown(Cli::command(), &name, "--help");
        let lines: Vec<&str> = help.lines().collect();
        assert!(lines.len() <= most, "{name}: {} lines\n{help}", lines.len());
        for line in &lines {
            assert!(line.chars().count() <= 80, "{name}: too wide: {line}");
            assert_eq!(*line, line.trim_end(), "{name}: blanks at the end");
        }
        // Text that is too wide was wrapped, so it is not found as it was written.
        for line in after.lines() {
            assert!(lines.contains(&line), "{name}: broken: {line}");
        }
        for about in command.get_arguments().filter_map(Arg::get_help) {
            let about = about.to_string();
            assert!(help.contains(&about), "{name}: broken: {about}");
        }
    }
}

/// A terminal has 24 lines, and one of them is the prompt's.
#[test]
fn every_short_help_fits_a_terminal_and_names_what_a_person_needs_first() {
    for name in ["secateur", "plan", "prune", "verify-cache"] {
        let help = shown(brief(), name, "-h");
        let lines = help.lines().count();
        assert!(lines <= 23, "{name}: {lines} lines\n{help}");
        assert!(
            help.lines().all(|line| line.chars().count() <= 80),
            "{help}"
        );
        assert!(help.contains("-h, --help"), "{help}");
        assert!(
            help.contains("--help: every option, and examples"),
            "{help}"
        );
    }
    let help = shown(brief(), "verify-cache", "-h");
    for option in [
        "--record",
        "--against",
        "--registry",
        "--redeploy",
        "--deep",
    ] {
        assert!(help.contains(option), "{option}: {help}");
    }
    // Hidden from this help alone.
    let typed = [
        "secateur",
        "verify-cache",
        "--strict",
        "--redeploy",
        "--follow",
    ];
    assert!(brief().try_get_matches_from(typed).is_ok());
}

#[test]
fn what_the_manual_adds_is_said_of_arguments_that_there_are() {
    let commands = commands();
    for (command, argument, _) in FURTHER {
        let command = commands.iter().find(|found| found.get_name() == *command);
        let mut all = command.expect("a command").get_arguments();
        assert!(all.any(|arg| arg.get_id() == *argument), "{argument}");
    }
    // --help and the page would say different things.
    for arg in commands.iter().flat_map(Command::get_arguments) {
        assert!(arg.get_long_help().is_none(), "{}", arg.get_id());
    }
}

#[test]
fn every_key_of_the_policy_has_its_words_in_the_shipped_file() {
    fn walk(path: &str, at: &Value, bare: &mut Vec<String>) {
        if !path.is_empty() && !at["description"].is_string() {
            bare.push(path.to_owned());
        }
        let inner = if at["type"] == "array" {
            &at["items"]
        } else {
            at
        };
        for (name, at) in inner["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{name}"), at, bare);
        }
    }
    let mut bare = Vec::new();
    walk("", &schema(), &mut bare);
    assert!(
        bare.is_empty(),
        "without a comment in config/policy.toml: {bare:?}"
    );
}

#[test]
fn a_comment_is_text_and_an_indented_line_stands_as_it_is() {
    let read =
        sections("# About.\n\n# Of s.\n[s]\n# One\n# two:\n#   a  b\n# three\n# k = 1\nk = 2\n");
    let key = &read.sections[0].keys[0];
    let text = |text: &str| Part::Text(text.to_owned());
    assert_eq!(
        key.doc.parts(),
        [
            text("One two:"),
            Part::Literal("a  b".into()),
            text("three")
        ]
    );
    assert_eq!(key.value.as_deref(), Some("2"));
    assert_eq!(key.example.as_deref(), Some("1"));
    assert_eq!(read.intro.text(), "About.");
}
