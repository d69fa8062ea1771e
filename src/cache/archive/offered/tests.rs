use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::mpsc::Receiver;

use serde_json::{Value, json};

use super::*;
use crate::cache::archive::testing::{
    INDEX_TYPE, Layout, MANIFEST_TYPE, amd64, for_platform, with,
};
use crate::cache::registry::Transport;
use crate::engine::Insecure;
use crate::model::Store;
use crate::testing::block_on;

/// A registry whose repository `a/app` has these blobs and, at the tag 1, this manifest. The
/// receiver gets the requests.
fn serve(blobs: BTreeMap<String, Vec<u8>>, root: &Value) -> (String, Receiver<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, told) = std::sync::mpsc::channel();
    let root = root["digest"].as_str().unwrap().to_owned();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 2048];
            let length = stream.read(&mut head).unwrap_or(0);
            if head[0] == 0x16 {
                continue;
            }
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let which = path.rsplit('/').next().unwrap_or_default();
            let which = if which == "1" { &root } else { which };
            let answer = match blobs.get(which) {
                None => b"HTTP/1.1 404 no\r\nContent-Length: 0\r\n\r\n".to_vec(),
                Some(bytes) => {
                    let text: Option<Value> = serde_json::from_slice(bytes).ok();
                    let kind = text.and_then(|it| Some(it["mediaType"].as_str()?.to_owned()));
                    let kind = kind.unwrap_or_else(|| MANIFEST_TYPE.to_owned());
                    let length = bytes.len();
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
                    );
                    [head.as_bytes(), bytes].concat()
                }
            };
            let _ = tell.send(path);
            let _ = stream.write_all(&answer);
        }
    });
    (address, told)
}

/// All blobs of a layout, by digest.
fn blobs(layout: &Layout) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(layout.dir().join("blobs/sha256")).unwrap();
    let blob = |file: std::fs::DirEntry| {
        let digest = format!("sha256:{}", file.file_name().to_str().unwrap());
        (digest, std::fs::read(file.path()).unwrap())
    };
    files.map(Result::unwrap).map(blob).collect()
}

/// An index with images for two platforms, and an attestation.
fn index(layout: &Layout) -> Value {
    let ours = for_platform(layout.image("amd64", &["one", "two", "one"]), "amd64");
    let other = for_platform(layout.image("arm64", &["other"]), "arm64");
    let told = for_platform(layout.image("unknown", &["told"]), "unknown");
    let told = with(
        told,
        "annotations",
        json!({"vnd.docker.reference.type": "attestation-manifest"}),
    );
    let list =
        json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [told, other, ours]});
    layout.blob(INDEX_TYPE, list.to_string())
}

/// The image as offered, and the requests.
fn offered(
    blobs: BTreeMap<String, Vec<u8>>,
    root: &Value,
    archive: &Layout,
) -> (Result<Offered, NotOffered>, Vec<String>) {
    let (address, told) = serve(blobs, root);
    let transport = Transport::new(Insecure::default());
    let registry = Registry::new(transport.into(), &address, None, Store::Containerd);
    let archive = archive.open().unwrap();
    let platform = amd64();
    let offer = Fetcher {
        registry: &registry,
        archive: &archive,
        platform: &platform,
    };
    let gone = format!("{address}/a/app@sha256:{}", "0".repeat(64));
    let names = [gone, format!("{address}/a/app:1")].map(|name| name.parse().unwrap());
    (block_on(offer.image(&names)), told.try_iter().collect())
}

#[test]
fn of_an_index_only_the_image_of_the_platform_is_asked_for_and_what_is_there_is_not() {
    let source = Layout::empty();
    let root = index(&source);
    let empty = Layout::empty();
    empty.index(&[]);
    let (seen, asked) = offered(blobs(&source), &root, &empty);
    let seen = seen.unwrap();
    assert_eq!(seen.root.digest.as_str(), root["digest"]);
    assert_eq!(seen.root.media_type.raw(), INDEX_TYPE);
    let layers: Vec<&Digest> = seen.layers.iter().map(|layer| &layer.digest).collect();
    assert_eq!(layers, [&Digest::of(b"one"), &Digest::of(b"two")]);
    assert_eq!(seen.documents.len(), 3, "configuration, manifest, index");
    for (named, bytes) in &seen.documents {
        assert_eq!(Digest::of(bytes), named.digest);
    }
    assert_eq!(seen.documents[2].0, seen.root, "what names others is last");
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(asked[0].ends_with(&"0".repeat(64)), "{asked:?}");
    // The archive has the documents.
    let (seen, asked) = offered(blobs(&source), &root, &source);
    assert_eq!(seen.unwrap().documents.len(), 3);
    assert_eq!(asked.len(), 2, "{asked:?}");
}

#[test]
fn a_document_or_blob_with_other_bytes_than_its_digest_says_is_no_image() {
    let source = Layout::empty();
    let root = index(&source);
    let empty = Layout::empty();
    empty.index(&[]);
    let (seen, _) = offered(blobs(&source), &root, &empty);
    let seen = seen.unwrap();
    let config = seen.documents[0].0.digest.as_str().to_owned();
    let mut spoilt = blobs(&source);
    let bytes = spoilt.get_mut(&config).unwrap();
    let last = bytes.len() - 2;
    bytes[last] = b' ';
    let (seen, _) = offered(spoilt, &root, &empty);
    let Err(NotOffered::Invalid(why)) = seen else {
        panic!("{seen:?}")
    };
    assert!(why.contains("is damaged"), "{why}");
    // No image for this platform.
    let other = Layout::empty();
    let lone = for_platform(other.image("arm64", &["x"]), "arm64");
    let children = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [lone]});
    let root = other.blob(INDEX_TYPE, children.to_string());
    let (seen, _) = offered(blobs(&other), &root, &empty);
    let Err(NotOffered::Invalid(why)) = seen else {
        panic!("{seen:?}")
    };
    assert!(why.contains("has no image for linux/amd64"), "{why}");
}

#[test]
fn a_blob_is_written_as_it_comes_and_is_wrong_where_its_hash_is() {
    let source = Layout::empty();
    let root = source.image("amd64", &["one"]);
    let mut all = blobs(&source);
    all.insert(Digest::of(b"two").to_string(), b"twO".to_vec());
    let (address, _told) = serve(all, &root);
    let transport = Transport::new(Insecure::default());
    let registry = Registry::new(transport.into(), &address, None, Store::Containerd);
    source.index(&[]);
    let (archive, platform) = (source.open().unwrap(), amd64());
    let offer = Fetcher {
        registry: &registry,
        archive: &archive,
        platform: &platform,
    };
    let name: Reference = format!("{address}/a/app:1").parse().unwrap();
    let fetch = |bytes: &[u8]| {
        let mut blob = crate::cache::archive::testing::read(&root);
        blob.digest = Digest::of(bytes);
        blob.size = 3;
        let (mut to, mut heard) = (Vec::new(), 0);
        let done = block_on(offer.blob(&name, &blob, &mut to, &mut |came| heard = came));
        (done, to, heard)
    };
    let (done, to, heard) = fetch(b"one");
    assert!(done.is_ok(), "{done:?}");
    assert_eq!((to.as_slice(), heard), (&b"one"[..], 3));
    let Err(NotOffered::Invalid(why)) = fetch(b"two").0 else {
        panic!("it hashes to something else")
    };
    assert!(why.contains("is damaged"), "{why}");
    let Err(NotOffered::Answer(Upstream::Gone)) = fetch(b"none").0 else {
        panic!("it is not there")
    };
}
