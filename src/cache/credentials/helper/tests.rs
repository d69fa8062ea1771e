use nix::unistd::{Uid, User, geteuid};

use super::*;
use crate::testing::block_on;

fn answered(success: bool, answer: &str) -> String {
    let program = "docker-credential-x";
    lookup(program, success, "exit status: 1", answer.as_bytes()).shown()
}

#[test]
fn a_helpers_answers_are_told_apart_and_never_quoted() {
    assert_eq!(
        answered(
            true,
            r#"{"ServerURL":"r","Username":"me","Secret":"hunter2"}"#
        ),
        "found by docker-credential-x"
    );
    assert_eq!(
        answered(true, r#"{"Username":"<token>","Secret":"hunter2"}"#),
        "token of docker-credential-x"
    );
    assert_eq!(
        answered(false, "credentials not found in native keychain\n"),
        "none: docker-credential-x has none"
    );
    assert_eq!(
        answered(false, "cannot unlock hunter2"),
        "failed: docker-credential-x failed (exit status: 1)"
    );
    assert_eq!(
        answered(true, "hunter2"),
        "failed: docker-credential-x gave an answer that does not read"
    );
}

/// The output of a program that is run as a helper.
fn printed(program: &str, named: bool, owner: Uid) -> Result<String, String> {
    let search = Search::of(&std::env::var_os("PATH").unwrap());
    let config = ConfigFile {
        dir: Path::new("/d"),
        named,
        owner: owner.as_raw(),
    };
    let command = command(program, &search, &config);
    let mut command = command.map_err(|lookup| lookup.shown())?;
    let output = block_on(async { command.output().await }).unwrap();
    Ok(String::from_utf8(output.stdout).unwrap())
}

/// The environment of a helper, line by line.
fn environment_of(named: bool, owner: Uid) -> Result<Vec<String>, String> {
    let printed = printed("env", named, owner)?;
    let mut lines: Vec<_> = printed.lines().map(str::to_owned).collect();
    lines.retain(|line| !line.starts_with("PATH=") && !line.starts_with("LANG="));
    lines.sort();
    Ok(lines)
}

#[test]
fn root_gives_a_helper_of_somebody_else_nothing_of_its_own_environment() {
    let own = std::env::vars_os().filter(|(name, _)| name != "PATH" && name != "LANG");
    let own = own.count();
    let root = Uid::from_raw(0);
    // The folder of root, or of the user who runs this test.
    for named in [false, !geteuid().is_root()] {
        assert!(environment_of(named, root).unwrap().len() >= own);
    }
    if !geteuid().is_root() {
        return;
    }
    let daemon = User::from_name("daemon").unwrap().unwrap();
    for (named, owner) in [(false, daemon.uid), (true, daemon.uid), (true, root)] {
        let User { name, dir, .. } = User::from_uid(owner).unwrap().unwrap();
        let wanted = [
            "DOCKER_CONFIG=/d".to_owned(),
            format!("HOME={}", dir.display()),
            format!("LOGNAME={name}"),
            format!("USER={name}"),
        ];
        assert_eq!(environment_of(named, owner).unwrap(), wanted);
    }
    let why = environment_of(false, Uid::from_raw(4_000_000_000)).unwrap_err();
    assert!(
        why.contains("uid 4000000000, which is no user here"),
        "{why}"
    );
}

#[test]
fn a_helper_runs_as_the_user_of_the_file_and_in_that_users_group() {
    if !geteuid().is_root() {
        return;
    }
    let daemon = User::from_name("daemon").unwrap().unwrap();
    let printed = printed("id", true, daemon.uid).unwrap();
    let (uid, gid) = (daemon.uid, daemon.gid);
    assert!(
        printed.starts_with(&format!("uid={uid}(daemon) gid={gid}(")),
        "{printed}"
    );
}
