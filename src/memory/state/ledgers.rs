//! The ledgers on disk: one file for each engine and store. Decides which file belongs to which
//! engine, and how `ledger.json`, which held the only ledger of format 1, is taken over.
//!
//! `ledger.json` stays and names the format of the ledgers: a secateur that reads only format 1
//! stops there with exit code 74, and does not start all ages anew.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::exit::{Exit, Fault};
use crate::host::files::{
    FileError, StateDir, keep_as, quarantine, read_trusted, write_atomic, write_atomic_by,
};
use crate::memory::ledger::{FORMAT, Ledger, Unusable, file_of, is_file_of_one};
use crate::model::text::{escape_path, for_shell};

pub(super) const SHARED: &str = "ledger.json";

/// In bytes. A longer ledger is neither read nor written ([`fitting`]).
const LONGEST: u64 = 64 << 20;

/// Engines that are remembered. None is forgotten to make room: only its ledger may tell which
/// of its images are rollbacks.
const MOST_ENGINES: usize = 64;

/// What [`SHARED`] is.
#[derive(Debug, PartialEq, Eq)]
enum Shared {
    /// It says that each ledger has its own file.
    Settled,
    /// It is not there, or the engine's own file already has its content.
    Over,
    /// The ledger of an engine that has no file of its own yet; this will be its file.
    Movable(PathBuf),
    /// A ledger of another engine that also has a file of its own: an older secateur continued
    /// it. The next run on that engine takes it over.
    Theirs,
    Damaged,
}

/// The ledger of one engine, and how its file was found.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) ledger: Ledger,
    /// Fit to print.
    pub(super) notes: Vec<String>,
    pub(super) files: Files,
}

/// The state of the files, which the next write puts in order.
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
    /// As if there were no folder yet.
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
            let anew = read.files.own == Own::Absent;
            read.notes.push(set_aside(&shared, &why, anew));
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
                // Neither is believed: this one is older than the damaged one.
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
        self.notes.push(set_aside(own, why, true));
        self.files.own = Own::Damaged;
    }

    /// For an operator whose DOCKER_HOST leads to another engine than usual.
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

/// Fit to print. `anew`: nothing else is remembered of this engine.
fn set_aside(path: &Path, why: &str, anew: bool) -> String {
    let ages = if anew { "ages start anew: " } else { "" };
    let shown = escape_path(path);
    format!("{ages}the ledger {shown} is set aside, it does not read: {why}")
}

/// Writes this engine's ledger, in full or not at all. First puts in order what [`read`] found.
pub(super) fn write(dir: &StateDir, files: &Files, ledger: &Ledger) -> Result<(), Fault> {
    let (own, shared) = (dir.file(&file_of(ledger.engine())), dir.file(SHARED));
    let ledger = fitting(ledger, LONGEST)?;
    let write_own = || write_atomic_by(&own, |file| ledger.write_to(file));
    let write = || -> Result<(), FileError> {
        // At any moment each ledger is complete in one of its two places. A joined ledger is
        // written before its older half is removed.
        let joined = files.shared == Shared::Over && files.own == Own::Good;
        if joined {
            write_own()?;
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
        write_own()
    };
    if files.own == Own::Absent {
        room_for_one_more(dir, &own)?;
    }
    write().map_err(Fault::from)
}

fn room_for_one_more(dir: &StateDir, own: &Path) -> Result<(), Fault> {
    let known = engines(dir)?;
    let full = known.len() >= MOST_ENGINES && !known.iter().any(|name| dir.file(name) == own);
    if !full {
        return Ok(());
    }
    let (shown, typed) = (escape_path(dir.path()), for_shell(dir.path()));
    Err(Fault::new(
        Exit::State,
        format!(
            "{shown} remembers {} engines and stores, at most {MOST_ENGINES}, and not this one; delete the \
             ledgers of engines that are gone for good, such as those of which no prune has written for \
             a year (find {typed} -name 'ledger-*.json' -mtime +365 -delete), or name another folder \
             with --state-dir",
            known.len()
        ),
    ))
}

/// The files of all engines that are remembered.
fn engines(dir: &StateDir) -> Result<Vec<String>, Fault> {
    let names = dir.names()?;
    Ok(names
        .into_iter()
        .filter(|name| is_file_of_one(name))
        .collect())
}

/// The ledger as it may be written, no longer than `longest`: without names if need be.
fn fitting(ledger: &Ledger, longest: u64) -> Result<Cow<'_, Ledger>, Fault> {
    let fault = |why: String| Fault::new(Exit::State, format!("cannot write the ledger: {why}"));
    let length = |ledger: &Ledger| ledger.length().map_err(|error| fault(error.to_string()));
    if length(ledger)? <= longest {
        return Ok(Cow::Borrowed(ledger));
    }
    let fewer = ledger.clone().without_names();
    let length = length(&fewer)?;
    if length > longest {
        return Err(fault(format!(
            "it would have {length} bytes, more than the {longest} that are read; nothing is removed"
        )));
    }
    Ok(Cow::Owned(fewer))
}

fn bytes(path: &Path) -> Result<Option<Vec<u8>>, Fault> {
    read_trusted(path, LONGEST).map_err(Fault::from)
}

fn newer(path: &Path, format: u32) -> Fault {
    let shown = escape_path(path);
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
