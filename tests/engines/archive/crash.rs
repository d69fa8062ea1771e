//! A save that is killed at any call, or for which any call fails, leaves a valid archive
//! with the old index or the new one, and the next save ends it.

use super::{MIB, Saving};
use crate::lab::image::Archive;
use crate::lab::{Engine, Kind};
use crate::support::strace::{self, traced};
use std::fs;
use std::process::Command;

const SAVE: [&str; 4] = ["verify-cache", "--save", "--format", "json"];

/// What a save does to files.
const CALLS: [&str; 12] = [
    "openat",
    "write",
    "fsync",
    "rename",
    "renameat",
    "linkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "flock",
    "fchmod",
    "ftruncate",
];

/// What stands beside the blobs, too.
fn files(saving: &Saving) -> Vec<String> {
    let blobs = fs::read_dir(saving.folder.join("blobs/sha256"));
    let names = blobs.into_iter().flatten().flatten();
    names
        .map(|file| file.file_name().into_string().expect("UTF-8"))
        .collect()
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_save_that_is_cut_off_anywhere_leaves_a_valid_archive() {
    let engine = Engine::start(Kind::Overlay28);
    let base = Archive::new().noise(MIB / 4);
    engine.load(&base.clone().tag("old:1"));
    engine.load(&base.clone().noise(1000).tag("new:1"));
    let first = Saving::on(&engine);
    first.promise(&["old:1"]);
    first.blobs();
    let begun = || {
        let saving = Saving::on(&engine);
        let mut copy = Command::new("cp");
        copy.arg("-a").args([&first.folder, &saving.folder]);
        assert!(copy.status().expect("cp").success());
        saving.promise(&["old:1", "new:1"]);
        saving
    };
    let whole = begun();
    let (ran, log) = traced(&whole.secateur, &SAVE, &["-e", "trace=all"]);
    ran.ended(0);
    let wanted = whole.layout();
    let old = ["docker.io/library/old:1"];
    let mut tried = 0;
    for how in ["KILL", "ENOSPC", "EIO"] {
        let calls = strace::calls(&log);
        let calls = calls.iter().filter(|call| CALLS.contains(&&*call.name));
        for call in calls.filter(|call| call.may_meet(how)) {
            let what = format!("{how} at {call:?}");
            let saving = begun();
            let (ran, _) = strace::tampered(&saving.secateur, &SAVE, how, call);
            let left = saving.layout();
            let is_old = left.names() == old;
            assert!(is_old || left.names() == wanted.names(), "{what}");
            if ran.code == 0 {
                assert!(!is_old, "{what}");
            }
            saving.save().ended(0);
            assert_eq!(saving.layout().names(), wanted.names(), "{what}");
            assert_eq!(saving.layout().blobs, wanted.blobs, "{what}");
            let drafts = files(&saving);
            let drafts = drafts.iter().filter(|name| name.starts_with('.'));
            assert_eq!(drafts.count(), 0, "{what}");
            tried += 1;
        }
    }
    println!("{tried} faults");
    assert!(tried > 50, "{tried}");
}
