//! The ledgers on disk: one file for each engine and store. Decides which file
//! is whose, and what becomes of `ledger.json`, which held the one ledger of
//! format 1. It never decides about images.
//!
//! `ledger.json` stays, and says of which format the ledgers are: a secateur
//! that reads only format 1 ends there with 74, instead of starting all ages anew.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::exit::{Exit, Fault};
use crate::host::files::{FileError, StateDir, keep_as, quarantine, read_trusted, write_atomic};
use crate::memory::ledger::{FORMAT, Ledger, Unusable, file_of, is_file_of_one};
use crate::memory::state::state_fault;
use crate::model::text::escape;

pub(super) const SHARED: &str = "ledger.json";

/// No ledger is longer: one that would be is not written ([`bytes_of`]).
const LONGEST: u64 = 64 << 20;

/// So many engines are remembered. None is forgotten to make room: its ledger
/// may be all that tells which of its images are rollbacks.
const MOST_ENGINES: usize = 64;

/// What [`SHARED`] is.
#[derive(Debug, PartialEq, Eq)]
enum Shared {
    /// It says that each ledger is a file of its own.
    Settled,
    /// It is not there, or what it held is in the engine's own file already.
    Over,
    /// The ledger of an engine that has no file of its own yet: this one.
    Movable(PathBuf),
    /// A ledger of another engine that has a file of its own, too: an older
    /// secateur went on with it. That engine's next run takes it over.
    Theirs,
    /// It does not read.
    Damaged,
}

/// The ledger of one engine, and how its file was found.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) ledger: Ledger,
    /// In words fit to print.
    pub(super) notes: Vec<String>,
    pub(super) files: Files,
}

/// What has to be put in order before a ledger is written.
#[derive(Debug)]
pub(super) struct Files {
    shared: Shared,
    own: Own,
}

/// What an engine's own file is.
#[derive(Debug, PartialEq, Eq)]
enum Own {
    Absent,
    Good,
    Damaged,
}

impl Read {
    /// Where there is no folder yet.
    pub(super) fn nothing(engine: &str) -> Self {
        Self {
            ledger: Ledger::empty(engine),
            notes: Vec::new(),
            files: Files {
                shared: Shared::Over,
                own: Own::Absent,
            },
        }
    }
}

/// Reads this engine's ledger, and changes nothing.
pub(super) fn read(dir: &StateDir, engine: &str) -> Result<Read, Fault> {
    let mut read = Read::nothing(engine);
    let own = dir.file(&file_of(engine));
    if let Some(bytes) = bytes(&own)? {
        match Ledger::from_json(&bytes, engine) {
            Ok(ledger) => (read.ledger, read.files.own) = (ledger, Own::Good),
            Err(Unusable::Newer(format)) => return Err(newer(&own, format)),
            Err(Unusable::Corrupt(why)) => read.own_is_damaged(&own, &why),
            Err(Unusable::OtherEngine(key)) => {
                read.own_is_damaged(&own, &format!("it is of another engine ({key})"));
            }
        }
    }
    let shared = dir.file(SHARED);
    let Some(bytes) = bytes(&shared)? else {
        read.says_that_it_is_new(dir, engine)?;
        return Ok(read);
    };
    read.files.shared = match Ledger::of_any_engine(&bytes) {
        _ if says_where(&bytes) => Shared::Settled,
        Err(Unusable::Newer(format)) => return Err(newer(&shared, format)),
        Err(Unusable::Corrupt(why) | Unusable::OtherEngine(why)) => {
            let shown = escape(&shared.to_string_lossy());
            let ages = if read.files.own == Own::Absent {
                "ages start anew: "
            } else {
                ""
            };
            let note = format!("{ages}the ledger {shown} is set aside, it does not read: {why}");
            read.notes.push(note);
            Shared::Damaged
        }
        Ok(old) => {
            let file = dir.file(&file_of(old.engine()));
            let mine = old.engine() == engine;
            match read.files.own {
                Own::Absent if mine => {
                    read.ledger = old;
                    Shared::Movable(file)
                }
                Own::Good if mine => {
                    read.ledger = read.ledger.joined_with(old);
                    Shared::Over
                }
                // Neither is believed: this one is older than what was damaged.
                Own::Damaged if mine => Shared::Over,
                Own::Absent | Own::Good | Own::Damaged => match self::bytes(&file)? {
                    None => Shared::Movable(file),
                    Some(copy) if copy == bytes => Shared::Over,
                    Some(_) => Shared::Theirs,
                },
            }
        }
    };
    if read.files.shared != Shared::Damaged {
        read.says_that_it_is_new(dir, engine)?;
    }
    Ok(read)
}

impl Read {
    fn own_is_damaged(&mut self, own: &Path, why: &str) {
        let shown = escape(&own.to_string_lossy());
        let note =
            format!("ages start anew: the ledger {shown} is set aside, it does not read: {why}");
        self.notes.push(note);
        self.files.own = Own::Damaged;
    }

