//! The state folder: ledgers and journal under one run lock. Decides when a long journal is
//! rotated.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::exit::Fault;
use crate::host::files::{Appender, FileError, StateDir, keep_as, read_trusted_end, write_atomic};
use crate::host::run_lock::{HeldBy, RunLock};
use crate::memory::journal::{
    Intended, Record, carried, intended, of_engine, pending, records, resisting,
};
use crate::memory::ledger::Ledger;
use crate::memory::state::{ledgers, policy_file};
use crate::model::ImageId;

const JOURNAL: &str = "journal.jsonl";
const LOCK: &str = "run.lock";

/// In bytes. A longer journal is rotated at the start of a run.
const LONGEST_JOURNAL: u64 = 4 << 20;

/// In bytes: how much of the journal's end is read. A long run may have written more, but a
/// removal that was cut off is at its end.
const READ_OF_JOURNAL: u64 = 2 * LONGEST_JOURNAL;

#[derive(Debug)]
pub struct Memory {
    /// Empty where none could be used.
    pub ledger: Ledger,
    /// Intents of earlier runs without an outcome.
    pub pending: BTreeMap<ImageId, Record>,
    /// The last intent to remove each image, whatever its outcome.
    pub intended: BTreeMap<ImageId, Intended>,
    /// Images whose last removal the engine refused.
    pub resisting: BTreeSet<ImageId>,
    /// Why ages start anew, where they do. Fit to print.
    pub notes: Vec<String>,
    files: ledgers::Files,
}

/// The part of a memory that a survey uses.
#[derive(Debug, Clone, Copy)]
pub struct Remembered<'a> {
    pub ledger: &'a Ledger,
    pub intended: &'a BTreeMap<ImageId, Intended>,
    pub resisting: &'a BTreeSet<ImageId>,
}

impl Memory {
    pub fn remembered(&self) -> Remembered<'_> {
        Remembered {
            ledger: &self.ledger,
            intended: &self.intended,
            resisting: &self.resisting,
        }
    }
}

/// Reads what is remembered of this engine's store, and changes nothing.
/// `dir` is `None` where the folder is not there yet.
pub fn read(dir: Option<&StateDir>, engine: &str) -> Result<Memory, Fault> {
    let (read, journal) = match dir {
        None => (ledgers::Read::nothing(engine), None),
        Some(dir) => {
            let journal = read_trusted_end(&dir.file(JOURNAL), READ_OF_JOURNAL);
            let read = ledgers::read(dir, engine)?;
            (read, journal?)
        }
    };
    let journal = journal.unwrap_or_default();
    Ok(Memory {
        ledger: read.ledger,
        pending: pending(&journal, engine),
        intended: intended(&journal, engine),
        resisting: resisting(&journal, engine),
        notes: read.notes,
        files: read.files,
    })
}

/// What earlier runs did on this engine's store, oldest first, as far as the journal goes back.
/// Changes nothing; lines that do not parse are skipped.
pub fn history(dir: &StateDir, engine: &str) -> Result<Vec<Record>, Fault> {
    // The older one last: a run that sets it aside in between makes records come twice, but
    // loses none.
    let new = read_trusted_end(&dir.file(JOURNAL), READ_OF_JOURNAL)?.unwrap_or_default();
    let old = dir.file(&format!("{JOURNAL}.1"));
    let old = read_trusted_end(&old, READ_OF_JOURNAL)?.unwrap_or_default();
    let all = records(&old).chain(records(&new));
    Ok(of_engine(all, engine).collect())
}

/// The state folder, under the run lock until dropped.
#[derive(Debug)]
pub struct State {
    dir: StateDir,
    journal: Appender,
    /// The engine whose memory was read: new records are of its images.
    engine: RefCell<Option<String>>,
    _lock: RunLock,
}

impl State {
    /// Opens the folder for one run; the inner error names the run that has it.
    pub fn open(path: &Path) -> Result<Result<Self, HeldBy>, Fault> {
        let open = || -> Result<Result<Self, HeldBy>, FileError> {
            let dir = StateDir::open(path)?;
            let lock = match RunLock::take(&dir.file(LOCK))? {
                Ok(lock) => lock,
                Err(held) => return Ok(Err(held)),
            };
            lock.remove_leftovers(&dir)?;
            let journal = dir.file(JOURNAL);
            if std::fs::metadata(&journal).is_ok_and(|meta| meta.len() > LONGEST_JOURNAL) {
                rotate(&journal)?;
            }
            Ok(Ok(Self {
                journal: Appender::open(&journal)?,
                dir,
                engine: RefCell::default(),
                _lock: lock,
            }))
        };
        open().map_err(Fault::from)
    }

    /// See [`read`].
    pub fn memory(&self, engine: &str) -> Result<Memory, Fault> {
        self.engine.replace(Some(engine.to_owned()));
        read(Some(&self.dir), engine)
    }

    /// See [`history`].
    pub fn history(&self) -> Result<Vec<Record>, Fault> {
        history(
            &self.dir,
            self.engine.borrow().as_deref().unwrap_or_default(),
        )
    }

    /// Writes this engine's ledger, in full or not at all. One that could not be used is set
    /// aside first.
    pub fn save(&self, memory: &Memory, ledger: &Ledger) -> Result<(), Fault> {
        ledgers::write(&self.dir, &memory.files, ledger)
    }

    /// Remembers that a run used this policy file: see [`crate::memory::state::last_policy`].
    pub fn used_policy(&self, file: &Path) -> Result<(), Fault> {
        policy_file::used(&self.dir, file)
    }

    pub fn record(&mut self, records: &[Record], durable: bool) -> Result<(), Fault> {
        let engine = self.engine.borrow();
        let line = |record: &Record| match &*engine {
            Some(engine) => record.clone().of(engine).to_line(),
            None => record.to_line(),
        };
        let lines: Vec<u8> = records.iter().flat_map(line).collect();
        if lines.is_empty() {
            return Ok(());
        }
        let mut write = || -> Result<(), FileError> {
            self.journal.append(&lines)?;
            if durable { self.journal.sync() } else { Ok(()) }
        };
        write().map_err(Fault::from)
    }
}

/// Keeps one older journal, `journal.jsonl.1`. The new one begins with what later runs need of
/// it. A crash in between leaves the old one in place.
fn rotate(path: &Path) -> Result<(), FileError> {
    let journal = read_trusted_end(path, READ_OF_JOURNAL)?.unwrap_or_default();
    let mut old = path.as_os_str().to_owned();
    old.push(".1");
    keep_as(path, Path::new(&old))?;
    let carried = carried(&journal);
    let lines: Vec<u8> = carried.iter().flat_map(Record::to_line).collect();
    write_atomic(path, &lines)
}

#[cfg(test)]
pub(super) mod tests;
