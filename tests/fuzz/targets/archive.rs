//! An archive with any index, manifests and configurations is read without a fault, and its
//! index is written as it was read. Parts are separated by a zero byte; the last is the
//! index, and `"@N"` in it or in a later part is the descriptor of part N.
#![no_main]

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use secateur::cache::archive::{Archive, Digest, Index};
use secateur::engine::Platform;

/// More parts would only be slower.
const MOST: usize = 8;

/// Only ours: an archive is trusted by its folder.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("secateur-fuzz-{}", std::process::id()));
        let mut folder = fs::DirBuilder::new();
        folder.mode(0o700).recursive(true).create(&path).expect("a folder");
        path
    })
}

fn with_parts(part: &str, parts: &[String]) -> String {
    let mut text = part.to_owned();
    for (number, part) in parts.iter().enumerate() {
        let (digest, size) = (Digest::of(part.as_bytes()), part.len());
        let named = format!(r#"{{"digest":"{digest}","size":{size}}}"#);
        text = text.replace(&format!("\"@{number}\""), &named);
        // A descriptor with more fields.
        let begun = format!(r#""digest":"{digest}","size":{size}"#);
        text = text.replace(&format!("\"@{number}\":0"), &begun);
    }
    text
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut parts: Vec<String> = Vec::new();
    for part in text.split('\0').take(MOST) {
        parts.push(with_parts(part, &parts));
    }
    let Some(index) = parts.pop() else { return };
    if let Ok(read) = Index::read(index.as_bytes()) {
        let written = read.to_json();
        let again = Index::read(&written).expect("it was written");
        assert_eq!(again.to_json(), written);
        assert_eq!(again.entries().count(), read.entries().count());
    }
    let dir = folder();
    let blobs = dir.join("blobs/sha256");
    let _ = fs::remove_dir_all(&blobs);
    fs::create_dir_all(&blobs).expect("a folder");
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("a file");
    fs::write(dir.join("index.json"), &index).expect("a file");
    for part in &parts {
        let name = Digest::of(part.as_bytes()).hex().to_owned();
        fs::write(blobs.join(name), part).expect("a file");
    }
    let Ok(archive) = Archive::open(dir) else {
        return;
    };
    let platform = Platform {
        os: "linux".into(),
        architecture: "amd64".into(),
    };
    for entry in archive.entries().take(MOST) {
        if let Ok(found) = archive.resolve(entry, &platform) {
            assert_eq!(found.layers.len(), found.diff_ids.len());
        }
        for blob in archive.blobs_of(entry).unwrap_or_default() {
            assert!(archive.has(&blob));
        }
    }
});
