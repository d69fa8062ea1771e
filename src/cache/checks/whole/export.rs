//! What is kept of an image's export: small JSON files, and a hash of every file.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::cache::checks::whole::tar::{Entry, Sink};
use crate::model::Bytes;

/// Bytes of one JSON file: registries accept manifests, configurations and indexes up to 4 MiB.
const LONGEST_TEXT: usize = 4 << 20;

/// Bytes of all JSON files together.
const MOST_TEXT: usize = 8 << 20;

const MOST_ENTRIES: usize = 20_000;

#[derive(Default)]
pub struct Export {
    hashes: BTreeMap<String, String>,
    links: BTreeMap<String, String>,
    texts: BTreeMap<String, Vec<u8>>,
    text_bytes: usize,
    bytes: u64,
    has_too_many: bool,
    current: Option<Current>,
}

struct Current {
    name: String,
    hash: Sha256,
    text: Option<Vec<u8>>,
}

impl Export {
    /// The size of all entries so far.
    pub fn bytes(&self) -> Bytes {
        Bytes(self.bytes)
    }

    /// Why some entries were left out.
    pub fn left_out(&self) -> Option<String> {
        self.has_too_many
            .then(|| format!("the export has more than {MOST_ENTRIES} entries"))
    }

    /// Name and hash, in hex, of each file.
    pub fn hashes(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.hashes.iter();
        all.map(|(name, hash)| (name.as_str(), hash.as_str()))
    }

    /// Whether the bytes of the current file are kept; known after its first bytes.
    pub fn keeps_bytes(&self) -> bool {
        let current = self.current.as_ref();
        current.is_some_and(|current| current.text.is_some())
    }

    /// The JSON file with this hash, in hex.
    pub fn text_of(&self, hash: &str) -> Option<&[u8]> {
        let mut files = self.hashes().filter(|(_, its)| *its == hash);
        files.find_map(|(name, _)| self.text(name))
    }

    pub fn text(&self, name: &str) -> Option<&[u8]> {
        self.texts.get(name).map(Vec::as_slice)
    }

    /// The hash of a file, in hex. Old exports contain links to earlier layers.
    pub fn hash(&self, name: &str) -> Option<&str> {
        let mut name = name.to_owned();
        for _ in 0..4 {
            match self.links.get(&name) {
                Some(link) => name = resolved(&name, link),
                None => break,
            }
        }
        self.hashes.get(&name).map(String::as_str)
    }
}

/// The target of a link, as a path in the export.
fn resolved(from: &str, link: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

impl Sink for Export {
    fn begin(&mut self, entry: &Entry) {
        let name = entry.name.trim_start_matches("./").to_owned();
        if self.hashes.len() + self.links.len() >= MOST_ENTRIES {
            self.has_too_many = true;
            return;
        }
        if let Some(link) = &entry.link {
            self.links.insert(name, link.clone());
        } else if entry.is_file {
            let size = usize::try_from(entry.size).unwrap_or(usize::MAX);
            let small = size <= LONGEST_TEXT.min(MOST_TEXT - self.text_bytes);
            // Layers of old exports end in .tar.
            let is_layer = Path::new(&name).extension().is_some_and(|end| end == "tar");
            let text = (small && !is_layer).then(Vec::new);
            self.current = Some(Current {
                name,
                hash: Sha256::new(),
                text,
            });
        }
    }

    fn data(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let Some(current) = &mut self.current else {
            return;
        };
        current.hash.update(bytes);
        if let Some(text) = &mut current.text {
            // Not JSON: a small layer.
            if text.is_empty() && !matches!(bytes.first(), Some(b'{' | b'[')) {
                current.text = None;
            } else {
                text.extend_from_slice(bytes);
                self.text_bytes += bytes.len();
            }
        }
    }

    fn end(&mut self) {
        if let Some(current) = self.current.take() {
            if let Some(text) = current.text {
                self.texts.insert(current.name.clone(), text);
            }
            self.hashes
                .insert(current.name, format!("{:x}", current.hash.finalize()));
        }
    }
}
