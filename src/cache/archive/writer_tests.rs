use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::cache::archive::save::layers;
use crate::cache::archive::testing::{Layout, amd64, named, read};
use crate::cache::archive::trim::trim;
use crate::cache::archive::writer::Writer;
use crate::cache::archive::{ArchiveError, Entry, Ours};
use crate::cache::promise::baseline::Recorded;
use crate::cache::promise::{By, Promise};
use crate::testing::{at, block_on, folder_of_ours, id, wanted};

fn writer(layout: &Layout) -> Writer {
    block_on(Writer::open(layout.dir())).unwrap().unwrap()
}

/// An entry of `app:1`, saved at second 0.
fn ours(layout: &Layout, unpromised_since: Option<i64>) -> Entry {
    let descriptor = read(&layout.image("amd64", &["a", "b"]));
    let ours = Ours {
        saved: at(0),
        image_id: None,
        registry_digest: None,
        unpromised_since: unpromised_since.map(at),
    };
    Entry::new(descriptor, Some("app:1".parse().unwrap()), ours)
}

/// When the entries were marked as unpromised, after a trim at second 100 with one entry from
/// before.
fn marked(since: Option<i64>, promises: &[Promise]) -> Vec<Option<i64>> {
    let layout = Layout::empty();
    let mut writer = writer(&layout);
    writer.put(ours(&layout, since));
    trim(
        &mut writer,
        promises,
        Duration::from_secs(60),
        at(100),
        &amd64(),
    )
    .unwrap();
    writer.commit(&amd64()).unwrap();
    let archive = layout.open().unwrap();
    let ours = archive.entries().filter_map(|entry| entry.ours.as_ref());
    let marks = ours.map(|ours| ours.unpromised_since);
    marks
        .map(|mark| mark.map(|mark| (mark - at(0)).num_seconds()))
        .collect()
}

#[test]
fn an_entry_goes_only_a_minimum_age_after_its_promise_was_first_seen_to_be_gone() {
    let promised = [Promise::new(wanted("app:1"), By::Policy)];
    let other = [Promise::new(wanted("app:2"), By::Policy)];
    assert_eq!(marked(None, &promised), [None]);
    assert_eq!(marked(Some(1), &promised), [None], "promised again");
    assert_eq!(marked(None, &other), [Some(100)]);
    assert_eq!(marked(Some(41), &other), [Some(41)]);
    assert_eq!(marked(Some(40), &other), [None; 0]);
    assert_eq!(marked(Some(101), &other), [Some(100)], "still to come");
}

#[test]
fn only_what_an_engine_exported_is_known_to_contain_its_layers() {
    let layout = Layout::empty();
    let mut writer = writer(&layout);
    let from_registry = ours(&layout, None);
    writer.put(from_registry.clone());
    assert!(layers(&writer, &amd64()).is_empty());
    let exported = Ours {
        image_id: Some(id(1)),
        ..from_registry.ours.unwrap()
    };
    let descriptor = from_registry.descriptor;
    writer.put(Entry::new(descriptor, from_registry.name, exported));
    assert_eq!(layers(&writer, &amd64()).len(), 2);
}

#[test]
fn where_an_entry_of_others_cannot_be_followed_no_blob_goes() {
    for (other, left) in [
        (None, 0),
        (Some(json!({"digest": "sha512:x", "size": 1})), 4),
    ] {
        let layout = Layout::empty();
        layout.index(&Vec::from_iter(other));
        let mut writer = writer(&layout);
        writer.put(ours(&layout, Some(0)));
        trim(&mut writer, &[], Duration::from_secs(60), at(100), &amd64()).unwrap();
        let blobs = fs::read_dir(layout.dir().join("blobs/sha256")).unwrap();
        assert_eq!(blobs.count(), left);
        assert_eq!(layout.open().unwrap().entries().count(), 0);
    }
}

#[test]
fn entries_and_items_of_others_stay_beside_one_of_ours_for_the_same_name() {
    let layout = Layout::empty();
    let other = named(layout.image("amd64", &["c"]), "docker.io/library/app:1");
    layout.index(std::slice::from_ref(&other));
    let item = r#"{"Config":"x", "RepoTags":null,"Layers":["y"]}"#;
    layout.put("manifest.json", format!("[{item}]"));
    for _ in 0..2 {
        let mut writer = writer(&layout);
        writer.put(ours(&layout, None));
        writer.commit(&amd64()).unwrap();
    }
    let index = fs::read_to_string(layout.dir().join("index.json")).unwrap();
    assert!(index.contains(&other.to_string()), "{index}");
    assert_eq!(layout.open().unwrap().entries().count(), 2);
    let docker = fs::read_to_string(layout.dir().join("manifest.json")).unwrap();
    assert!(docker.starts_with(&format!("[{item},")), "{docker}");
    assert_eq!(docker.matches("\"invalid.secateur\":true").count(), 1);
    let mut writer = writer(&layout);
    writer.drop(|_| true);
    writer.commit(&amd64()).unwrap();
    let docker = fs::read_to_string(layout.dir().join("manifest.json")).unwrap();
    assert_eq!(docker, format!("[{item}]"));
}

