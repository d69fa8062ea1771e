//! What plan, prune and verify-cache show on a terminal of 80 or 60 columns, with colours and
//! without, and what a pipe gets: `head`, `less`, journalctl.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use nix::pty::{Winsize, openpty};

use super::{Host, KIND};
use crate::support::EAGER;

const COMMANDS: [&[&str]; 3] = [
    &["plan", "--top", "30", "-v"],
    &["prune", "-v"],
    &["verify-cache", "gone:1", "gone:2", "-v"],
];

/// The answer of each of them.
const ANSWERS: [&str; 3] = ["would remove ", "removed ", "broken: "];

fn host() -> Host {
    let host = Host::of(KIND);
    // With both thresholds there is a bar.
    let text = EAGER
        .replace("start_above_percent = 0", "start_above_percent = 0.1")
        .replace("stop_below_percent = 0", "stop_below_percent = 0.1");
    host.secateur.policy(&text);
    host
}

fn command(host: &Host, args: &[&str]) -> Command {
    let mut command = host.secateur.command(args);
    for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(variable);
    }
    command.env("TERM", "xterm");
    command
}

/// What a terminal of so many columns and 24 lines gets.
fn on_terminal(mut command: Command, columns: u16) -> String {
    let size = Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let ends = openpty(Some(&size), None).expect("a terminal");
    let mut run = command
        .stdout(ends.slave)
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    // It has the other end.
    drop(command);
    let mut shown = Vec::new();
    // A terminal ends with an error when nobody has it any more.
    let _ = File::from(ends.master).read_to_end(&mut shown);
    run.wait().expect("its end");
    String::from_utf8(shown).expect("UTF-8")
}

/// Without escape sequences, as the terminal shows it.
fn plain(shown: &str) -> String {
    let mut parts = shown.split("\u{1b}[");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text += part.split_once('m').expect("a style").1;
    }
    text.replace("\r\n", "\n")
}

#[test]
fn on_a_terminal_of_80_or_60_columns_no_line_is_broken_and_the_last_screen_has_the_answer() {
    for columns in [80, 60] {
        for (args, answer) in COMMANDS.into_iter().zip(ANSWERS) {
            let shown = plain(&on_terminal(command(&host(), args), columns));
            for line in shown.lines() {
                // A command to copy is not broken.
                let fits = line.chars().count() <= usize::from(columns) || line.contains("-> ");
                assert!(fits, "{args:?} {columns}: {line}");
            }
            let last: Vec<&str> = shown.lines().rev().take(23).collect();
            let answered = last.iter().any(|line| line.starts_with(answer));
            assert!(answered, "{args:?} {columns}:\n{shown}");
        }
    }
}

#[test]
fn a_terminal_has_colours_unless_they_are_not_wanted_and_a_bar_either_way() {
    for args in COMMANDS {
        let styled = on_terminal(command(&host(), args), 80);
        let host = host();
        let mut colourless = command(&host, args);
        colourless.env("NO_COLOR", "1");
        let colourless = on_terminal(colourless, 80);
        assert!(styled.contains("\u{1b}["), "{args:?}: {styled}");
        assert!(!colourless.contains('\u{1b}'), "{args:?}: {colourless}");
        if args[0] != "verify-cache" {
            assert!(
                styled.contains("        [\u{1b}[1m\u{1b}[31m"),
                "{styled:?}"
            );
            assert!(colourless.contains("  start > 0.1 %"), "{colourless:?}");
        }
    }
}

#[test]
fn a_pipe_gets_plain_text_of_80_columns_and_head_may_go_away() {
    for args in COMMANDS {
        let host = host();
        let whole = command(&host, args).output().expect("it runs");
        let whole = String::from_utf8(whole.stdout).expect("UTF-8");
        // As less and mail get it.
        assert!(!whole.contains('\u{1b}'), "{args:?}: {whole}");
        assert!(whole.lines().count() > 3, "{args:?}: {whole}");
        let mut typed = host.secateur.typed("\"$@\" | head -n 1");
        let program = command(&host, args);
        typed
            .arg("bash")
            .arg(program.get_program())
            .args(program.get_args());
        let ran = typed.output().expect("bash runs");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(!said.contains("error"), "{args:?}: {said}");
        let first = String::from_utf8(ran.stdout).expect("UTF-8");
        assert_eq!(first.lines().count(), 1, "{args:?}: {first}");
        let code = i32::from(args[0] == "verify-cache");
        assert_eq!(ran.status.code(), Some(code), "{args:?}");
    }
}

/// Where the journal cannot be reached by its socket, it reads the report line by line.
#[test]
fn journalctl_shows_no_escapes() {
    for args in COMMANDS {
        let host = host();
        let path = host.secateur.dir().join("stream");
        let stream = File::create(&path).expect("a file");
        let of = stream.metadata().expect("its number");
        let mut command = command(&host, args);
        command
            .env("JOURNAL_STREAM", format!("{}:{}", of.dev(), of.ino()))
            .env("CLICOLOR", "1")
            .stdout(stream)
            .stderr(Stdio::null());
        command.status().expect("it runs");
        let shown = std::fs::read_to_string(path).expect("the report");
        assert!(!shown.contains('\u{1b}'), "{args:?}: {shown}");
        assert!(shown.lines().count() > 3, "{args:?}: {shown}");
    }
}
