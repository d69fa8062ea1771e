//! Which engine a docker context leads to, through the program: $DOCKER_CONTEXT, what
//! config.json names, and what is wrong with either.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

use super::{Host, KIND};
use crate::support::{PROGRAM, Ran};

/// A folder of docker's own with this config.json, in which the context `lab` leads to
/// the host's engine and `odd` has this description.
fn docker(host: &Host, config: Option<&[u8]>, odd: &str) -> PathBuf {
    let folder = host.secateur.dir().join("docker");
    let lab = serde_json::json!({"Name": "lab", "Metadata": {},
        "Endpoints": {"docker": {"Host": host.fake.host(), "SkipTLSVerify": false}}});
    for (name, meta) in [("lab", lab.to_string()), ("odd", odd.to_owned())] {
        let hash = format!("{:x}", Sha256::digest(name));
        let context = folder.join("contexts/meta").join(hash);
        fs::create_dir_all(&context).expect("a folder");
        fs::write(context.join("meta.json"), meta).expect("a context");
    }
    if let Some(config) = config {
        fs::write(folder.join("config.json"), config).expect("config.json");
    }
    folder
}

/// A plan without `--host`; and whether the host's engine was asked for it.
fn plan(host: &Host, docker: &Path, context: Option<&str>) -> (Ran, bool) {
    let mut command = Command::new(&*PROGRAM);
    command
        .arg("--policy")
        .arg(host.secateur.policy_path())
        .arg("--state-dir")
        .arg(host.secateur.state())
        .arg("plan")
        .env_remove("DOCKER_HOST")
        .env_remove("DOCKER_CONTEXT")
        .env("DOCKER_CONFIG", docker);
    if let Some(context) = context {
        command.env("DOCKER_CONTEXT", context);
    }
    let before = host.fake.seen().len();
    let ran = Ran::of(command.output().expect("the program runs"));
    (ran, host.fake.seen().len() > before)
}

#[test]
fn the_engine_is_the_one_of_the_context_that_the_environment_or_else_config_json_names() {
    let host = Host::of(KIND);
    for (config, context) in [
        (&br#"{"currentContext":"lab"}"#[..], None),
        (br#"{"CURRENTCONTEXT":"lab","auths":1} and more"#, None),
        (br#"{"currentContext":"gone"}"#, Some("lab")),
        (b"\xff damaged", Some("lab")),
    ] {
        let folder = docker(&host, Some(config), "");
        let (ran, asked) = plan(&host, &folder, context);
        assert!(asked, "{ran:?}");
        assert!(!ran.ended(0).stderr.contains("context"));
    }
}

#[test]
fn a_config_json_that_does_not_read_is_a_warning_and_never_an_error_of_the_command_line() {
    let host = Host::of(KIND);
    let texts: [(&[u8], Option<&str>); 6] = [
        (
            b"\xef\xbb\xbf{\"currentContext\":\"lab\"}",
            Some("it is no JSON from line 1"),
        ),
        (b"{\"currentContext\":", Some("it ends too early")),
        (b"[]", Some("it is no JSON object")),
        (b"{\"currentContext\":1}", Some("currentContext is no text")),
        (b"", None),
        (b"{}", None),
    ];
    let warned = |ran: &Ran, why: Option<&str>| {
        let default = "the docker context is the default one";
        assert_eq!(ran.stderr.contains(default), why.is_some(), "{ran:?}");
        assert!(ran.stderr.contains(why.unwrap_or_default()), "{ran:?}");
        // On a machine with an engine of its own, that is the default one.
        assert!([0, 69].contains(&ran.code), "{ran:?}");
    };
    for (text, why) in texts {
        let folder = docker(&host, Some(text), "");
        let (ran, asked) = plan(&host, &folder, None);
        assert!(!asked, "{ran:?}");
        warned(&ran, why);
    }
    let folder = docker(&host, None, "");
    fs::remove_file(folder.join("config.json")).expect("the last one");
    fs::create_dir(folder.join("config.json")).expect("a folder");
    let (ran, _) = plan(&host, &folder, None);
    warned(&ran, Some("it is a folder"));
}

#[test]
fn a_context_that_leads_nowhere_ends_with_69_and_says_what_is_wrong_and_what_to_do() {
    let host = Host::of(KIND);
    for (odd, context, why) in [
        ("", "gone", "meta.json\": No such file"),
        (
            "",
            "odd",
            "meta.json: it ends too early, at line 1, column 0",
        ),
        (
            "no",
            "odd",
            "meta.json: it is no JSON from line 1, column 2 on",
        ),
        (
            "{}",
            "odd",
            "meta.json: it has no Endpoints.docker, wanted one with a Host",
        ),
        (
            r#"{"Endpoints":{"docker":{"Host":"ssh://me@elsewhere"}}}"#,
            "odd",
            "its host is ssh://me@elsewhere: wanted a local socket",
        ),
    ] {
        let folder = docker(&host, Some(b"{}"), odd);
        let (ran, asked) = plan(&host, &folder, Some(context));
        assert!(!asked, "{ran:?}");
        let said = ran.ended(69).stderr;
        assert!(
            said.contains(&format!("docker context {context}: ")),
            "{said}"
        );
        assert!(said.contains(why), "{said}");
        assert!(said.contains("; name the engine with --host"), "{said}");
    }
}
