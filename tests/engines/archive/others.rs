//! What others make of an archive: skopeo, umoci, and `docker load` of its folder.

use super::Saving;
use crate::lab::image::{Archive, sha256};
use crate::lab::{Engine, Kind, lab_dir};
use crate::support::{Ran, Secateur};
use std::fs;
use std::path::Path;
use std::process::Command;

const APP: &str = "docker.io/library/app:1";

/// An engine's archive with `app:1`, which is also `other.example/app:2`, in the engine's folder.
fn filled(kind: Kind, compress: &str) -> (Engine, Saving, String) {
    let engine = Engine::start(kind);
    let mut saving = Saving::at(&engine, &engine.dir().join("archive"));
    saving.more = format!("compress = {compress:?}");
    saving.promise(&["app:1", "other.example/app:2"]);
    let app = Archive::new().busybox().noise(1000);
    let app = engine.load(&app.tag("app:1").tag("other.example/app:2"));
    saving.save().ended(0);
    (engine, saving, app)
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn skopeo_and_umoci_read_the_same_images() {
    for (kind, compress) in [
        (Kind::Overlay20, "none"),
        (Kind::Overlay28, "gzip"),
        (Kind::Containerd28, "none"),
    ] {
        let (engine, saving, app) = filled(kind, compress);
        let folder = saving.folder.display().to_string();
        for name in [APP, "other.example/app:2"] {
            let from = format!("oci:{folder}:{name}");
            let skopeo = ["skopeo", "inspect", "--raw", &from];
            let said = Ran::of(engine.inside("bookworm", &skopeo)).ended(0);
            let raw = said.stdout.as_bytes();
            let root: serde_json::Value = serde_json::from_slice(raw).expect("JSON");
            let id = if kind.containerd() {
                format!("sha256:{}", sha256(raw))
            } else {
                root["config"]["digest"].as_str().expect("one").to_owned()
            };
            assert_eq!(id, app, "{}", kind.name());
            // skopeo checks the digest of each blob that it copies.
            let to = format!("dir:{}/copy", engine.dir().display());
            let skopeo = ["skopeo", "copy", "--insecure-policy", &from, &to];
            Ran::of(engine.inside("bookworm", &skopeo)).ended(0);
        }
        // umoci takes no media types but OCI's: not those that a containerd store loaded.
        if kind.containerd() {
            continue;
        }
        let umoci = lab_dir().join("debian/usr/bin/umoci");
        let bundle = saving.secateur.dir().join("bundle");
        let unpack = Command::new(umoci)
            .args(["unpack", "--image", &format!("{folder}:{APP}")])
            .arg(&bundle)
            .output();
        Ran::of(unpack.expect("umoci")).ended(0);
        let busybox = fs::read(bundle.join("rootfs/bin/busybox")).expect("unpacked");
        assert_eq!(busybox, crate::lab::busybox(), "{}", kind.name());
    }
}

/// The folder as a tar file in another engine's folder.
fn packed(folder: &Path, engine: &Engine) -> String {
    let tar = engine.dir().join("archive.tar").display().to_string();
    let mut command = Command::new("tar");
    command.arg("-C").arg(folder).args(["-cf", &tar, "."]);
    Ran::of(command.output().expect("tar")).ended(0);
    tar
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn docker_load_takes_the_folder_as_it_is() {
    for (kind, compress) in [
        (Kind::Overlay20, "none"),
        (Kind::Overlay28, "gzip"),
        (Kind::Containerd28, "none"),
    ] {
        let (_engine, saving, app) = filled(kind, compress);
        let config = saving.layout().root(APP)["config"]["digest"].clone();
        for other in Kind::MAIN {
            let what = format!("{} to {}", kind.name(), other.name());
            let empty = Engine::start(other);
            let tar = packed(&saving.folder, &empty);
            Ran::of(empty.docker(&["load", "-i", &tar])).ended(0);
            let id = empty.id(APP);
            assert_eq!(empty.id("other.example/app:2"), id, "{what}");
            if kind.containerd() == other.containerd() {
                assert_eq!(id, app, "{what}");
            } else if !other.containerd() && config.is_string() {
                assert_eq!(id, config.as_str().unwrap(), "{what}");
            }
            let deep = Secateur::on(&empty);
            deep.run(&["verify-cache", "--deep", "app:1"]).ended(0);
        }
    }
}