    /// Whoever has DOCKER_HOST at another engine than usual reads it here.
    fn says_that_it_is_new(&mut self, dir: &StateDir, engine: &str) -> Result<(), Fault> {
        if self.files.own != Own::Absent || self.ledger != Ledger::empty(engine) {
            return Ok(());
        }
        let others =
            engines(dir)?.len() + usize::from(matches!(self.files.shared, Shared::Movable(_)));
        if others > 0 {
            let s = if others == 1 { "" } else { "s" };
            self.notes.push(format!(
                "ages start now: of this engine and store nothing is remembered, of {others} other{s} it is"
            ));
        }
        Ok(())
    }
}

/// Writes this engine's ledger, whole or not at all, and puts in order first
/// what [`read`] found.
pub(super) fn write(dir: &StateDir, files: &Files, ledger: &Ledger) -> Result<(), Fault> {
    let (own, shared) = (dir.file(&file_of(ledger.engine())), dir.file(SHARED));
    let bytes = bytes_of(ledger, LONGEST)?;
    let write = || -> Result<(), FileError> {
        // At any moment each ledger is whole in one of its two places. What is
        // joined with its older half is written before that half goes.
        let joined = files.shared == Shared::Over && files.own == Own::Good;
        if joined {
            write_atomic(&own, &bytes)?;
        }
        match &files.shared {
            Shared::Settled | Shared::Theirs => {}
            Shared::Over => write_atomic(&shared, &where_they_are())?,
            Shared::Movable(file) => {
                keep_as(&shared, file)?;
                write_atomic(&shared, &where_they_are())?;
            }
            Shared::Damaged => {
                quarantine(&shared)?;
                write_atomic(&shared, &where_they_are())?;
            }
        }
        if joined {
            return Ok(());
        }
        if files.own == Own::Damaged {
            quarantine(&own)?;
        }
        write_atomic(&own, &bytes)
    };
    if files.own == Own::Absent {
        room_for_one_more(dir, &own)?;
    }
    write().map_err(|error| state_fault(&error))
}

fn room_for_one_more(dir: &StateDir, own: &Path) -> Result<(), Fault> {
    let known = engines(dir)?;
    let full = known.len() >= MOST_ENGINES && !known.iter().any(|name| dir.file(name) == own);
    if !full {
        return Ok(());
    }
    let shown = escape(&dir.path().to_string_lossy());
    Err(Fault::new(
        Exit::State,
        format!(
            "{shown} remembers {} engines and stores, at most {MOST_ENGINES}, and not this one; delete the \
             ledgers of engines that are gone for good (ls -lt {shown}/ledger-*.json), or name \
             another folder with --state-dir",
            known.len()
        ),
    ))
}

/// The files of all engines that are remembered.
fn engines(dir: &StateDir) -> Result<Vec<String>, Fault> {
    let names = dir.names().map_err(|error| state_fault(&error))?;
    Ok(names
        .into_iter()
        .filter(|name| is_file_of_one(name))
        .collect())
}

/// What is written, so that it is always read again.
fn bytes_of(ledger: &Ledger, longest: u64) -> Result<Vec<u8>, Fault> {
    let fault = |why: String| Fault::new(Exit::State, format!("cannot write the ledger: {why}"));
    let json = |ledger: &Ledger| ledger.to_json().map_err(|error| fault(error.to_string()));
    let mut bytes = json(ledger)?;
    if bytes.len() as u64 > longest {
        drop(bytes);
        bytes = json(&ledger.clone().without_names())?;
    }
    let length = bytes.len() as u64;
    if length > longest {
        return Err(fault(format!(
            "it would have {length} bytes, more than the {longest} that are read; nothing is removed"
        )));
    }
    Ok(bytes)
}

fn bytes(path: &Path) -> Result<Option<Vec<u8>>, Fault> {
    read_trusted(path, LONGEST).map_err(|error| state_fault(&error))
}

fn newer(path: &Path, format: u32) -> Fault {
    let shown = escape(&path.to_string_lossy());
    Fault::new(
        Exit::State,
        format!(
            "{shown}: format {format} was written by a newer secateur, this one reads up to {FORMAT}; \
             install that one, or name another folder with --state-dir"
        ),
    )
}

/// What [`SHARED`] holds from format 2 on.
fn where_they_are() -> Vec<u8> {
    format!("{{\"format\":{FORMAT},\"ledgers\":\"ledger-*.json\"}}\n").into_bytes()
}

fn says_where(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
        ledgers: String,
    }
    let head = serde_json::from_slice(bytes);
    head.is_ok_and(|head: Head| head.format <= FORMAT && !head.ledgers.is_empty())
}

#[cfg(test)]
mod tests;
