//! What engines make of POST /images/load: what may be left out, what is refused, and which
//! names it sets. Bringing images back from an archive rests on it.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::lab::image::{Archive, sha256, tar};
use crate::lab::index::HERE;
use crate::lab::layout::{blob, blobs};
use crate::lab::{Engine, Kind};

/// As `docker save` of 25 and later writes it for a graphdriver, without these layers.
fn docker_form(archive: &Archive, layers: &[Vec<u8>], without: &[usize]) -> Vec<u8> {
    let config = archive.config_for(HERE);
    let paths: Vec<String> = layers.iter().map(|layer| blob(layer)).collect();
    let tags = archive.tags();
    let manifest = json!([{"Config": blob(&config), "RepoTags": tags, "Layers": paths}]);
    let manifest = manifest.to_string();
    let config_path = blob(&config);
    let mut files = vec![
        ("manifest.json", manifest.as_bytes()),
        (config_path.as_str(), config.as_slice()),
    ];
    let sent = paths.iter().zip(layers).enumerate();
    let sent = sent.filter(|(number, _)| !without.contains(number));
    files.extend(sent.map(|(_, (path, layer))| (path.as_str(), layer.as_slice())));
    tar(&files)
}

/// An OCI layout of this image, without these layers, and the digest of its manifest.
fn layout(archive: &Archive, name: Option<&str>, without: &[usize]) -> (Vec<u8>, String) {
    let (mut top, blobs) = blobs(archive);
    let digest = top["digest"].as_str().expect("a digest").to_owned();
    if let Some(name) = name {
        top["annotations"] = json!({"io.containerd.image.name": name});
    }
    let index = json!({"schemaVersion": 2, "manifests": [top]}).to_string();
    let mut files: Vec<(String, &[u8])> = vec![
        (
            "oci-layout".to_owned(),
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        ),
        ("index.json".to_owned(), index.as_bytes()),
    ];
    // Manifest and configuration come first.
    let sent = blobs.iter().enumerate();
    let sent = sent.filter(|(number, _)| *number < 2 || !without.contains(&(number - 2)));
    files.extend(sent.map(|(_, bytes)| (blob(bytes), bytes.as_slice())));
    let files: Vec<(&str, &[u8])> = files.iter().map(|(n, b)| (&**n, *b)).collect();
    (tar(&files), digest)
}

/// Everything that an engine says to a load.
fn said(engine: &Engine, tar: &[u8]) -> String {
    let headers = [("Content-Type", "application/x-tar")];
    let answer = engine.try_api("POST", "/images/load?quiet=1", &headers, tar);
    answer.expect("a load").ok("a load").text()
}

