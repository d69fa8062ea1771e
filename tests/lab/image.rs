//! Images without a network: tar files, and archives as `docker save` writes them.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

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
        let diff_ids: Vec<String> = self
            .layers
            .iter()
            .map(|layer| format!("sha256:{}", sha256(layer)))
            .collect();
        let labels: serde_json::Map<String, Value> = self
            .labels
            .iter()
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect();
        let mut config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": {"Labels": labels, "Cmd": self.cmd},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        if let Some(date) = &self.created {
            config["created"] = json!(date);
        }
        let config = config.to_string().into_bytes();
        let config_name = format!("{}.json", sha256(&config));
        let layer_names: Vec<String> = (0..self.layers.len())
            .map(|n| format!("layer-{n}.tar"))
            .collect();
        let manifest =
            json!([{"Config": config_name, "RepoTags": self.tags, "Layers": layer_names}]);
        let manifest = manifest.to_string().into_bytes();

        let mut files: Vec<(&str, &[u8])> =
            vec![("manifest.json", &manifest), (&config_name, &config)];
        for (name, layer) in layer_names.iter().zip(&self.layers) {
            files.push((name, layer));
        }
        tar(&files)
    }
}

/// By coreutils: no crate, and nothing here is worth one.
pub fn sha256(bytes: &[u8]) -> String {
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sha256sum");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(bytes)
        .expect("sha256sum reads all");
    let output = child.wait_with_output().expect("sha256sum");
    String::from_utf8_lossy(&output.stdout)
        .chars()
        .take(64)
        .collect()
}
