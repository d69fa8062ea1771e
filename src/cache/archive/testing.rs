//! Small archives for tests, not written by the program's own writer.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cache::archive::{Archive, ArchiveError, Descriptor, Digest};
use crate::engine::Platform;
use crate::testing::folder_of_ours;

pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

pub struct Layout {
    folder: TempDir,
}

impl Layout {
    /// An archive without entries.
    pub fn empty() -> Self {
        let layout = Self {
            folder: folder_of_ours(),
        };
        std::fs::create_dir_all(layout.dir().join("blobs/sha256")).unwrap();
        layout.put("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
        layout.index(&[]);
        layout
    }

    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    pub fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    }

    pub fn index(&self, entries: &[Value]) {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries});
        self.put("index.json", index.to_string());
    }

    /// Writes a blob, and returns its descriptor.
    pub fn blob(&self, media_type: &str, bytes: impl AsRef<[u8]>) -> Value {
        let bytes = bytes.as_ref();
        let digest = Digest::of(bytes);
        self.put(&format!("blobs/sha256/{}", digest.hex()), bytes);
        json!({"mediaType": media_type, "digest": digest.as_str(), "size": bytes.len()})
    }

    /// Writes an image with these layers, and returns the descriptor of its manifest.
    pub fn image(&self, architecture: &str, layers: &[&str]) -> Value {
        let diff_ids: Vec<Digest> = layers.iter().map(|it| Digest::of(it.as_bytes())).collect();
        let rootfs = json!({"type": "layers", "diff_ids": diff_ids});
        let config = json!({"os": "linux", "architecture": architecture, "rootfs": rootfs});
        let config = self.blob(CONFIG_TYPE, config.to_string());
        let layers = layers.iter().map(|layer| self.blob(LAYER_TYPE, layer));
        let layers: Vec<Value> = layers.collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST_TYPE,
            "config": config, "layers": layers});
        self.blob(MANIFEST_TYPE, manifest.to_string())
    }

    pub fn open(&self) -> Result<Archive, ArchiveError> {
        Archive::open(self.dir())
    }

    pub fn path(&self, descriptor: &Value) -> PathBuf {
        let digest = descriptor["digest"].as_str().unwrap();
        self.dir().join("blobs/sha256").join(&digest[7..])
    }
}

pub fn with(mut descriptor: Value, field: &str, value: Value) -> Value {
    descriptor[field] = value;
    descriptor
}

/// Adds this name in both annotations.
pub fn named(descriptor: Value, name: &str) -> Value {
    let names =
        json!({"org.opencontainers.image.ref.name": name, "io.containerd.image.name": name});
    with(descriptor, "annotations", names)
}

pub fn for_platform(descriptor: Value, architecture: &str) -> Value {
    let platform = json!({"os": "linux", "architecture": architecture});
    with(descriptor, "platform", platform)
}

pub fn read(descriptor: &Value) -> Descriptor {
    serde_json::from_value(descriptor.clone()).unwrap()
}

pub fn amd64() -> Platform {
    Platform::given(Some("linux".into()), Some("amd64".into())).unwrap()
}
