//! What the program trusts, and what it does not: a policy, a state folder, a
//! journal or a lock that somebody else could have written. And what it says of
//! a policy that is wrong. No engine is asked: there is none.

// Of the lab only what stands on its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{EAGER, Ran, Secateur};

/// A state folder with all that a run leaves in it, and no engine.
fn host() -> Secateur {
    let host = Secateur::at("unix:///nowhere/docker.sock", EAGER);
    fs::create_dir(host.state()).expect("the folder");
    for name in ["journal.jsonl", "ledger.json", "policy", "run.lock"] {
        fs::write(host.state().join(name), "").expect("a file");
        mode(&host.state().join(name), 0o600);
    }
    mode(&host.state(), 0o700);
    mode(&host.policy_path(), 0o644);
    host
}

#[track_caller]
fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("its mode");
}

/// A run that must end for want of trust, naming this path and this reason.
#[track_caller]
fn untrusted(ran: &Ran, path: &Path, why: &str) {
    assert_eq!(ran.code, 77, "{ran:?}");
    let path = fs::canonicalize(path.parent().expect("a folder"))
        .expect("it is there")
        .join(path.file_name().expect("a name"));
    let shown = format!("refusing to trust \"{}\": ", path.display());
    assert!(ran.stderr.contains(&shown), "{shown}: {ran:?}");
    assert!(ran.stderr.contains(why), "{why}: {ran:?}");
    assert_eq!(ran.stdout, "");
}

#[test]
fn what_is_ours_alone_is_trusted_and_the_engine_is_asked() {
    let ran = host().run(&["prune"]).ended(69);
    assert!(ran.stderr.contains("/nowhere/docker.sock"), "{ran:?}");
}

#[test]
fn whatever_others_may_write_is_not_trusted_and_is_named() {
    type Place = fn(&Secateur) -> PathBuf;
    let places: [(Place, u32); 8] = [
        (Secateur::policy_path, 0o666),
        (Secateur::policy_path, 0o664),
        (|host| host.dir().to_owned(), 0o777),
        (|host| host.dir().to_owned(), 0o770),
        (Secateur::state, 0o777),
        (Secateur::state, 0o1777),
        (|host| host.state().join("journal.jsonl"), 0o602),
        (|host| host.state().join("run.lock"), 0o660),
    ];
    for (place, bits) in places {
        let host = host();
        mode(&place(&host), bits);
        let ran = host.run(&["prune"]);
        untrusted(&ran, &place(&host), "others may write to it");
    }
}

#[test]
fn a_policy_that_others_may_write_decides_no_plan_and_no_promise_either() {
    let host = host();
    mode(&host.policy_path(), 0o666);
    for command in ["plan", "verify-cache"] {
        let ran = host.run(&[command]);
        untrusted(&ran, &host.policy_path(), "chmod go-w");
    }
}

#[test]
fn a_parent_of_a_link_is_judged_as_well() {
    let host = host();
    let open = host.dir().join("open");
    fs::create_dir(&open).expect("a folder");
    mode(&open, 0o777);
    let policy = host.policy_path();
    fs::rename(&policy, open.join("policy.toml")).expect("the policy");
    symlink(open.join("policy.toml"), &policy).expect("a link");
    untrusted(&host.run(&["prune"]), &open, "others may write to it");

    fs::remove_file(&policy).expect("the link");
    fs::rename(open.join("policy.toml"), &policy).expect("the policy");
    fs::rename(host.state(), open.join("state")).expect("the folder");
    symlink(open.join("state"), host.state()).expect("a link");
    untrusted(&host.run(&["prune"]), &open, "others may write to it");
}

#[test]
fn a_journal_or_lock_that_is_a_link_or_no_file_is_not_opened() {
    for name in ["journal.jsonl", "run.lock"] {
        let host = host();
        let path = host.state().join(name);
        let elsewhere = host.dir().join("elsewhere");
        fs::rename(&path, &elsewhere).expect("the file");
        symlink(&elsewhere, &path).expect("a link");
        let ran = host.run(&["prune"]);
        assert!([74, 77].contains(&ran.code), "{ran:?}");
        assert!(ran.stderr.contains(name), "{ran:?}");
        assert_eq!(
            fs::read(&elsewhere).expect("it"),
            b"",
            "not written through"
        );

        fs::remove_file(&path).expect("the link");
        // Nobody is at its other end: to wait for it would be for ever.
        let made = Command::new("mkfifo")
            .args(["-m", "600"])
            .arg(&path)
            .status();
        assert!(made.expect("mkfifo").success());
        untrusted(&host.run(&["prune"]), &path, "it is a FIFO");
    }
}

#[test]
#[ignore = "needs root: run tests/run"]
fn what_belongs_to_somebody_else_is_not_trusted() {
    const NOBODY: u32 = 65534;
    type Place = fn(&Secateur) -> PathBuf;
    let places: [Place; 5] = [
        Secateur::policy_path,
        |host| host.dir().to_owned(),
        Secateur::state,
        |host| host.state().join("journal.jsonl"),
        |host| host.state().join("run.lock"),
    ];
    for place in places {
        let host = host();
        chown(place(&host), Some(NOBODY), None).expect("its owner");
        let ran = host.run(&["prune"]);
        untrusted(&ran, &place(&host), "it belongs to uid 65534, wanted root");
        // A folder may be a home: nobody is told to give it away.
        let chown = ran.stderr.contains("chown -h 0 ");
        assert_eq!(chown, place(&host).is_file(), "{ran:?}");
    }
}

#[test]
fn a_wrong_policy_ends_every_command_with_78_and_names_the_place() {
    for (text, wanted) in [
        ("", "age.min_age is missing"),
        ("[age]\nmin_age = \"0s\"", "line 2, column 11"),
        ("[age]\nmin_age = \"-1d\"", "line 2, column 11"),
        ("[age]\nmin_agee = \"1d\"", "did you mean `min_age`?"),
        (
            "[age]\nmin_age = \"1d\"\nmin_age = \"2d\"",
            "line 3, column 1",
        ),
        (
            "[age]\nmin_age = \"99999999999999999999d\"",
            "line 2, column 11",
        ),
        (
            "[age]\nmin_age = \"1d\"\n[disk]\nstart_above_percent = 10\nstop_below_percent = 20",
            "line 5, column 22",
        ),
        (
            "[age]\nmin_age = \"1d\"\n[limits]\nmax_images = 99999999999999999999",
            "line 4, column 14",
        ),
        ("[age\nmin_age = \"1d\"", "line 1, column 5"),
        ("[age]\nmin_age = \"\u{1b}]0;x\u{7}\"", "line 2"),
    ] {
        let host = host();
        host.policy(text);
        for command in ["plan", "prune", "verify-cache"] {
            let ran = host.run(&[command]).ended(78);
            assert!(ran.stderr.contains("policy.toml"), "{ran:?}");
            assert!(ran.stderr.contains(wanted), "{wanted}: {ran:?}");
            let raw = ran.stderr.chars().any(|c| c.is_control() && c != '\n');
            assert!(!raw, "{ran:?}");
        }
    }
    let host = host();
    fs::write(host.policy_path(), b"\xff\xfe").expect("no UTF-8");
    host.run(&["plan"]).ended(78);
}
