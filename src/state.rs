//! Our own memory on disk: ledger and journal in one folder, under one run
//! lock. Decides what becomes of a ledger that cannot be used: it is set aside
//! and ages start anew, but a newer format is left as it is. It never decides
//! about images.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::{DateTime, Utc};

use crate::exit::{Exit, Fault};
use crate::host::files::{
    Appender, FileError, StateDir, keep_as, quarantine, read_trusted, read_trusted_end,
    write_atomic,
};
use crate::host::lock::{HeldBy, RunLock};
use crate::journal::{Record, intended, open_intents, pending, resisting};
use crate::ledger::{Ledger, Unusable};
use crate::model::ImageId;
use crate::text::escape;

const LEDGER: &str = "ledger.json";
const JOURNAL: &str = "journal.jsonl";
const LOCK: &str = "run.lock";

/// A ledger of 100,000 images is some 40 MB.
const LONGEST_LEDGER: u64 = 64 << 20;

/// Past this the journal is set aside at the start of a run, once, and begun
/// anew.
const LONGEST_JOURNAL: u64 = 4 << 20;

/// As much of the journal's end is read. One long run may have written more: what
/// was cut off stands at its end all the same.
const READ_OF_JOURNAL: u64 = 2 * LONGEST_JOURNAL;

/// What is remembered, and what had to be set aside for it.
#[derive(Debug)]
pub struct Memory {
    /// The ledger; empty where there was none that could be used.
    pub ledger: Ledger,
    /// Intents of earlier runs without an outcome.
    pub pending: BTreeMap<ImageId, Record>,
    /// When each image was last meant to be removed, whatever came of it.
    pub intended: BTreeMap<ImageId, DateTime<Utc>>,
    /// Images that the engine did not let go at the last try.
    pub resisting: BTreeSet<ImageId>,
    /// In words fit to print: why ages start anew, where they do.
    pub note: Option<String>,
    unusable: bool,
}

/// As much of a memory as a look at a host goes by.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// See [`Memory::ledger`].
    pub ledger: &'a Ledger,
    /// See [`Memory::intended`].
    pub intended: &'a BTreeMap<ImageId, DateTime<Utc>>,
    /// See [`Memory::resisting`].
    pub resisting: &'a BTreeSet<ImageId>,
}

impl Memory {
    /// What a look at a host goes by.
    pub fn known(&self) -> Known<'_> {
        Known {
            ledger: &self.ledger,
            intended: &self.intended,
            resisting: &self.resisting,
        }
    }
}

/// The exit code and words for a file that cannot be used.
pub(crate) fn state_fault(error: &FileError) -> Fault {
    Fault::new(error.exit(Exit::State), error.to_string())
}

/// Reads what is remembered of this engine's store, and changes nothing.
/// `dir` is `None` where the folder is not there yet.
pub fn read(dir: Option<&StateDir>, engine: &str) -> Result<Memory, Fault> {
    let mut memory = Memory {
        ledger: Ledger::empty(engine),
        pending: BTreeMap::new(),
        intended: BTreeMap::new(),
        resisting: BTreeSet::new(),
        note: None,
        unusable: false,
    };
    let Some(dir) = dir else { return Ok(memory) };
    let path = dir.file(LEDGER);
    let shown = escape(&path.to_string_lossy());
    if let Some(bytes) = read_trusted(&path, LONGEST_LEDGER).map_err(|e| state_fault(&e))? {
        let why = match Ledger::from_json(&bytes, engine) {
            Ok(ledger) => {
                memory.ledger = ledger;
                None
            }
            Err(Unusable::Newer(format)) => {
                return Err(Fault::new(
                    Exit::State,
                    format!(
                        "{shown}: format {format} was written by a newer secateur, this one reads up to {}; \
                         install that one, or name another folder with --state-dir",
                        crate::ledger::FORMAT
                    ),
                ));
            }
            Err(Unusable::Corrupt(why)) => Some(format!("it does not read: {why}")),
            Err(Unusable::OtherEngine(key)) => {
                Some(format!("it is of another engine or store ({key})"))
            }
        };
        memory.unusable = why.is_some();
        memory.note =
            why.map(|why| format!("ages start anew: the ledger {shown} is set aside, {why}"));
    }
    let journal =
        read_trusted_end(&dir.file(JOURNAL), READ_OF_JOURNAL).map_err(|e| state_fault(&e))?;
    let journal = journal.unwrap_or_default();
    memory.pending = pending(&journal, engine);
    memory.intended = intended(&journal, engine);
    memory.resisting = resisting(&journal);
    Ok(memory)
}

