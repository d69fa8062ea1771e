//! Which images go and which stay, on live engines of every store.

// The bans on clocks and on removing files are for the program, not for its tests.
#![allow(clippy::disallowed_methods)]

#[path = "lab/mod.rs"]
mod lab;
mod support;

use lab::image::Archive;
use lab::{Engine, Kind};
use support::{EAGER, Secateur, ids, image, reasons};

/// A local rebuild: `name` moves to a new image, the old one is left untagged.
fn rebuild(engine: &Engine, name: &str) -> (String, String) {
    let old = engine.load(&Archive::new().noise(1000).tag(name));
    let new = engine.load(&Archive::new().noise(1000).tag(name));
    assert_ne!(old, new);
    (old, new)
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_rebuild_leaves_an_image_that_goes_once_it_is_old() {
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let secateur = Secateur::on(&engine);
        let (old, new) = rebuild(&engine, "app:latest");
        let first = secateur.prune(0);
        assert_eq!(first["result"], "nothing", "{}", kind.name());
        assert_eq!(
            reasons(&secateur.plan(), &old),
            ["too-young"],
            "{}",
            kind.name()
        );
        assert_eq!(image(&secateur.plan(), &old)["class"], "untagged");
        secateur.remember();
        let outcome = secateur.prune(0);
        assert_eq!(
            ids(&outcome, "removed"),
            [old.clone()],
            "{}: {outcome:#}",
            kind.name()
        );
        assert!(!engine.has(&old) && engine.has(&new), "{}", kind.name());
    }
}
