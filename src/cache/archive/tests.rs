use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::{Value, json};

use crate::cache::archive::index::Item;
use crate::cache::archive::testing::{
    INDEX_TYPE, Layout, MANIFEST_TYPE, amd64, for_platform, named, read, with,
};
use crate::cache::archive::writer::Writer;
use crate::cache::archive::{Archive, ArchiveError, Damage, Digest, Entry, Foreign, Ours};
use crate::exit::Exit;
use crate::model::reference::Reference;
use crate::testing::{at, block_on, folder_of_ours, id};

const APP: &str = "docker.io/library/app:1";

fn how(result: Result<impl Sized, ArchiveError>) -> Damage {
    match result.map(|_| ()).unwrap_err() {
        ArchiveError::Damaged { how, .. } => how,
        other => panic!("{other}"),
    }
}

/// The result for an archive with only this entry.
fn resolved(layout: &Layout, entry: Value) -> Result<usize, ArchiveError> {
    layout.index(&[named(entry, APP)]);
    let archive = layout.open()?;
    let entry = archive.named(&"app:1".parse().unwrap()).unwrap();
    archive.blobs_of(entry)?;
    let found = archive.resolve(entry, &amd64())?;
    Ok(found.layers.len())
}

#[test]
fn a_folder_with_nothing_in_it_is_absent_and_one_with_other_things_is_foreign() {
    let folder = folder_of_ours();
    let open = |path: &Path| Archive::open(path).map(|_| ()).unwrap_err();
    let absent = |path: &Path| matches!(open(path), ArchiveError::Absent(_));
    assert!(absent(folder.path()));
    assert!(absent(&folder.path().join("none")));
    std::fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
    std::fs::create_dir(folder.path().join("lost+found")).unwrap();
    std::fs::write(folder.path().join(".oci-layout.1.secateur-tmp"), "").unwrap();
    assert!(absent(folder.path()), "a first save was cut off");
    std::fs::write(folder.path().join("photo.jpg"), "").unwrap();
    let foreign = open(folder.path());
    assert!(
        matches!(&foreign, ArchiveError::Foreign { what, .. } if *what == Foreign::NoLayout),
        "{foreign}"
    );
    assert_eq!(foreign.exit(), Exit::State);

    let layout = Layout::empty();
    layout.put("oci-layout", r#"{"imageLayoutVersion":"2\u001b[2J"}"#);
    let later = layout.open().map(|_| ()).unwrap_err().to_string();
    assert!(
        later.contains(r"version 2\u{1b}[2J, wanted 1.0.0"),
        "{later}"
    );
}

#[test]
fn an_archive_that_lost_its_index_is_damaged_unless_it_never_had_a_blob() {
    let layout = Layout::empty();
    std::fs::remove_file(layout.dir().join("index.json")).unwrap();
    let error = layout.open().map(|_| ()).unwrap_err();
    assert!(matches!(error, ArchiveError::Absent(_)), "{error}");
    layout.blob("x", "bytes");
    assert_eq!(how(layout.open()), Damage::Missing);
}

#[test]
fn an_archive_that_another_run_creates_meanwhile_is_absent_or_there() {
    for _ in 0..50 {
        let folder = folder_of_ours();
        let opened = std::thread::scope(|scope| {
            let created = scope.spawn(|| {
                let writer = block_on(Writer::open(folder.path())).unwrap().unwrap();
                writer.draft(b"a blob").map(drop).unwrap();
            });
            let mut opened = Vec::new();
            while !created.is_finished() {
                opened.push(Archive::open(folder.path()));
            }
            opened
        });
        for error in opened.into_iter().filter_map(Result::err) {
            assert!(matches!(error, ArchiveError::Absent(_)), "{error}");
        }
    }
}

#[test]
fn what_others_may_write_to_is_refused_with_77_and_named() {
    let layout = Layout::empty();
    let refused = |path: &Path, mode: u32| {
        let before = std::fs::metadata(path).unwrap().permissions();
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        let error = layout.open().map(|_| ()).unwrap_err();
        assert_eq!(error.exit(), Exit::Permission, "{error}");
        let name = format!("{path:?}");
        assert!(error.to_string().contains(&name), "{error}");
        std::fs::set_permissions(path, before).unwrap();
    };
    refused(layout.dir(), 0o777);
    refused(layout.dir(), 0o1777);
    refused(&layout.dir().join("index.json"), 0o666);
    refused(&layout.dir().join("oci-layout"), 0o664);
    layout.open().unwrap();
}

#[test]
fn an_entry_is_found_by_its_whole_name_and_by_either_digest() {
    let layout = Layout::empty();
    let (one, two) = (layout.image("amd64", &["a"]), layout.image("amd64", &["b"]));
    let registry = Digest::of(b"in the registry");
    let mut ours = named(two.clone(), APP);
    ours["annotations"]["invalid.secateur.saved"] = json!("2026-11-29T00:00:00Z");
    ours["annotations"]["invalid.secateur.image-id"] = json!(Digest::of(b"id"));
    ours["annotations"]["invalid.secateur.registry-digest"] = json!(registry);
    layout.index(&[
        named(one.clone(), APP),
        ours,
        named(one.clone(), "latest"),
        json!({"annotations": 7}),
        json!("odd"),
    ]);
    let archive = layout.open().unwrap();
    assert_eq!(archive.entries().count(), 3);
    let found = archive.named(&"app:1".parse().unwrap()).unwrap();
    assert_eq!(found.descriptor, read(&two), "ours before those of others");
    assert!(archive.named(&"latest".parse().unwrap()).is_none());
    let found = archive.with_digest(&registry).unwrap();
    assert_eq!(found.descriptor, read(&two));
    let found = archive.with_digest(&read(&one).digest).unwrap();
    assert_eq!(found.descriptor, read(&one));
    let id = Digest::of(b"id");
    assert!(archive.with_id(id.as_id()).is_some());
    assert!(archive.with_id(registry.as_id()).is_none());
}

#[test]
fn of_an_index_with_several_variants_one_may_be_here() {
    let layout = Layout::empty();
    let of_variant = |layers: &[&str], variant: &str| {
        let platform = json!({"os": "linux", "architecture": "amd64", "variant": variant});
        with(layout.image("amd64", layers), "platform", platform)
    };
    let [v2, v3] = [of_variant(&["a", "b"], "v2"), of_variant(&["c"], "v3")];
    let index = json!({"manifests": [&v3, &v2]}).to_string();
    let index = layout.blob(INDEX_TYPE, index);
    let error = resolved(&layout, index.clone());
    assert_eq!(how(error), Damage::Variants("linux/amd64".into()));
    std::fs::remove_file(layout.path(&v3)).unwrap();
    assert_eq!(resolved(&layout, index).unwrap(), 2);
}

#[test]
fn an_index_leads_to_the_manifest_of_the_platform_that_is_here() {
    let layout = Layout::empty();
    let ours = for_platform(layout.image("amd64", &["a", "b"]), "amd64");
    let other = for_platform(layout.image("arm64", &["c"]), "arm64");
    let absent = for_platform(layout.image("amd64", &["v3"]), "amd64");
    std::fs::remove_file(layout.path(&absent)).unwrap();
    let refers = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let attestation = with(layout.image("amd64", &["tells"]), "annotations", refers);
    let index =
        |children: &[&Value]| layout.blob(INDEX_TYPE, json!({"manifests": children}).to_string());
    let whole = index(&[&attestation, &absent, &other, &ours]);
    assert_eq!(resolved(&layout, whole.clone()).unwrap(), 2);
    assert_eq!(resolved(&layout, index(&[&whole])).unwrap(), 2, "nested");
    let error = resolved(&layout, index(&[&other, &absent]));
    assert_eq!(how(error), Damage::NotFor("linux/amd64".into()));
    let archive = layout.open().unwrap();
    let entry = archive.entries().next().unwrap();
    let blobs = archive.blobs_of(entry).unwrap();
    assert_eq!(
        blobs.len(),
        4,
        "index, manifest, configuration, layer: {blobs:?}"
    );
    assert_eq!(blobs.last(), Some(&entry.descriptor));
}

#[test]
fn a_document_that_reads_as_manifest_and_as_index_is_refused() {
    let layout = Layout::empty();
    let image = layout.image("amd64", &["a"]);
    let text = std::fs::read(layout.path(&image)).unwrap();
    let mut both: Value = serde_json::from_slice(&text).unwrap();
    both["manifests"] = json!([image]);
    for kind in [INDEX_TYPE, MANIFEST_TYPE, ""] {
        let error = how(resolved(&layout, layout.blob(kind, both.to_string())));
        let Damage::Unreadable(why) = error else {
            panic!("{error}")
        };
        assert_eq!(why, "it is a manifest and an index at once");
    }
    let as_index = with(image.clone(), "mediaType", json!(INDEX_TYPE));
    assert!(matches!(
        how(resolved(&layout, as_index)),
        Damage::Unreadable(_)
    ));
    let untyped = with(image, "mediaType", Value::Null);
    assert_eq!(resolved(&layout, untyped).unwrap(), 1);
}

#[test]
fn a_manifest_and_a_configuration_that_contradict_each_other_are_refused() {
    let layout = Layout::empty();
    let image = layout.image("amd64", &["a", "b"]);
    let text = std::fs::read(layout.path(&image)).unwrap();
    let mut one: Value = serde_json::from_slice(&text).unwrap();
    one["layers"].as_array_mut().unwrap().pop();
    let entry = layout.blob(MANIFEST_TYPE, one.to_string());
    let (manifest, config) = (1, 2);
    assert_eq!(
        how(resolved(&layout, entry)),
        Damage::Layers { manifest, config }
    );
}

#[test]
fn indexes_of_indexes_end() {
    let layout = Layout::empty();
    let mut deep = layout.image("amd64", &["a"]);
    for _ in 0..5 {
        deep = layout.blob(INDEX_TYPE, json!({"manifests": [deep]}).to_string());
    }
    assert_eq!(how(resolved(&layout, deep)), Damage::TooDeep);
    // Each of three levels lists the next a hundred times: a million paths.
    let mut wide = layout.blob(INDEX_TYPE, json!({"manifests": []}).to_string());
    for _ in 0..3 {
        let children: Vec<Value> = (0..100)
            .map(|n| {
                with(
                    wide.clone(),
                    "mediaType",
                    json!(if n % 2 == 0 { "" } else { INDEX_TYPE }),
                )
            })
            .collect();
        wide = layout.blob(INDEX_TYPE, json!({"manifests": children}).to_string());
    }
    assert_eq!(how(resolved(&layout, wide)), Damage::TooDeep);
    let text = "[".repeat(100_000);
    let deep = layout.blob(INDEX_TYPE, format!(r#"{{"manifests":{text}"#));
    assert!(matches!(
        how(resolved(&layout, deep)),
        Damage::Unreadable(_)
    ));
}

#[test]
fn sizes_that_lie_are_refused_before_anything_is_read() {
    let layout = Layout::empty();
    let image = layout.image("amd64", &["a"]);
    let seen = image["size"].as_u64().unwrap();
    let wrong = with(image.clone(), "size", json!(seen + 1));
    let wanted = seen + 1;
    assert_eq!(how(resolved(&layout, wrong)), Damage::Size { seen, wanted });
    let huge = with(image.clone(), "size", json!(u64::MAX));
    assert!(matches!(
        how(resolved(&layout, huge)),
        Damage::TooLong { .. }
    ));
    for odd in [json!(-1), json!(1.5), json!("7"), Value::Null] {
        layout.index(&[with(named(image.clone(), APP), "size", odd)]);
        assert_eq!(layout.open().unwrap().entries().count(), 0);
    }
}

#[test]
fn a_path_in_the_place_of_a_digest_is_no_entry() {
    let layout = Layout::empty();
    let image = layout.image("amd64", &["a"]);
    for bad in ["sha256:../../../../etc/passwd", "../x", "", "sha512:00"] {
        layout.index(&[with(named(image.clone(), APP), "digest", json!(bad))]);
        assert_eq!(layout.open().unwrap().entries().count(), 0, "{bad}");
    }
    let bad = json!({"config": {"digest": "sha256:../../x", "size": 1}, "layers": []});
    let entry = layout.blob(MANIFEST_TYPE, bad.to_string());
    assert!(matches!(
        how(resolved(&layout, entry)),
        Damage::Unreadable(_)
    ));
}

#[test]
fn an_index_that_is_too_long_or_no_json_is_named() {
    let layout = Layout::empty();
    let many = vec![r#"{"digest":"","size":1}"#; 1_000_000].join(",");
    layout.put("index.json", format!(r#"{{"manifests":[{many}]}}"#));
    let error = layout.open().map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("index.json") && error.contains("longer than"),
        "{error}"
    );
    for bad in [
        "",
        "[]",
        "{}",
        r#"{"manifests":{}}"#,
        "{\"manifests\":[\u{1b}",
    ] {
        layout.put("index.json", bad);
        assert!(matches!(how(layout.open()), Damage::Unreadable(_)), "{bad}");
    }
    layout.put("index.json", r#"{"manifests":null}"#);
    assert_eq!(layout.open().unwrap().entries().count(), 0);
}

/// What reading a blob to its end or its first error returns.
fn bytes(layout: &Layout, blob: &Value) -> Result<Vec<u8>, ArchiveError> {
    let blob = read(blob);
    let mut blob = layout.open().unwrap().blob(&blob.digest, blob.size)?;
    let mut bytes = Vec::new();
    // Read in pieces, to see what came before an error.
    let mut piece = [0; 4];
    loop {
        match blob.read(&mut piece) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            Err(error) => {
                let all = bytes.len() as u64 == blob.size() && blob.size() > 0;
                assert!(!all, "all of it came");
                return Err(blob.error(error));
            }
        }
    }
}

#[test]
fn a_blob_whose_bytes_are_not_its_digest_never_comes_whole() {
    let layout = Layout::empty();
    let blob = layout.blob("x", "0123456789");
    assert_eq!(bytes(&layout, &blob).unwrap(), b"0123456789");
    let path = layout.path(&blob);
    std::fs::write(&path, "012345678X").unwrap();
    let seen = Digest::of(b"012345678X");
    assert_eq!(how(bytes(&layout, &blob)), Damage::Digest(seen));
    std::fs::write(&path, "0123").unwrap();
    let (seen, wanted) = (4, 10);
    assert_eq!(how(bytes(&layout, &blob)), Damage::Size { seen, wanted });
    let empty = layout.blob("x", "");
    assert_eq!(bytes(&layout, &empty).unwrap(), b"");
    let not_empty = with(blob, "size", json!(0));
    std::fs::write(&path, "").unwrap();
    assert_eq!(
        how(bytes(&layout, &not_empty)),
        Damage::Digest(Digest::of(b""))
    );
}

#[test]
fn a_blob_that_shrinks_or_grows_while_it_is_read_is_refused() {
    let layout = Layout::empty();
    let descriptor = layout.blob("x", "0123456789");
    let blob = read(&descriptor);
    let archive = layout.open().unwrap();
    for (after, fine) in [("0123", false), ("0123456789+", true)] {
        std::fs::write(layout.path(&descriptor), "0123456789").unwrap();
        let mut reading = archive.blob(&blob.digest, blob.size).unwrap();
        std::fs::write(layout.path(&descriptor), after).unwrap();
        let mut all = Vec::new();
        // Bytes after its end are not read.
        assert_eq!(reading.read_to_end(&mut all).is_ok(), fine, "{after}");
    }
}

#[test]
fn a_blob_that_is_missing_a_link_a_folder_or_a_fifo_is_not_read() {
    let layout = Layout::empty();
    let blob = layout.blob("x", "0123456789");
    let path = layout.path(&blob);
    let elsewhere = layout.dir().join("elsewhere");
    std::fs::rename(&path, &elsewhere).unwrap();
    assert_eq!(how(bytes(&layout, &blob)), Damage::Missing);
    symlink(&elsewhere, &path).unwrap();
    assert_eq!(how(bytes(&layout, &blob)), Damage::NotAFile);
    assert!(!layout.open().unwrap().has(&read(&blob)));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert_eq!(how(bytes(&layout, &blob)), Damage::NotAFile);
    std::fs::remove_dir(&path).unwrap();
    // Nobody writes into it: a read would block for ever.
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert_eq!(how(bytes(&layout, &blob)), Damage::NotAFile);
}

#[test]
fn what_others_wrote_into_an_index_is_written_back_as_it_was() {
    let layout = Layout::empty();
    let other = r#"{"size" : 7,"digest":"sha256:odd","annotations":{"b":1,"a":[1.0, 2e3]}}"#;
    let text = format!(
        r#"{{"x":{{"z":1, "a":2}},"manifests":[{other}],"schemaVersion":2,"annotations":{{"k":"v"}}}}"#
    );
    layout.put("index.json", text);
    let index = layout.open().unwrap().index;
    let written = String::from_utf8(index.to_json()).unwrap();
    for kept in [other, r#""x":{"z":1, "a":2}"#, r#""annotations":{"k":"v"}"#] {
        assert!(written.contains(kept), "{written}");
    }
    assert!(written.starts_with(
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":["#
    ));
    layout.put("index.json", &written);
    assert_eq!(layout.open().unwrap().index.to_json(), written.as_bytes());
}

#[test]
fn an_entry_of_ours_reads_as_it_was_written() {
    let layout = Layout::empty();
    let descriptor = read(&layout.image("amd64", &["a"]));
    let ours = Ours {
        saved: at(0),
        image_id: Some(id(1)),
        registry_digest: Some(Digest::of(b"")),
        unpromised_since: Some(at(5)),
    };
    let name: Reference = APP.parse().unwrap();
    let written = Entry::new(descriptor.clone(), Some(name.clone()), ours.clone());
    let entry = Entry::read(written.raw).unwrap().unwrap();
    assert_eq!(entry.descriptor, descriptor);
    assert_eq!((entry.name, entry.ours), (Some(name), Some(ours)));
}

#[test]
fn a_name_with_a_media_type_of_dockers_own_is_written_under_ocis_too_and_read_once() {
    let layout = Layout::empty();
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let descriptor = with(layout.image("amd64", &["a"]), "mediaType", json!(docker));
    layout.index(&[named(descriptor.clone(), APP)]);
    let mut index = layout.open().unwrap().index;
    let of_others: Value = serde_json::from_slice(&index.to_json()).unwrap();
    assert_eq!(of_others["manifests"].as_array().unwrap().len(), 1);
    let ours = Ours {
        saved: at(0),
        image_id: None,
        registry_digest: None,
        unpromised_since: None,
    };
    let entry = Entry::new(read(&descriptor), Some(APP.parse().unwrap()), ours);
    index.manifests.push(Item::Entry(Box::new(entry)));
    let written = index.to_json();
    let json: Value = serde_json::from_slice(&written).unwrap();
    let types = json["manifests"].as_array().unwrap().iter();
    let types: Vec<&str> = types.map(|it| it["mediaType"].as_str().unwrap()).collect();
    assert_eq!(types, [MANIFEST_TYPE, docker, docker]);
    layout.put("index.json", &written);
    let archive = layout.open().unwrap();
    assert_eq!(archive.entries().count(), 2);
    assert_eq!(archive.index.to_json(), written);
}

#[test]
fn a_blob_that_was_read_and_is_damaged_counts_as_not_there() {
    let layout = Layout::empty();
    let image = layout.image("amd64", &["one", "two"]);
    layout.index(&[named(image, APP)]);
    let mut archive = layout.open().unwrap();
    let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
    std::fs::write(archive.path(&one), "oNe").unwrap();
    layout.put("blobs/sha256/readme", "of somebody");
    assert!(archive.holds(&one, 3), "nobody read it");
    let mut read = 0;
    archive.find_damage(&mut |bytes| read = bytes);
    assert!(!archive.holds(&one, 3) && archive.holds(&two, 3));
    assert!(read > 6, "{read}");
    let said = archive.damage();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains(one.hex()), "{said:?}");
}
