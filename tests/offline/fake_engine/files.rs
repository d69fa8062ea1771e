//! What the program does with a file that somebody named and that is none: it waits
//! for nobody, and replaces nothing. And with variables that do not read.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use secateur::cli::Cli;

use super::{Host, KIND};
use crate::support::{PROGRAM, Ran};

/// Every variable that names a file or folder, and what reads it.
const VARIABLES: [(&str, &str); 7] = [
    ("SECATEUR_POLICY", "plan"),
    ("SECATEUR_METRICS", "verify-cache"),
    ("STATE_DIRECTORY", "prune"),
    ("XDG_STATE_HOME", "prune"),
    ("HOME", "prune"),
    ("DOCKER_CONFIG", "plan"),
    ("SSL_CERT_FILE", "verify-cache"),
];

/// A run of this command where nothing is said twice: what `named` leaves out is
/// what a test host has.
fn run(host: &Host, command: &str, named: &[(&str, &Path)], variables: &[(&str, &OsStr)]) -> Ran {
    let mut program = Command::new(&*PROGRAM);
    program.env_clear().stdin(Stdio::null()).arg(command);
    let own = [
        ("--host", PathBuf::from(host.fake.host()), "DOCKER_"),
        ("--policy", host.secateur.policy_path(), "SECATEUR_POLICY"),
        ("--state-dir", host.secateur.state(), "STATE_"),
    ];
    for (option, value, variable) in &own {
        // Root's state folder is not below that one, and this host's own is not for tests.
        let unread = |name: &str| name == "XDG_STATE_HOME" && nix::unistd::geteuid().is_root();
        let given = named.iter().any(|(name, _)| name == option)
            || variables
                .iter()
                .any(|(name, _)| name.contains(variable.trim_end_matches('_')) && !unread(name));
        if !given {
            program.arg(option).arg(value);
        }
    }
    for (option, path) in named {
        program.arg(option).arg(path);
        // Alone it is an error of the command line.
        if *option == "--archive" {
            program.arg("--save");
        }
    }
    program.envs(variables.iter().copied());
    Ran::of(program.output().expect("the program runs"))
}

fn odd_files(dir: &Path) -> [PathBuf; 2] {
    let (fifo, zero) = (dir.join("fifo"), dir.join("zero"));
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo").success());
    symlink("/dev/zero", &zero).expect("a link");
    [fifo, zero]
}

#[track_caller]
fn untouched([fifo, zero]: &[PathBuf; 2], ran: &Ran) {
    let kind = fs::symlink_metadata(fifo).expect("it").file_type();
    assert!(kind.is_fifo(), "{ran:?}");
    assert_eq!(
        fs::read_link(zero).expect("it"),
        Path::new("/dev/zero"),
        "{ran:?}"
    );
}

#[test]
fn no_option_that_names_a_file_waits_for_a_fifo_or_reads_a_device() {
    let host = Host::of(KIND);
    let odd = odd_files(host.secateur.dir());
    let mut tried = Vec::new();
    let mut program = <Cli as clap::CommandFactory>::command();
    program.build();
    for command in program.get_subcommands() {
        for option in command.get_arguments() {
            let kinds = option.get_value_names().unwrap_or_default();
            if !kinds
                .iter()
                .any(|kind| ["FILE", "DIR"].contains(&kind.as_str()))
            {
                continue;
            }
            let name = format!("--{}", option.get_long().expect("a long name"));
            for path in &odd {
                let ran = run(&host, command.get_name(), &[(&name, path)], &[]);
                untouched(&odd, &ran);
                assert!(ran.code >= 0, "{name}: {ran:?}");
                // No run fails for its metrics; and no check needs credentials here.
                if !["--metrics", "--user-config"].contains(&name.as_str()) {
                    assert_ne!(ran.code, 0, "{name}: {ran:?}");
                }
                if name != "--user-config" {
                    let shown = path.to_str().expect("UTF-8");
                    let said = format!("{}{}", ran.stderr, ran.stdout);
                    let named = said.contains(shown) || said.contains("/dev/zero");
                    assert!(named, "{name}: {ran:?}");
                }
            }
            tried.push(name);
        }
    }
    for name in [
        "--inventory",
        "--plan",
        "--against",
        "--record",
        "--metrics",
        "--out",
    ] {
        assert!(tried.contains(&name.to_owned()), "{name}: {tried:?}");
    }
}

#[test]
fn no_variable_that_names_a_file_waits_for_a_fifo_or_reads_a_device() {
    let host = Host::of(KIND);
    let odd = odd_files(host.secateur.dir());
    for (variable, command) in VARIABLES {
        for path in &odd {
            let mut value = path.clone();
            if variable == "DOCKER_CONFIG" {
                value = host
                    .secateur
                    .dir()
                    .join(path.file_name().expect("a name"))
                    .with_extension("docker");
                fs::create_dir(&value).expect("a folder");
                fs::rename(path, value.join("config.json")).expect("moved");
            }
            let ran = run(&host, command, &[], &[(variable, value.as_os_str())]);
            assert!(ran.code >= 0, "{variable}: {ran:?}");
            if variable == "DOCKER_CONFIG" {
                fs::rename(value.join("config.json"), path).expect("moved");
            }
            untouched(&odd, &ran);
        }
    }
}

#[test]
fn a_variable_that_is_no_text_is_an_error_that_names_it_and_never_unset() {
    let host = Host::of(KIND);
    let odd = OsString::from_vec(b"unix:///run/\xff.sock".to_vec());
    for (variable, command) in [
        ("DOCKER_HOST", "prune"),
        ("DOCKER_CONTEXT", "prune"),
        ("DOCKER_HOST", "plan"),
        ("DOCKER_CONTEXT", "verify-cache"),
    ] {
        let ran = run(&host, command, &[], &[(variable, &odd)]).ended(2);
        let wanted = format!("{variable} is not UTF-8");
        assert!(ran.stderr.contains(&wanted), "{ran:?}");
    }
}

#[test]
fn a_saved_host_and_a_baseline_may_be_anybodys() {
    let host = Host::of(KIND);
    let folder = host.secateur.dir().join("anybodys");
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("its mode");
    for (command, saves, reads) in [
        ("plan", "--save-inventory", "--inventory"),
        ("verify-cache", "--record", "--against"),
    ] {
        let file = folder.join(command);
        let saved = run(&host, command, &[(saves, &file)], &[]);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("its mode");
        let read = run(&host, command, &[(reads, &file)], &[]);
        // 1: on a disk that does not last.
        assert!(saved.code <= 1 && read.code == saved.code, "{read:?}");
    }
}

#[test]
fn a_saved_host_shows_no_control_or_bidi_character_and_loses_nothing() {
    let host = Host::of(KIND);
    let nasty = "a\u{1b}[2J\u{9b}\u{202e}\u{7f}";
    host.fake
        .world(|world| world.images[0]["Labels"]["nasty"] = nasty.into());
    let saved = host.secateur.dir().join("host.json");
    run(&host, "plan", &[("--save-inventory", &saved)], &[]).ended(0);
    let text = fs::read_to_string(&saved).expect("UTF-8");
    let raw = |ch: char| ch != '\n' && (ch.is_control() || ch == '\u{202e}');
    assert!(!text.chars().any(raw), "{text:?}");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!(json.to_string().contains("\u{202e}"), "{json}");
    run(&host, "plan", &[("--inventory", &saved)], &[]).ended(0);
}
