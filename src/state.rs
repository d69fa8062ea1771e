//! Our own memory on disk: ledger and journal in one folder, under one run
//! lock. Decides what becomes of a ledger that cannot be used: it is set aside
//! and ages start anew, but a newer format is left as it is. It never decides
//! about images.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};

use crate::exit::{Exit, Fault};
use crate::host::files::{Appender, FileError, StateDir, quarantine, read_trusted, write_atomic};
use crate::host::lock::{HeldBy, RunLock};
use crate::journal::{Record, intended, pending};
use crate::ledger::{Ledger, Unusable};
use crate::model::ImageId;
use crate::text::escape;

const LEDGER: &str = "ledger.json";
const JOURNAL: &str = "journal.jsonl";
const LOCK: &str = "run.lock";

/// A ledger of 100,000 images is some 40 MB.
const LONGEST_LEDGER: u64 = 64 << 20;

/// The journal is read whole at the start of a run, so it is kept short: past
/// this it is set aside, once, and begun anew.
const LONGEST_JOURNAL: u64 = 4 << 20;

/// What is remembered, and what had to be set aside for it.
#[derive(Debug)]
pub struct Memory {
    /// The ledger; empty where there was none that could be used.
    pub ledger: Ledger,
    /// Intents of earlier runs without an outcome.
    pub pending: BTreeMap<ImageId, Record>,
    /// When each image was last meant to be removed, whatever came of it.
    pub intended: BTreeMap<ImageId, DateTime<Utc>>,
    /// In words fit to print: why ages start anew, where they do.
    pub note: Option<String>,
    unusable: bool,
}

/// The exit code and words for a file that cannot be used.
pub(crate) fn state_fault(error: &FileError) -> Fault {
    let exit = match error {
        FileError::Untrusted { .. } => Exit::Permission,
        FileError::Io { .. } if error.is_permission_denied() => Exit::Permission,
        FileError::Io { .. } => Exit::State,
    };
    Fault::new(exit, error.to_string())
}

/// Reads what is remembered of this engine's store, and changes nothing.
/// `dir` is `None` where the folder is not there yet.
pub fn read(dir: Option<&StateDir>, engine: &str) -> Result<Memory, Fault> {
    let mut memory = Memory {
        ledger: Ledger::empty(engine),
        pending: BTreeMap::new(),
        intended: BTreeMap::new(),
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
        read_trusted(&dir.file(JOURNAL), 2 * LONGEST_JOURNAL).map_err(|e| state_fault(&e))?;
    let journal = journal.unwrap_or_default();
    memory.pending = pending(&journal);
    memory.intended = intended(&journal);
    Ok(memory)
}

/// What our own runs did, oldest first, as far as the journal goes back.
/// Changes nothing; lines that do not read are passed over.
pub fn history(dir: &StateDir) -> Result<Vec<Record>, Fault> {
    let mut found = Vec::new();
    for name in [format!("{JOURNAL}.1"), JOURNAL.to_owned()] {
        let bytes =
            read_trusted(&dir.file(&name), 2 * LONGEST_JOURNAL).map_err(|e| state_fault(&e))?;
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
    pub fn open(path: &std::path::Path) -> Result<Result<Self, HeldBy>, Fault> {
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

/// One generation is kept: `journal.jsonl.1`.
fn rotate(path: &std::path::Path) -> Result<(), FileError> {
    let mut old = path.as_os_str().to_owned();
    old.push(".1");
    std::fs::rename(path, PathBuf::from(old)).map_err(|source| FileError::Io {
        path: path.to_owned(),
        doing: "set aside",
        source,
    })
}
