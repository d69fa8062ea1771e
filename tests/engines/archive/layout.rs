//! An archive, as a second reader sees it who trusts nothing: each blob has its digest, and
//! all that an entry names is there.

use crate::lab::image::sha256;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Of the entries that a test adds in the name of somebody else.
const OTHER: &str = "test/other";

#[derive(Debug)]
pub struct Layout {
    folder: PathBuf,
    pub index: Value,
    /// By their digest, in hex.
    pub blobs: BTreeMap<String, Vec<u8>>,
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

impl Layout {
    /// Fails unless the archive is valid.
    #[track_caller]
    pub fn read(folder: &Path) -> Layout {
        let layout = json(&fs::read(folder.join("oci-layout")).expect("oci-layout"));
        assert_eq!(layout["imageLayoutVersion"], "1.0.0");
        let index = json(&fs::read(folder.join("index.json")).expect("index.json"));
        let mut blobs = BTreeMap::new();
        for file in fs::read_dir(folder.join("blobs/sha256")).expect("blobs") {
            let file = file.expect("a file");
            let name = file.file_name().into_string().expect("UTF-8");
            // What a killed run was writing.
            if name.starts_with('.') {
                continue;
            }
            let bytes = fs::read(file.path()).expect("a blob");
            assert_eq!(sha256(&bytes), name, "part of a blob stands under a digest");
            blobs.insert(name, bytes);
        }
        let layout = Layout {
            folder: folder.to_owned(),
            index,
            blobs,
        };
        for entry in layout.entries() {
            layout.follow(entry);
        }
        layout.follow_docker();
        layout
    }

    fn entries(&self) -> &Vec<Value> {
        self.index["manifests"].as_array().expect("entries")
    }

    #[track_caller]
    fn blob(&self, named: &Value) -> &[u8] {
        let digest = named["digest"].as_str().expect("a digest");
        let blob = self.blobs.get(&digest[7..]);
        let blob = blob.unwrap_or_else(|| panic!("no {digest}: {:#}", self.index));
        assert_eq!(named["size"], blob.len(), "{digest}");
        blob
    }

    #[track_caller]
    fn follow(&self, named: &Value) {
        let document = json(self.blob(named));
        let list = |name: &str| document[name].as_array().cloned().unwrap_or_default();
        for manifest in list("manifests") {
            // Those of other platforms need not be here.
            let digest = manifest["digest"].as_str().expect("a digest");
            if self.blobs.contains_key(&digest[7..]) {
                self.follow(&manifest);
            }
        }
        let parts = document["config"].as_object().map(|_| &document["config"]);
        for part in parts.into_iter().chain(&list("layers")) {
            self.blob(part);
        }
    }

    fn follow_docker(&self) {
        let Ok(items) = fs::read(self.folder.join("manifest.json")) else {
            assert!(self.entries().is_empty());
            return;
        };
        let items = json(&items);
        for item in items.as_array().expect("items") {
            let layers = item["Layers"].as_array().expect("layers");
            for path in layers.iter().chain([&item["Config"]]) {
                let hex = path.as_str().unwrap().rsplit('/').next().unwrap();
                assert!(self.blobs.contains_key(hex), "{path}: {items:#}");
            }
        }
    }

    /// How many entries are of what a name led to before.
    pub fn nameless(&self) -> usize {
        self.entries().len() - self.names().len() - self.aliases()
    }

    fn aliases(&self) -> usize {
        let entries = self.entries().iter();
        let alias = |entry: &&Value| entry["annotations"]["invalid.secateur.alias"].is_string();
        entries.filter(alias).count()
    }

    /// In the order of the index.
    pub fn names(&self) -> Vec<&str> {
        let alias = |entry: &&Value| entry["annotations"]["invalid.secateur.alias"].is_string();
        let entries = self.entries().iter().filter(|entry| !alias(entry));
        let names = entries.filter_map(|entry| {
            let all = &entry["annotations"];
            let name = &all["io.containerd.image.name"];
            assert_eq!(*name, all["org.opencontainers.image.ref.name"]);
            name.as_str()
        });
        names.collect()
    }

    fn entry(&self, name: &str) -> &Value {
        let of = |entry: &&Value| entry["annotations"]["io.containerd.image.name"] == name;
        self.entries().iter().find(of).expect("an entry")
    }

    /// The manifest or index of this name.
    pub fn root(&self, name: &str) -> Value {
        json(self.blob(self.entry(name)))
    }

    /// An entry of somebody else for the image of this name.
    pub fn add_of_others(&self, name: &str) -> Value {
        let name = format!("docker.io/library/{name}");
        let mut entry = self.entry(&name).clone();
        let other = format!("docker.io/{OTHER}:1");
        entry["annotations"] = json!({
            "org.opencontainers.image.ref.name": other, "io.containerd.image.name": other,
        });
        let mut index = self.index.clone();
        let entries = index["manifests"].as_array_mut().expect("entries");
        entries.push(entry.clone());
        self.write(&index);
        entry
    }

    pub fn drop_of_others(&self) {
        let mut index = self.index.clone();
        let entries = index["manifests"].as_array_mut().expect("entries");
        entries.retain(|entry| !entry.to_string().contains(OTHER));
        self.write(&index);
    }

    fn write(&self, index: &Value) {
        fs::write(self.folder.join("index.json"), index.to_string()).expect("index.json");
    }
}
