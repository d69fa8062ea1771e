//! The files of the manual, before those who will read them: man and mandoc, three shells, and an
//! editor's view of the policy. That they are fresh is a unit test (src/cli/manual).

use std::io::Write;
use std::process::{Command, Stdio};

use secateur::policy::{DEFAULT, Policy};
use serde_json::{Value, json};

const PAGES: [&str; 2] = ["docs/man/secateur.1", "docs/man/secateur-policy.5"];

/// What a command says, on both of its outputs; it must succeed.
#[track_caller]
fn output(command: &mut Command) -> String {
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn mandoc_and_man_find_nothing_to_say_about_the_pages() {
    for page in PAGES {
        let said = output(Command::new("sh").args([
            "-c",
            // mandoc ends with 2 where it warned; what it said is judged here.
            "mandoc -T lint -W warning \"$0\" || :",
            page,
        ]));
        // The same sources must give the same page.
        let wrong: Vec<&str> = said
            .lines()
            .filter(|line| !line.contains("missing date"))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        let shown = output(
            Command::new("man")
                .args(["--warnings", "-l", page])
                .env("MANWIDTH", "80")
                .env("LC_ALL", "C.UTF-8"),
        );
        assert!(!shown.contains("warning"), "{shown}");
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_pages_name_every_option_and_every_key() {
    let page = |page| {
        let shown = output(Command::new("sh").args(["-c", "man -l \"$0\" | col -bx", page]));
        shown.replace('\u{2010}', "-")
    };
    let secateur = page(PAGES[0]);
    for command in ["plan", "prune", "verify-cache"] {
        let help = output(Command::new(env!("CARGO_BIN_EXE_secateur")).args([command, "--help"]));
        let options: Vec<&str> = help
            .split_whitespace()
            .filter(|word| word.starts_with("--") && word.len() > 2)
            .map(|word| word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()))
            .collect();
        assert!(options.contains(&"--policy"), "{help}");
        for option in options {
            assert!(secateur.contains(option), "{option} of {command}");
        }
    }
    let policy = page(PAGES[1]);
    let keys = DEFAULT
        .lines()
        .filter_map(|line| line.trim_start_matches("# ").split_once(" = "));
    for (key, _) in keys.filter(|(key, _)| !key.contains(' ')) {
        assert!(policy.contains(&format!("{key} = ")), "{key}: {policy}");
    }
}

/// What bash offers after these words; the last is the one that is being typed.
fn bash(words: &[&str]) -> Vec<String> {
    let script = r#"
        source config/completions/secateur.bash
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
        _secateur secateur "${@: -1}" "${*: -2:1}"
        ((!${#COMPREPLY[@]})) || printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let said = output(
        Command::new("bash")
            .args(["-c", script, "bash"])
            .args(words),
    );
    said.lines().map(str::to_owned).collect()
}

/// What fish offers for a line, without the words about each.
fn fish(line: &str) -> Vec<String> {
    let script = "source config/completions/secateur.fish; complete -C $argv[1]";
    // It writes below its home, whatever it is asked to do.
    let home = tempfile::tempdir().expect("a folder");
    let said = output(
        Command::new("fish")
            .args(["--no-config", "-c", script, line])
            .env("HOME", home.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_CACHE_HOME"),
    );
    let offered = said.lines().map(|line| line.split('\t').next());
    offered.flatten().map(str::to_owned).collect()
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn bash_and_fish_complete_commands_options_and_values() {
    assert_eq!(bash(&["secateur", "pl"]), ["plan"]);
    assert_eq!(bash(&["secateur", "verify-cache", "--ag"]), ["--against"]);
    assert_eq!(bash(&["secateur", "plan", "--format", "j"]), ["json"]);
    assert!(bash(&["secateur", "prune", "--ag"]).is_empty());
    assert_eq!(fish("secateur pl"), ["plan"]);
    assert_eq!(fish("secateur verify-cache --ag"), ["--against"]);
    assert_eq!(fish("secateur plan --format j"), ["json"]);
    assert!(fish("secateur prune --ag").is_empty());
    // A file is offered where an option wants one.
    let offered = fish("secateur plan --policy config/pol");
    assert!(
        offered.contains(&"config/policy.toml".into()),
        "{offered:?}"
    );
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn zsh_reads_its_completion() {
    let script = r"
        autoload -U compinit && compinit -D -u
        source config/completions/_secateur
        [[ $_comps[secateur] == _secateur ]] && whence -w _secateur_commands
    ";
    let said = output(Command::new("zsh").args(["-f", "-c", script]));
    assert!(said.contains("_secateur_commands: function"), "{said}");
}

/// Policies that both the program and an editor refuse.
const WRONG: &[&str] = &[
    "[age]\nmin_age = \"1d\"\n[keep]\nimages = [\"redis:.*\"]",
    "[age]\nmin_age = \"1d\"\n[keep]\nimages = [\"https://ghcr.io/acme/*\"]",
    "[age]\nmin_age = \"1d\"\n[keep]\nimages = [\"sha256:abc\"]",
    "[age]\nmin_age = \"1d\"\n[keep]\nimages = [\"0123456789ab\"]",
    "",
    "[age]",
    "[age]\nmin_age = 14",
    "[age]\nmin_age = \"0d\"",
    "[age]\nmin_age = \"-1d\"",
    "[age]\nmin_age = \"14 dyas\"",
    "[age]\nmin_age = \"14\"",
    "[age]\nmin_agee = \"14d\"",
    "[age]\nmin_age = \"1d\"\ndigest_pinned = \"kep\"",
    "[age]\nmin_age = \"1d\"\ndigest_pinned = true",
    "[age]\nmin_age = \"1d\"\n[dsk]",
    "[age]\nmin_age = \"1d\"\n[disk]\nstart_abov_percent = 3",
    "[age]\nmin_age = \"1d\"\n[disk]\nstart_above_percent = 101",
    "[age]\nmin_age = \"1d\"\n[disk]\nstart_above_percent = -1",
    "[age]\nmin_age = \"1d\"\n[disk]\nstart_above_percent = \"85\"",
    "[age]\nmin_age = \"1d\"\n[disk]\nmin_free = \"10 bananas\"",
    "[age]\nmin_age = \"1d\"\n[disk]\nmin_free = 10",
    "[age]\nmin_age = \"1d\"\n[limits]\nmax_images = 0",
    "[age]\nmin_age = \"1d\"\n[limits]\nmax_images = -1",
    "[age]\nmin_age = \"1d\"\n[limits]\nmax_fraction = 0.0",
    "[age]\nmin_age = \"1d\"\n[limits]\nmax_fraction = 1.1",
    "[age]\nmin_age = \"1d\"\n[limits]\nmax_run = \"0s\"",
    "[age]\nmin_age = \"1d\"\n[keep]\nprevious = 1.5",
    "[age]\nmin_age = \"1d\"\n[keep]\nprevious = -1",
    "[age]\nmin_age = \"1d\"\n[keep]\nimages = \"postgres:16\"",
    "[age]\nmin_age = \"1d\"\n[keep]\nimages = [\"NOT ok\"]",
    "[age]\nmin_age = \"1d\"\n[keep]\nimages = [\"acme/* \"]",
    "[age]\nmin_age = \"1d\"\n[keep]\nlabels = [\"=x\"]",
    "[age]\nmin_age = \"1d\"\n[keep]\nlabels = [\"\"]",
    "[age]\nmin_age = \"1d\"\n[guard]\npulls = \"maybe\"",
    "[age]\nmin_age = \"1d\"\n[guard]\nalert_after = \"soon\"",
    "[age]\nmin_age = \"1d\"\n[guard.lock]\npath = \"/run/x\"",
    "[age]\nmin_age = \"1d\"\n[[guard.lock]]\nkind = \"flock\"",
    "[age]\nmin_age = \"1d\"\n[[guard.lock]]\npath = \"run/x\"",
    "[age]\nmin_age = \"1d\"\n[[guard.lock]]\npath = \"/run/*/x\"",
    "[age]\nmin_age = \"1d\"\n[[guard.lock]]\npath = \"/run/x\"\nkind = \"lockf\"",
    "[age]\nmin_age = \"1d\"\n[engine]\ndata_root = \"var/lib/docker\"",
    "[age]\nmin_age = \"1d\"\n[cache]\nimages = [\"ghcr.io/acme/*\"]",
    "[age]\nmin_age = \"1d\"\n[cache]\nimages = [\"app@sha256:1234\"]",
    "[age]\nmin_age = \"1d\"\n[retain]\nimages = [\"a:1\"]\nprevious = 2",
    "[age]\nmin_age = \"1d\"\n[[retain]]\nprevious = 2",
    "[age]\nmin_age = \"1d\"\n[[retain]]\nimages = []\nprevious = 2",
    "[age]\nmin_age = \"1d\"\n[[retain]]\nimages = [\"redis:.*\"]\nprevious = 2",
    "[age]\nmin_age = \"1d\"\n[[retain]]\nimages = [\"a:1\"]\nmin_age = \"soon\"",
    "[age]\nmin_age = \"1d\"\n[[retain]]\nimages = [\"a:1\"]\ndigest_pinned = \"kep\"",
    "[age]\nmin_age = \"1d\"\n[cache]\nlists = [\"base.list\"]",
    "[age]\nmin_age = \"1d\"\n[cache]\nlists = [\"/etc/*/base.list\"]",
    "[age]\nmin_age = \"1d\"\n[cache]\nrecent = \"soon\"",
    "[age]\nmin_age = \"1d\"\n[cache]\nnever = [\"redis:.*\"]",
    "[age]\nmin_age = \"1d\"\n[room]\ncrit_percent = 101",
    "[age]\nmin_age = \"1d\"\n[room]\nwarn = 80",
    "age = \"14d\"",
];

/// Policies that both take.
const RIGHT: &[&str] = &[
    DEFAULT,
    "[age]\nmin_age = \"14d\"",
    "[age]\nmin_age = \"1h 30m\"\ndigest_pinned = \"2 weeks\"",
    "[age]\nmin_age = \"1.5M\"",
    "[age]\nmin_age = \"1d\"\n[disk]\nstart_above_percent = 84.5\nstop_below_percent = 0",
    "[age]\nmin_age = \"1d\"\n[disk]\nmin_free = \"1.5 GB\"",
    "[age]\nmin_age = \"1d\"\n[disk]\nmin_free = \"1073741824\"",
    "[age]\nmin_age = \"1d\"\n[disk]\nmin_free = \"10g\"",
    "[age]\nmin_age = \"1d\"\n[limits]\nmax_images = 1\nmax_fraction = 1",
    "[age]\nmin_age = \"1d\"\n[keep]\nprevious = 0\nlabels = [\"a\", \"b=\", \"c=d=e\"]",
    "[age]\nmin_age = \"1d\"\n[keep]\nimages = [\"*\", \"acme/*\", \"localhost:5000/a/b__c:V-1\", \"[::1]:5000/x\", \"redis:7.*\", \"[::1]:5000*\", \"cafe\", \"docker.io/library/0123456789ab\"]",
    "[age]\nmin_age = \"1d\"\n[[guard.lock]]\npath = \"/a b/lock-*\"\n[[guard.lock]]\npath = \"/x\"\nkind = \"exists\"",
    "[age]\nmin_age = \"1d\"\n[guard]\npulls = \"best-effort\"\n[engine]\ndata_root = \"/host/var/lib/docker\"",
    "[age]\nmin_age = \"1d\"\n[[retain]]\nimages = [\"acme/*\", \"a:1\"]\nmin_age = \"1d\"\nprevious = 2\ndigest_pinned = \"keep\"\n[[retain]]\nimages = [\"b\"]\nprevious = 1",
    "[age]\nmin_age = \"1d\"\n[cache]\nlists = [\"/etc/secateur/cache.d/*.list\", \"/a\"]\nrecent = \"120d\"\nnever = [\"*:pr-*\"]",
    "[age]\nmin_age = \"1d\"\n[room]\nwarn_percent = 0\ncrit_percent = 99.5",
    "[age]\nmin_age = \"1d\"\n[cache]\nimages = [\"postgres\", \"Registry.example/a:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"]",
];

/// Policies that only the program can refuse: what a schema cannot say.
const ONLY_THE_PROGRAM: &[&str] = &[
    "[age]\nmin_age = \"1d\"\n[disk]\nstart_above_percent = 70\nstop_below_percent = 71",
    "[age]\nmin_age = \"1d\"\n[disk]\nstart_above_percent = 70",
    "[age]\nmin_age = \"99999999999999999y\"",
    "[age]\nmin_age = \"1d\"\n[keep]\nimages = [\"redis:[0-9]*\"]",
    "[age]\nmin_age = \"1d\"\n[keep]\nimages = [\"ghcr.io/Acme/*\"]",
    "[age]\nmin_age = \"2d\"\n[[retain]]\nimages = [\"a:1\"]\nmin_age = \"1d\"",
    "[age]\nmin_age = \"1d\"\n[[retain]]\nimages = [\"a:1\"]\ndigest_pinned = \"9d\"",
    "[age]\nmin_age = \"1d\"\n[[retain]]\nimages = [\"a:1\"]",
    "[age]\nmin_age = \"1d\"\n[room]\nwarn_percent = 90\ncrit_percent = 80",
    "[age]\nmin_age = \"1d\"\n[cache]\nrecent = \"121d\"",
    "[age]\nmin_age = \"1d\"\n[cache]\nimages = [\"app:pr-7\"]\nnever = [\"*:pr-*\"]",
];

/// Judges documents by the schema, with somebody else's validator.
const VALIDATE: &str = "
import json, sys
from jsonschema import Draft7Validator
given = json.load(sys.stdin)
Draft7Validator.check_schema(given['schema'])
validator = Draft7Validator(given['schema'])
json.dump([[e.message for e in validator.iter_errors(one)] for one in given['documents']], sys.stdout)
";

/// What an editor would say of each policy.
fn editor(policies: &[&str]) -> Vec<Vec<String>> {
    let schema = include_str!("../../config/policy.schema.json");
    let schema: Value = serde_json::from_str(schema).expect("JSON");
    let documents: Vec<Value> = policies
        .iter()
        .map(|text| toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}")))
        .collect();
    let mut python = Command::new("python3")
        .args(["-c", VALIDATE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let given = json!({"schema": schema, "documents": documents}).to_string();
    let mut stdin = python.stdin.take().expect("piped");
    stdin.write_all(given.as_bytes()).expect("it reads");
    drop(stdin);
    let output = python.wait_with_output().expect("its end");
    serde_json::from_slice(&output.stdout).expect("python3-jsonschema answers")
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_editor_and_the_program_agree_on_what_a_policy_is() {
    let program = |text: &&str| Policy::parse(text, "test").map_err(|error| error.to_string());
    for (text, said) in WRONG.iter().zip(editor(WRONG)) {
        assert!(program(text).is_err(), "the program takes {text:?}");
        assert!(!said.is_empty(), "the schema takes {text:?}");
    }
    for (text, said) in RIGHT.iter().zip(editor(RIGHT)) {
        program(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert!(said.is_empty(), "the schema refuses {text:?}: {said:?}");
    }
    for (text, said) in ONLY_THE_PROGRAM.iter().zip(editor(ONLY_THE_PROGRAM)) {
        assert!(program(text).is_err(), "the program takes {text:?}");
        assert!(
            said.is_empty(),
            "the schema can say this: move it up: {text:?}"
        );
    }
}