#[test]
fn an_image_whose_name_went_to_another_stays_until_its_promise_has_ended_for_long_enough() {
    let layout = Layout::empty();
    layout.index(&[]);
    let entry = |layers: &[&str]| {
        let descriptor = read(&layout.image("amd64", layers));
        let ours = ours(&layout, None).ours.unwrap();
        Entry::new(descriptor, Some("app:1".parse().unwrap()), ours)
    };
    let mut writer = writer(&layout);
    let (old, new) = (entry(&["old"]), entry(&["new"]));
    writer.put(old.clone());
    for _ in 0..2 {
        writer.put(new.clone());
    }
    let digests = |writer: &Writer| {
        let entries = writer.archive.entries();
        let each = entries.map(|it| (it.name.is_some(), it.descriptor.digest.clone()));
        each.collect::<Vec<_>>()
    };
    let (old, new) = (old.descriptor.digest, new.descriptor.digest);
    let mut recorded = Promise::new(wanted("app:1"), By::Baseline);
    recorded.recorded = Some(Recorded {
        at: at(0),
        id: None,
        digests: vec![old.to_string()],
        pull_milliseconds: None,
    });
    assert_eq!(
        digests(&writer),
        [(true, new.clone()), (false, old.clone())]
    );
    assert!(writer.archive.with_digest(&old).is_some());
    let promise = Promise::new(wanted("app:1"), By::Policy);
    for (promise, second, left) in [
        (&recorded, 0, 2),
        (&recorded, 100, 2),
        (&promise, 200, 2),
        (&promise, 259, 2),
        (&promise, 260, 1),
    ] {
        let minute = Duration::from_secs(60);
        trim(
            &mut writer,
            std::slice::from_ref(promise),
            minute,
            at(second),
            &amd64(),
        )
        .unwrap();
        assert_eq!(digests(&writer).len(), left, "{second}");
    }
    assert_eq!(digests(&writer), [(true, new)]);
}

#[test]
fn what_a_killed_writer_left_goes_and_a_folder_of_somebody_else_is_not_touched() {
    let layout = Layout::empty();
    for left in [".x.secateur-tmp", "blobs/sha256/.y.secateur-tmp"] {
        layout.put(left, "half");
    }
    let kept = layout.blob("x", "nobody names it");
    writer(&layout);
    assert!(layout.path(&kept).exists());
    let blobs = fs::read_dir(layout.dir().join("blobs/sha256")).unwrap();
    assert_eq!(blobs.count(), 1);
    assert!(!layout.dir().join(".x.secateur-tmp").exists());

    let folder = folder_of_ours();
    fs::write(folder.path().join("photo.jpg"), "").unwrap();
    let error = block_on(Writer::open(folder.path())).unwrap_err();
    assert!(matches!(error, ArchiveError::Foreign { .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_first_save_that_was_cut_off_anywhere_is_begun_again() {
    for cut in ["", "blobs", "blobs/sha256", "oci-layout"] {
        let layout = Layout::empty();
        let folder = folder_of_ours();
        if cut == "oci-layout" {
            fs::copy(layout.dir().join(cut), folder.path().join(cut)).unwrap();
        } else {
            fs::create_dir_all(folder.path().join(cut)).unwrap();
        }
        drop(block_on(Writer::open(folder.path())).unwrap().unwrap());
        let archive = crate::cache::archive::Archive::open(folder.path());
        assert_eq!(archive.unwrap().entries().count(), 0, "{cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_writer_waits_for_the_first_and_then_tells_who_that_is() {
    for (seconds, comes) in [(9, true), (11, false)] {
        let layout = Layout::empty();
        let first = Writer::open(layout.dir()).await.unwrap().unwrap();
        let ends = async {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            drop(first);
        };
        let (second, ()) = tokio::join!(Writer::open(layout.dir()), ends);
        let second = second.unwrap();
        assert_eq!(second.is_ok(), comes, "after {seconds} s: {second:?}");
    }
}
