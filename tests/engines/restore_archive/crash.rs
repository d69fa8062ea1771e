//! A restore out of an archive that is killed at any call, or for which any call fails: the
//! engine's names are as before or complete, and the next run ends it.

use std::process::Command;

use super::*;
use crate::support::strace::{self, Call, traced};

/// What a restore does to files and to the engine.
const CALLS: [&str; 17] = [
    "openat",
    "read",
    "write",
    "writev",
    "sendto",
    "recvfrom",
    "socket",
    "connect",
    "fsync",
    "rename",
    "renameat",
    "linkat",
    "unlink",
    "unlinkat",
    "flock",
    "fchmod",
    "ftruncate",
];

/// What a load that was cut off left on the containerd store looks for a minute like a pull.
fn age(engine: &Engine) {
    let script = "find \"$0\" -path '*/ingest/*' -exec touch -d '5 minutes ago' {} +";
    let mut touch = Command::new("sh");
    touch.args(["-c", script]).arg(engine.data_root());
    assert!(touch.status().expect("find").success());
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_restore_that_is_cut_off_anywhere_leaves_names_as_before_or_complete() {
    for kind in Kind::NEWEST {
        let engine = Engine::start(kind);
        let secateur = secateur(&engine);
        let mut layout = Layout::at(&secateur.dir().join("archive"));
        let archive = Archive::new().noise(2000).noise(1000);
        let name = format!("{NOWHERE}/app:1");
        layout.put(&name, &archive);
        let arguments = ["verify-cache", "--restore", "--format", "json"];
        let arguments = [&arguments[..], &["--archive", layout.dir(), &name]].concat();
        let names = || {
            let images = engine.images();
            let tags = images
                .iter()
                .filter_map(|image| image["RepoTags"].as_array());
            let tags: Vec<Value> = tags.flatten().cloned().collect();
            tags
        };
        let ended = |what: &str| {
            let ran = wait_until(what, || {
                age(&engine);
                let ran = secateur.run(&arguments);
                (ran.code != 75).then_some(ran)
            });
            ran.ended(0);
            assert_eq!(engine.id(&name), layout::id(kind, &archive), "{what}");
            engine.remove(&name);
            assert!(names().is_empty(), "{what}");
        };
        let (ran, log) = traced(&secateur, &arguments, &["-e", "trace=all"]);
        ran.ended(0);
        engine.remove(&name);
        let state = secateur.state().display().to_string();
        let places = [layout.dir(), &state, "socket:[", "docker.sock", "AF_UNIX"];
        let concerns = |call: &Call| {
            let of_it = |place: &&str| call.line.contains(place);
            CALLS.contains(&&*call.name) && places.iter().any(of_it)
        };
        let mut calls = strace::calls(&log);
        calls.retain(concerns);
        let mut tried = 0;
        for how in ["KILL", "EIO", "ENOSPC"] {
            for call in calls.iter().filter(|call| call.may_meet(how)) {
                let what = format!("{}: {how} at {call:?}", kind.name());
                let (ran, _) = strace::tampered(&secateur, &arguments, how, call);
                let left = names();
                let complete = left == [Value::from(name.as_str())];
                assert!(left.is_empty() || complete, "{what}: {left:?}");
                assert!(complete || ran.code != 0, "{what}: {ran:?}");
                ended(&what);
                tried += 1;
            }
        }
        println!("{}: {tried} faults", kind.name());
        assert!(tried > 50, "{tried}");
    }
}
