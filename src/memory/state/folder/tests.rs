use super::*;
use crate::host::files::Wanted;
use crate::host::files::check;
use crate::memory::journal::{RemovalResult, SkipCause};
use crate::testing::{at, id};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const ENGINE: &str = "e";

pub(in crate::memory::state) fn folder() -> (tempfile::TempDir, StateDir) {
    let folder = crate::testing::folder_of_ours();
    let dir = StateDir::open(folder.path()).unwrap();
    (folder, dir)
}

pub(in crate::memory::state) fn put(dir: &StateDir, name: &str, bytes: &[u8]) {
    let path = dir.file(name);
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
}

/// A line of that run for this image: an intent, or its outcome.
fn line(run: &str, n: u64, came: Option<RemovalResult>) -> String {
    let record = Record::outcome(
        run,
        at(0),
        id(n),
        came.unwrap_or(RemovalResult::Skipped),
        None,
    );
    let line = String::from_utf8(record.to_line()).unwrap();
    if came.is_some() {
        return line;
    }
    let intent = format!(
        r#""event":"intent","engine":"{ENGINE}","names":[],"class":"untagged","unneeded_since":null,"evidence":null,"reclaimable_bytes":1"#
    );
    line.replace(r#""event":"outcome","result":"skipped""#, &intent)
}

/// Longer than that many bytes, of intents that were all closed.
fn long_journal(bytes: u64) -> String {
    let both = line("old", 1, None) + &line("old", 1, Some(RemovalResult::Removed));
    both.repeat(usize::try_from(bytes).unwrap() / both.len() + 1)
}

fn length(dir: &StateDir, name: &str) -> u64 {
    fs::metadata(dir.file(name)).unwrap().len()
}

#[test]
fn a_journal_of_any_length_is_read_from_its_end() {
    let (_folder, dir) = folder();
    let long = long_journal(READ_OF_JOURNAL + 1) + &line("last", 2, None);
    put(&dir, JOURNAL, long.as_bytes());
    let memory = read(Some(&dir), ENGINE).unwrap();
    assert_eq!(memory.pending.into_keys().collect::<Vec<_>>(), [id(2)]);
    let ids: Vec<_> = memory.intended.into_keys().collect();
    assert_eq!(ids, [id(1), id(2)]);
    assert!(!history(&dir, ENGINE).unwrap().is_empty());
    assert!(history(&dir, "another").unwrap().is_empty());
}

#[test]
fn a_long_journal_is_set_aside_and_the_new_one_begins_with_what_is_open() {
    let (folder, dir) = folder();
    let open = line("last", 2, None) + &line("last", 3, None);
    let long = line("old", 4, None) + &long_journal(LONGEST_JOURNAL) + &open;
    put(&dir, JOURNAL, long.as_bytes());
    put(&dir, "journal.jsonl.1", b"older\n");
    let mut state = State::open(folder.path()).unwrap().unwrap();
    assert_eq!(
        fs::read(dir.file("journal.jsonl.1")).unwrap(),
        long.as_bytes()
    );
    let kept = fs::read_to_string(dir.file(JOURNAL)).unwrap();
    assert_eq!(kept.lines().count(), 3, "{kept}");
    check(&dir.file(JOURNAL), Wanted::File).unwrap();
    // The new journal is appended to, and is not set aside again.
    let pending = state.memory(ENGINE).unwrap().pending;
    assert_eq!(
        pending.into_keys().collect::<Vec<_>>(),
        [id(2), id(3), id(4)]
    );
    let closed = Record::outcome("last", at(1), id(2), RemovalResult::Removed, None);
    state.record(&[closed], true).unwrap();
    drop(state);
    let state = State::open(folder.path()).unwrap().unwrap();
    assert_eq!(length(&dir, "journal.jsonl.1"), long.len() as u64);
    let pending = state.memory(ENGINE).unwrap().pending;
    assert_eq!(pending.into_keys().collect::<Vec<_>>(), [id(3), id(4)]);
}

#[test]
fn what_is_known_of_images_that_stayed_goes_on_in_the_new_journal() {
    let (folder, dir) = folder();
    let both = |n, came| line("r", n, None) + &line("r", n, Some(came));
    let put_back = line("r", 8, None)
        + &String::from_utf8(
            Record::outcome("r", at(0), id(8), RemovalResult::Skipped, None)
                .because(Some(SkipCause::NamesPutBack))
                .of(ENGINE)
                .to_line(),
        )
        .unwrap();
    let stayed = both(5, RemovalResult::Skipped) + &both(6, RemovalResult::Failed);
    let others = both(7, RemovalResult::Collateral) + &put_back;
    let long = stayed + &others + &long_journal(LONGEST_JOURNAL);
    put(&dir, JOURNAL, long.as_bytes());
    let state = State::open(folder.path()).unwrap().unwrap();
    let memory = state.memory(ENGINE).unwrap();
    assert_eq!(
        memory.intended.into_keys().collect::<Vec<_>>(),
        [id(5), id(6)]
    );
    assert!(memory.pending.is_empty());
    assert_eq!(memory.resisting, [id(6)].into());
}

#[test]
fn a_journal_that_is_just_long_enough_stays() {
    let (folder, dir) = folder();
    let mut just = vec![b'x'; usize::try_from(LONGEST_JOURNAL).unwrap() - 1];
    just.push(b'\n');
    put(&dir, JOURNAL, &just);
    State::open(folder.path()).unwrap().unwrap();
    assert!(!dir.file("journal.jsonl.1").exists());
}
