//! An OCI image layout, written by hand.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Kind;
use super::image::{Archive, sha256};
use super::index::HERE;

const OCI: &str = "application/vnd.oci.image";

/// The path of a blob.
pub fn blob(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", sha256(bytes))
}

/// An image for this machine: the descriptor of its manifest, and all of its blobs: manifest,
/// configuration, layers.
pub fn blobs(archive: &Archive) -> (Value, Vec<Vec<u8>>) {
    blobs_for(HERE, archive)
}

fn blobs_for(architecture: &str, archive: &Archive) -> (Value, Vec<Vec<u8>>) {
    let described = |kind: &str, bytes: &[u8]| {
        json!({"mediaType": format!("{OCI}.{kind}"), "digest": format!("sha256:{}", sha256(bytes)),
            "size": bytes.len()})
    };
    let config = archive.config_for(architecture);
    let layers = archive.layers().iter();
    let layers: Vec<Value> = layers.map(|it| described("layer.v1.tar", it)).collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": format!("{OCI}.manifest.v1+json"),
        "config": described("config.v1+json", &config), "layers": layers});
    let manifest = manifest.to_string().into_bytes();
    let top = described("manifest.v1+json", &manifest);
    let all = [manifest, config].into_iter();
    (top, all.chain(archive.layers().iter().cloned()).collect())
}

/// The digest of an image's manifest.
pub fn digest(archive: &Archive) -> String {
    let digest = blobs(archive).0["digest"].clone();
    digest.as_str().expect("a digest").to_owned()
}

/// The id that an engine gives the image once it has it from a layout.
pub fn id(kind: Kind, archive: &Archive) -> String {
    if kind.containerd() {
        digest(archive)
    } else {
        format!("sha256:{}", sha256(&archive.config_for(HERE)))
    }
}

/// A layout on disk.
#[derive(Debug)]
pub struct Layout {
    dir: PathBuf,
    entries: Vec<Value>,
}

impl Layout {
    pub fn at(dir: &Path) -> Layout {
        fs::create_dir_all(dir.join("blobs/sha256")).expect("a folder");
        let layout = Layout {
            dir: dir.to_owned(),
            entries: Vec::new(),
        };
        layout.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        layout.index();
        layout
    }

    pub fn dir(&self) -> &str {
        self.dir.to_str().expect("UTF-8")
    }

    pub fn put(&mut self, name: &str, archive: &Archive) {
        self.put_for(HERE, name, archive);
    }

    /// Its digest.
    pub fn put_for(&mut self, architecture: &str, name: &str, archive: &Archive) -> String {
        let (mut top, blobs) = blobs_for(architecture, archive);
        for bytes in &blobs {
            self.file(&blob(bytes), bytes);
        }
        top["annotations"] = json!({"io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": name});
        let digest = top["digest"].as_str().expect("a digest").to_owned();
        self.entries.push(top);
        self.index();
        digest
    }

    /// Where the blob of these bytes is.
    pub fn path(&self, bytes: &[u8]) -> PathBuf {
        self.dir.join(blob(bytes))
    }

    fn index(&self) {
        let index = json!({"schemaVersion": 2, "manifests": self.entries});
        self.file("index.json", index.to_string().as_bytes());
    }

    fn file(&self, path: &str, bytes: &[u8]) {
        fs::write(self.dir.join(path), bytes).expect("a file of the layout");
    }
}