fn ids(engine: &Engine) -> Vec<String> {
    let images = engine.images();
    let mut ids: Vec<String> = images.iter().map(|it| it["Id"].to_string()).collect();
    ids.sort();
    ids
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip")
        .args(["-1", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip");
    let mut stdin = gzip.stdin.take().expect("piped");
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes).expect("gzip reads"));
    let output = gzip.wait_with_output().expect("gzip ends");
    writer.join().expect("the writer");
    output.stdout
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_overlay2_engine_needs_no_name_and_no_layers_that_it_has_in_the_same_place() {
    for kind in Kind::OVERLAY {
        let engine = Engine::start(kind);
        let first = Archive::new().noise(1000).layer(&[("shared", b"2")]);
        let second = Archive::new().layer(&[("x", b"1")]);
        let bytes = docker_form(&first, first.layers(), &[]);
        let answer = said(&engine, &bytes);
        let id = format!("sha256:{}", sha256(&first.config_for(HERE)));
        assert!(
            answer.contains(&format!("Loaded image ID: {id}")),
            "{answer}"
        );
        assert_eq!(ids(&engine), [format!("{id:?}")], "{}", kind.name());

        // The same two layers below, one more on top, which is compressed.
        let mut upon = first.clone().noise(1000);
        let mut layers = upon.layers().to_vec();
        let top = layers.pop().expect("a layer");
        layers.push(gzipped(&top));
        upon = upon.tag("upon:1");
        let answer = said(&engine, &docker_form(&upon, &layers, &[0, 1, 2]));
        assert!(
            answer.contains("Loaded image: upon:1"),
            "{}: {answer}",
            kind.name()
        );
        let had = ids(&engine);

        // A layer that is here upon others is not here.
        let mut elsewhere = second.clone();
        elsewhere = elsewhere.layer(&[("shared", b"2")]);
        let layers = elsewhere.layers();
        let answer = said(
            &engine,
            &docker_form(&elsewhere, layers, &[layers.len() - 1]),
        );
        assert!(answer.contains("no such file or directory"), "{answer}");
        // What is not its DiffID is refused.
        let mut wrong = elsewhere.layers().to_vec();
        wrong[0] = tar(&[("other", b"3")]);
        let answer = said(&engine, &docker_form(&elsewhere, &wrong, &[]));
        assert!(
            answer.contains("invalid diffID"),
            "{}: {answer}",
            kind.name()
        );
        assert_eq!(ids(&engine), had, "{}", kind.name());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_load_takes_a_tag_from_the_image_that_has_it() {
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let old = engine.load(&Archive::new().tag("app:1"));
        let new = engine.load(&Archive::new().tag("app:1"));
        assert_ne!(old, new);
        assert_eq!(engine.id("app:1"), new, "{}", kind.name());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_containerd_store_names_what_it_cannot_unpack_and_says_so_in_a_line_for_people() {
    let engine = Engine::start(Kind::Containerd28);
    let archive = Archive::new().noise(1000);
    let (bytes, digest) = layout(&archive, Some("docker.io/library/app:1"), &[0]);
    let answer = said(&engine, &bytes);
    assert!(answer.contains("Loaded image: app:1"), "{answer}");
    assert!(
        answer.contains("{\"stream\":\"Error unpacking image app:1: "),
        "{answer}"
    );
    assert!(!answer.contains("\"error\""), "{answer}");
    assert_eq!(
        engine.id("app:1"),
        digest,
        "a name that leads to half an image"
    );
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_containerd_store_loads_without_a_name_and_a_tag_ends_the_dangling_record() {
    for kind in Kind::CONTAINERD {
        let engine = Engine::start(kind);
        let first = Archive::new().noise(1000);
        let (bytes, digest) = layout(&first, None, &[]);
        let answer = said(&engine, &bytes);
        assert!(answer.contains("Loaded image ID: sha256:"), "{answer}");
        let record = format!("/images/moby-dangling@{digest}?noprune=1");
        engine.tag(&digest, "app:1");
        assert_eq!(
            engine.api("DELETE", &record, None).status,
            404,
            "{}",
            kind.name()
        );
        assert_eq!(engine.id("app:1"), digest);
        // Content that the store has may be left out, whichever image it is of.
        let upon = first.clone().noise(1000);
        let (bytes, digest) = layout(&upon, None, &[0, 1]);
        let answer = said(&engine, &bytes);
        assert!(!answer.contains("rror"), "{}: {answer}", kind.name());
        engine.tag(&digest, "upon:1");
        assert_eq!(engine.damage("upon:1"), None, "{}", kind.name());
        // A digest reference beside that record would hide the tags of its image.
        let named = Archive::new();
        let digest = layout(&named, None, &[]).1;
        let name = format!("docker.io/library/named@{digest}");
        let answer = said(&engine, &layout(&named, Some(&name), &[]).0);
        assert!(answer.contains("Loaded image: named@sha256:"), "{answer}");
        assert_eq!(engine.id(&format!("named@{digest}")), digest);
        let record = format!("/images/moby-dangling@{digest}?noprune=1");
        assert_eq!(
            engine.api("DELETE", &record, None).status,
            404,
            "{}",
            kind.name()
        );
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_load_that_breaks_off_leaves_no_image_and_the_next_is_whole() {
    use std::os::unix::net::UnixStream;
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let archive = Archive::new().noise(8 << 20).tag("app:1");
        let bytes = if kind.containerd() {
            layout(&archive, Some("docker.io/library/app:1"), &[]).0
        } else {
            docker_form(&archive, archive.layers(), &[])
        };
        let mut stream = UnixStream::connect(engine.socket()).expect("the engine's socket");
        let head = "POST /images/load?quiet=1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n";
        let half = &bytes[..bytes.len() / 2];
        let chunk = format!("{:x}\r\n", half.len());
        for part in [head.as_bytes(), chunk.as_bytes(), half, b"\r\n"] {
            stream.write_all(part).expect("the engine reads");
        }
        drop(stream);
        assert_eq!(engine.images().len(), 0, "{}", kind.name());
        let answer = said(&engine, &bytes);
        assert!(
            answer.contains("Loaded image: app:1"),
            "{}: {answer}",
            kind.name()
        );
        assert_eq!(engine.images().len(), 1, "{}", kind.name());
    }
}
