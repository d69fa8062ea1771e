//! Images for several platforms: an index, as BuildKit and registries have it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::image::{Archive, sha256, tar};

/// The architecture of the lab's engines, and one that they do not run.
pub const HERE: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "amd64"
};
pub const ELSEWHERE: &str = if cfg!(target_arch = "aarch64") {
    "amd64"
} else {
    "arm64"
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An index and its blobs, each below its digest.
#[derive(Debug, Clone, Default)]
pub struct Index {
    list: Vec<Value>,
    blobs: BTreeMap<String, Vec<u8>>,
}

impl Index {
    /// With these layers for Linux on that architecture.
    pub fn linux(mut self, architecture: &str, archive: &Archive) -> Index {
        let config = archive.config_for(architecture);
        let layer = "application/vnd.oci.image.layer.v1.tar";
        let mut child = self.manifest(&config, archive.layers(), layer);
        child["platform"] = json!({"os": "linux", "architecture": architecture});
        self.list.push(child);
        self
    }

    /// What BuildKit says of how the image before was built.
    pub fn attested(mut self) -> Index {
        let subject = self.list.last().expect("an image")["digest"].clone();
        let config = json!({"os": "unknown", "architecture": "unknown", "config": {},
            "rootfs": {"type": "layers", "diff_ids": []}});
        let statement = json!({"_type": "https://in-toto.io/Statement/v0.1", "subject": [subject]});
        let (config, statement) = (config.to_string(), statement.to_string());
        let kind = "application/vnd.in-toto+json";
        let mut child = self.manifest(config.as_bytes(), &[statement.into_bytes()], kind);
        child["platform"] = json!({"os": "unknown", "architecture": "unknown"});
        child["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": subject});
        self.list.push(child);
        self
    }

    fn manifest(&mut self, config: &[u8], layers: &[Vec<u8>], kind: &str) -> Value {
        let layers: Vec<Value> = layers.iter().map(|layer| self.blob(layer, kind)).collect();
        let config = self.blob(config, "application/vnd.oci.image.config.v1+json");
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST,
            "config": config, "layers": layers});
        self.blob(manifest.to_string().as_bytes(), MANIFEST)
    }

    fn blob(&mut self, bytes: &[u8], kind: &str) -> Value {
        let digest = sha256(bytes);
        self.blobs.insert(digest.clone(), bytes.to_vec());
        json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": bytes.len()})
    }

    /// The bytes of each manifest that it names.
    pub fn manifests(&self) -> Vec<Vec<u8>> {
        let digests = self.list.iter().map(|child| child["digest"].as_str());
        let hex = digests.map(|digest| digest.expect("a digest").trim_start_matches("sha256:"));
        hex.map(|hex| self.blobs[hex].clone()).collect()
    }

    /// Leaves out the blob with these bytes.
    pub fn without(mut self, bytes: &[u8]) -> Index {
        self.blobs.remove(&sha256(bytes)).expect("a blob");
        self
    }

    /// As an archive in the OCI form.
    pub fn build(mut self, name: &str) -> Vec<u8> {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.list});
        let mut index = self.blob(index.to_string().as_bytes(), INDEX);
        index["annotations"] = json!({"io.containerd.image.name": name});
        let top = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [index]});
        let mut files: Vec<(String, Vec<u8>)> = vec![
            (
                "oci-layout".to_owned(),
                b"{\"imageLayoutVersion\":\"1.0.0\"}".to_vec(),
            ),
            ("index.json".to_owned(), top.to_string().into_bytes()),
        ];
        let blobs = self.blobs.into_iter();
        files.extend(blobs.map(|(digest, bytes)| (format!("blobs/sha256/{digest}"), bytes)));
        let files: Vec<(&str, &[u8])> = files.iter().map(|(n, b)| (&**n, &**b)).collect();
        tar(&files)
    }
}
