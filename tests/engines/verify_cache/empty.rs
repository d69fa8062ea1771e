//! Images with nothing in them, or the same twice.

use std::fs;

use super::{Host, check, says};
use crate::lab::Kind;
use crate::lab::image::Archive;

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_is_whole_whatever_little_it_is_made_of() {
    for kind in Kind::MAIN {
        let host = Host::new(kind);
        let engine = &host.engine;
        engine.build("labels:1", "FROM scratch\nLABEL only=labels\n");
        engine.load(&Archive::default().label("a", "b").tag("loaded:1"));
        let empty = || Archive::default().layer(&[]);
        engine.load(&empty().tag("empty:1"));
        engine.load(&empty().layer(&[]).layer(&[]).tag("empties:1"));
        let twice = Archive::default().layer(&[("x", b"y")]).layer(&[]);
        engine.load(&twice.layer(&[("x", b"y")]).layer(&[]).tag("twice:1"));
        // Graphdriver engines export nothing of it.
        let none = if kind.containerd() {
            "0 layers read"
        } else {
            "no layers"
        };
        let layers = [
            ("labels:1", none),
            ("loaded:1", none),
            ("empty:1", "1 layer read"),
            ("empties:1", "3 layers read"),
            ("twice:1", "4 layers read"),
        ];
        let names: Vec<&str> = layers.iter().map(|(name, _)| *name).collect();
        // What no registry has is broken on the containerd store: its digests are made up.
        let report = host.run(&[&["--format", "json", "--deep"], &names[..]].concat());
        let report = report.json();
        for (name, words) in layers {
            says(kind, &report, name, "present", "ok", &[]);
            says(kind, &report, name, "whole", "ok", &[words]);
        }
        if kind.containerd() {
            continue;
        }
        // Its configuration is all there is of it, and the engine reads that before it answers.
        let id = engine.id("labels:1");
        let images = engine
            .data_root()
            .join("image/overlay2/imagedb/content/sha256");
        let file = images.join(id.trim_start_matches("sha256:"));
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("only", "else")).unwrap();
        // An engine that finds it damaged does not list the image.
        let report = host.verify(1, &["--deep", "labels:1"]);
        says(kind, &report, "labels:1", "present", "broken", &[]);
        assert_ne!(check(&report, "labels:1", "whole")["status"], "ok");
    }
}