/// What our own runs did, oldest first, as far as the journal goes back.
/// Changes nothing; lines that do not read are passed over.
pub fn history(dir: &StateDir) -> Result<Vec<Record>, Fault> {
    let mut found = Vec::new();
    for name in [format!("{JOURNAL}.1"), JOURNAL.to_owned()] {
        let bytes =
            read_trusted_end(&dir.file(&name), READ_OF_JOURNAL).map_err(|e| state_fault(&e))?;
        let lines = bytes
            .iter()
            .flat_map(|bytes| bytes.split(|&byte| byte == b'\n'));
        found.extend(lines.filter_map(|line| serde_json::from_slice::<Record>(line).ok()));
    }
    Ok(found)
}

/// The state folder, ours alone until dropped.
#[derive(Debug)]
pub struct State {
    dir: StateDir,
    journal: Appender,
    _lock: RunLock,
}

impl State {
    /// Opens the folder for one run; the inner error says who has it.
    pub fn open(path: &Path) -> Result<Result<Self, HeldBy>, Fault> {
        let open = || -> Result<Result<Self, HeldBy>, FileError> {
            let dir = StateDir::open(path)?;
            let lock = match RunLock::take(&dir.file(LOCK))? {
                Ok(lock) => lock,
                Err(held) => return Ok(Err(held)),
            };
            dir.remove_leftovers(&lock)?;
            let journal = dir.file(JOURNAL);
            if std::fs::metadata(&journal).is_ok_and(|meta| meta.len() > LONGEST_JOURNAL) {
                rotate(&journal)?;
            }
            Ok(Ok(Self {
                journal: Appender::open(&journal)?,
                dir,
                _lock: lock,
            }))
        };
        open().map_err(|error| state_fault(&error))
    }

    /// See [`read`].
    pub fn memory(&self, engine: &str) -> Result<Memory, Fault> {
        read(Some(&self.dir), engine)
    }

    /// See [`history`].
    pub fn history(&self) -> Result<Vec<Record>, Fault> {
        history(&self.dir)
    }

    /// Writes the ledger, whole or not at all; one that could not be used is
    /// set aside first.
    pub fn save(&self, memory: &Memory, ledger: &Ledger) -> Result<(), Fault> {
        let path = self.dir.file(LEDGER);
        let bytes = ledger.to_json().map_err(|error| {
            Fault::new(Exit::State, format!("cannot write the ledger: {error}"))
        })?;
        let write = || -> Result<(), FileError> {
            if memory.unusable {
                quarantine(&path)?;
            }
            write_atomic(&path, &bytes)
        };
        write().map_err(|error| state_fault(&error))
    }

    /// Appends to the journal.
    pub fn record(&mut self, records: &[Record], durable: bool) -> Result<(), Fault> {
        let lines: Vec<u8> = records.iter().flat_map(Record::to_line).collect();
        if lines.is_empty() {
            return Ok(());
        }
        let mut write = || -> Result<(), FileError> {
            self.journal.append(&lines)?;
            if durable { self.journal.sync() } else { Ok(()) }
        };
        write().map_err(|error| state_fault(&error))
    }
}

