//! Images without a network: tar files, and archives as `docker save` writes them.

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Random bytes: unique, and they do not compress, so that a slow pull stays slow.
pub fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut source = std::fs::File::open("/dev/urandom").expect("/dev/urandom");
    source.read_exact(&mut bytes).expect("random bytes");
    bytes
}

/// A name that nobody else has.
pub fn unique() -> String {
    noise(6).iter().map(|b| format!("{b:02x}")).collect()
}

/// A tar file of these files, all with mode 0755.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (path, bytes) in files {
        assert!(
            path.len() < 100,
            "{path} is too long for a plain tar header"
        );
        let mut header = [0_u8; 512];
        let mut field =
            |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        field(0, path);
        field(100, "0000755\0");
        field(108, "0000000\0");
        field(116, "0000000\0");
        field(124, &format!("{:011o}\0", bytes.len()));
        field(136, "00000000000\0");
        field(148, "        "); // the checksum counts itself as blanks
        field(156, "0");
        field(257, "ustar\x0000");
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend_from_slice(&header);
        tar.extend_from_slice(bytes);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// An image as `docker save` writes it. Nothing is there that was not asked for: an archive
/// without `.created` has no date at all.
#[derive(Debug, Clone, Default)]
pub struct Archive {
    created: Option<String>,
    labels: Vec<(String, String)>,
    layers: Vec<Vec<u8>>,
    tags: Vec<String>,
    cmd: Vec<String>,
}

impl Archive {
    /// One layer that no other image has, a few bytes long.
    pub fn new() -> Archive {
        Archive::default().layer(&[("unique", unique().as_bytes())])
    }

    pub fn created(mut self, date: &str) -> Archive {
        self.created = Some(date.to_owned());
        self
    }

    pub fn label(mut self, key: &str, value: &str) -> Archive {
        self.labels.push((key.to_owned(), value.to_owned()));
        self
    }

    pub fn layer(mut self, files: &[(&str, &[u8])]) -> Archive {
        self.layers.push(tar(files));
        self
    }

    /// A layer of its own with that many bytes that do not compress.
    pub fn noise(self, length: usize) -> Archive {
        self.layer(&[(&format!("noise-{}", unique()), &noise(length))])
    }

    /// A layer with /bin/busybox, so that containers can run.
    pub fn busybox(self) -> Archive {
        self.layer(&[("bin/busybox", &super::busybox())])
    }

    pub fn cmd(mut self, words: &[&str]) -> Archive {
        self.cmd = words.iter().map(ToString::to_string).collect();
        self
    }

    pub fn tag(mut self, name: &str) -> Archive {
        self.tags.push(name.to_owned());
        self
    }

    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    pub fn build(&self) -> Vec<u8> {
        Archive::together(std::slice::from_ref(self))
    }

    /// Many images in one archive, as `docker save A B` writes it: a layer that they share is in
    /// it once.
    pub fn together(archives: &[Archive]) -> Vec<u8> {
        let mut manifests = Vec::new();
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for archive in archives {
            let digests: Vec<String> = archive.layers.iter().map(|layer| sha256(layer)).collect();
            let config = archive.config(&digests);
            let config_name = format!("{}.json", sha256(&config));
            let layers: Vec<String> = digests.iter().map(|digest| layer_name(digest)).collect();
            for (name, layer) in layers.iter().zip(&archive.layers) {
                files.entry(name.clone()).or_insert_with(|| layer.clone());
            }
            manifests
                .push(json!({"Config": config_name, "RepoTags": archive.tags, "Layers": layers}));
            files.insert(config_name, config);
        }
        files.insert(
            "manifest.json".to_owned(),
            json!(manifests).to_string().into_bytes(),
        );
        let files: Vec<(&str, &[u8])> = files.iter().map(|(n, b)| (&**n, &**b)).collect();
        tar(&files)
    }

    pub fn layers(&self) -> &[Vec<u8>] {
        &self.layers
    }

    /// Its configuration, for Linux on another architecture than this one.
    pub fn config_for(&self, architecture: &str) -> Vec<u8> {
        let digests: Vec<String> = self.layers.iter().map(|layer| sha256(layer)).collect();
        let config = self.config(&digests);
        let mut config: Value = serde_json::from_slice(&config).expect("JSON");
        config["architecture"] = json!(architecture);
        config.to_string().into_bytes()
    }

    fn config(&self, digests: &[String]) -> Vec<u8> {
        let diff_ids: Vec<String> = digests
            .iter()
            .map(|digest| format!("sha256:{digest}"))
            .collect();
        let labels: serde_json::Map<String, Value> = self
            .labels
            .iter()
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect();
        let mut config = json!({
            "architecture": super::index::HERE,
            "os": "linux",
            "config": {"Labels": labels, "Cmd": self.cmd},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        if let Some(date) = &self.created {
            config["created"] = json!(date);
        }
        config.to_string().into_bytes()
    }
}

/// What is missing or damaged in an archive as `docker save` writes it: blobs below their digests,
/// and a manifest that names them.
pub fn damage(tar: &[u8]) -> Option<String> {
    let Some(files) = untar(tar) else {
        return Some("the archive is cut short".to_owned());
    };
    for (name, bytes) in &files {
        if let Some(digest) = name.strip_prefix("blobs/sha256/").filter(|d| !d.is_empty())
            && sha256(bytes) != digest
        {
            return Some(format!("{name} is damaged"));
        }
    }
    let Some(manifest) = files.get("manifest.json") else {
        return Some("no manifest.json".to_owned());
    };
    let manifest: Value = serde_json::from_slice(manifest).expect("JSON");
    let images = manifest.as_array().expect("a list");
    if images.is_empty() {
        return Some("no image in manifest.json".to_owned());
    }
    let blobs = images.iter().flat_map(|image| {
        let layers = image["Layers"].as_array().expect("layers");
        layers.iter().chain([&image["Config"]])
    });
    let mut blobs = blobs.map(|blob| blob.as_str().expect("a path"));
    blobs
        .find(|blob| !files.contains_key(*blob))
        .map(|blob| format!("{blob} is missing"))
}

/// The files of a tar archive; none where it is cut short.
fn untar(mut tar: &[u8]) -> Option<BTreeMap<String, &[u8]>> {
    let mut files = BTreeMap::new();
    loop {
        let header = tar.get(..512)?;
        if header[0] == 0 {
            return Some(files);
        }
        let text = |from: usize, to: usize| {
            let field = String::from_utf8_lossy(&header[from..to]).into_owned();
            field.trim_matches(['\0', ' ']).to_owned()
        };
        let size = usize::from_str_radix(&text(124, 136), 8).ok()?;
        let body = tar.get(512..512 + size)?;
        files.insert(text(0, 100), body);
        tar = tar.get(512 + size.next_multiple_of(512)..)?;
    }
}

/// A tar header has room for 100 bytes.
fn layer_name(digest: &str) -> String {
    format!("layer-{digest}.tar")
}

pub fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
