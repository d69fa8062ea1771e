//! A layer that an archive has in two forms: as a registry has it, and as an engine loaded it.

use super::Saving;
use crate::lab::image::Archive;
use crate::lab::layout::Layout as OtherArchive;
use crate::lab::{Engine, Kind, Registry};

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_layer_that_is_here_compressed_is_written_as_well_for_a_manifest_that_names_it_plain() {
    let registry = Registry::start();
    let engine = Engine::start(Kind::Containerd28);
    let saving = Saving::on(&engine);
    let pulled = registry.name("app:1");
    let layer = Archive::new().noise(1000);
    registry.put("app:1", &layer.clone().tag("x:1"));
    engine.pull(&pulled, Some(&registry.auth_header()));
    // As it stands in an archive, not compressed.
    let mut plain = OtherArchive::at(&engine.dir().join("plain"));
    plain.put("docker.io/library/loaded:1", &layer.label("by", "load"));
    saving.promise(&[]);
    let restore = ["verify-cache", "--restore", "--archive", plain.dir()];
    let restore = [&restore[..], &["loaded:1"]].concat();
    saving.secateur.run(&restore).ended(0);
    engine.tag(&pulled, "pulled:1");
    saving.promise(&["pulled:1", "loaded:1"]);
    saving.save().ended(0);
    // It fails where a blob that a manifest names is missing.
    let layout = saving.layout();
    assert_eq!(layout.names().len(), 2);
    assert_eq!(layout.blobs.len(), 2 * 4);
}