/// One generation is kept: `journal.jsonl.1`. The new one begins with the
/// intents that are open still. A crash in between leaves the old one whole.
fn rotate(path: &Path) -> Result<(), FileError> {
    let journal = read_trusted_end(path, READ_OF_JOURNAL)?.unwrap_or_default();
    let mut old = path.as_os_str().to_owned();
    old.push(".1");
    keep_as(path, Path::new(&old))?;
    let open = open_intents(&journal);
    let lines: Vec<u8> = open.iter().flat_map(Record::to_line).collect();
    write_atomic(path, &lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files::Wanted;
    use crate::host::files::check;
    use crate::journal::Came;
    use crate::testing::{at, clock, id, image, inventory};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const ENGINE: &str = "e";

    fn folder() -> (tempfile::TempDir, StateDir) {
        let folder = crate::host::folder_of_ours();
        let dir = StateDir::open(folder.path()).unwrap();
        (folder, dir)
    }

    fn put(dir: &StateDir, name: &str, bytes: &[u8]) {
        let path = dir.file(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    }

    /// A line of that run's for this image: an intent, or what came of it.
    fn line(run: &str, n: u64, came: Option<Came>) -> String {
        let record = Record::outcome(run, at(0), id(n), came.unwrap_or(Came::Skipped), None);
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
        let both = line("old", 1, None) + &line("old", 1, Some(Came::Removed));
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
        assert!(!history(&dir).unwrap().is_empty());
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
        // It goes on there, and is not set aside again.
        let pending = state.memory(ENGINE).unwrap().pending;
        assert_eq!(
            pending.into_keys().collect::<Vec<_>>(),
            [id(2), id(3), id(4)]
        );
        let closed = Record::outcome("last", at(1), id(2), Came::Removed, None);
        state.record(&[closed], true).unwrap();
        drop(state);
        let state = State::open(folder.path()).unwrap().unwrap();
        assert_eq!(length(&dir, "journal.jsonl.1"), long.len() as u64);
        let pending = state.memory(ENGINE).unwrap().pending;
        assert_eq!(pending.into_keys().collect::<Vec<_>>(), [id(3), id(4)]);
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

    #[test]
    fn a_ledger_that_is_too_long_is_an_error_and_is_left_as_it_is() {
        let (_folder, dir) = folder();
        let path = dir.file(LEDGER);
        put(&dir, LEDGER, b"");
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(LONGEST_LEDGER + 1).unwrap();
        let fault = read(Some(&dir), ENGINE).unwrap_err();
        assert_eq!(fault.exit, Exit::State, "{fault:?}");
        assert!(fault.message.contains("longer than"), "{fault:?}");
        assert_eq!(length(&dir, LEDGER), LONGEST_LEDGER + 1);
    }

    #[test]
    fn a_ledger_that_cannot_be_used_is_set_aside_and_a_newer_one_is_not() {
        let seen = Ledger::empty("other").observe(
            &inventory([image(1)]),
            &clock(0, 0, "a"),
            chrono::TimeDelta::zero(),
        );
        let whole = seen.to_json().unwrap();
        let key = inventory([]).engine.key();
        for (engine, bytes) in [
            ("another engine", whole.as_slice()),
            (&*key, &whole[..whole.len() / 2]),
            (&*key, b""),
            (&*key, b"\xff\x00nonsense"),
        ] {
            let (folder, dir) = folder();
            put(&dir, LEDGER, bytes);
            let state = State::open(folder.path()).unwrap().unwrap();
            let memory = state.memory(engine).unwrap();
            assert_eq!(memory.ledger, Ledger::empty(engine));
            assert!(memory.note.as_ref().unwrap().contains("ages start anew"));
            assert_eq!(
                fs::read(dir.file(LEDGER)).unwrap(),
                bytes,
                "a look changes nothing"
            );
            state.save(&memory, &memory.ledger).unwrap();
            assert_eq!(fs::read(dir.file("ledger.json.corrupt-1")).unwrap(), bytes);
            assert_eq!(state.memory(engine).unwrap().note, None);
        }
        let (folder, dir) = folder();
        put(&dir, LEDGER, b"{\"format\":2}");
        let state = State::open(folder.path()).unwrap().unwrap();
        let fault = state.memory(&key).unwrap_err();
        assert_eq!(fault.exit, Exit::State);
        assert!(fault.message.contains("newer secateur"), "{fault:?}");
        assert_eq!(fs::read(dir.file(LEDGER)).unwrap(), b"{\"format\":2}");
    }
}
