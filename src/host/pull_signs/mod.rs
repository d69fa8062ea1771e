//! Reports the signs that a pull, load, save or build leaves in the engine's
//! own folders while it is under way, and whether each is live or left behind.
//!
//! It only looks: it opens no file of the engine, follows no link below a sign,
//! and removes nothing that was left behind. And no sign does not mean that
//! nothing is under way: between two layers, and while a pull resolves names,
//! there is no file; and an engine that is started with `DOCKER_TMPDIR` keeps
//! its downloads elsewhere. That its own folder for them is missing shows it, but
//! not where one is left from a start without.

mod judge;
mod open_files;
mod places;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::host::pull_signs::open_files::FileId;
use crate::host::pull_signs::places::{Lasts, Owner, Place};
use crate::host::{moment, process};
use crate::model::conditions::{ClockReading, Cure, PullSign, PullSigns, SignState, Unreadable};

/// More entries than this, in one folder or below one sign, are not looked at.
const ENTRY_LIMIT: usize = if cfg!(test) { 100 } else { 10_000 };

/// Where an engine keeps its files, as seen from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// The engine's id, which engines from 23 on keep in a file of their data
    /// root.
    pub engine_id: String,
    /// GET /info `DockerRootDir`, or what the policy says instead.
    pub data_root: PathBuf,
    /// The graphdriver's name, such as `overlay2`; `None` for the containerd
    /// store.
    pub driver: Option<String>,
    /// containerd's root: `<data-root>/containerd/daemon`, or the system's
    /// `/var/lib/containerd`. Required for the containerd store.
    pub containerd_root: Option<PathBuf>,
}

/// Looks for signs, in order of their paths. `now` must be fresh, not the one
/// that the run began with: what changed after it seems to lie in the future.
///
/// Without a sign this costs a few directory listings; only with one are the
/// open files of all processes looked through.
///
/// Never fails: what cannot be read is in [`PullSigns::unreadable`]. A folder
/// that does not exist is "no sign" only inside a root that surely is an
/// engine's, for in a container the same path may be another, empty folder.
#[must_use]
pub fn look(roots: &Roots, now: &ClockReading) -> PullSigns {
    let mut unreadable = Vec::new();
    let mut found = Vec::new();
    for place in places::of(roots, &mut unreadable) {
        // One sign that cannot be read hides no other.
        if let Err(problem) = traces(&place, &mut found, &mut unreadable) {
            unreadable.push(problem);
        }
    }
    unreadable.sort_by(|a, b| a.path.cmp(&b.path));
    PullSigns {
        signs: judge_all(found, now),
        unreadable,
    }
}

/// One sign, and what is needed to judge it.
#[derive(Debug)]
struct Trace {
    path: PathBuf,
    /// The sign itself and everything below it.
    files: Vec<(FileId, OsString)>,
    /// The newest change of any of them.
    changed: DateTime<Utc>,
    lasts: Lasts,
    owner: Owner,
}

/// Collects the signs of one place.
fn traces(
    place: &Place,
    found: &mut Vec<Trace>,
    unreadable_signs: &mut Vec<Unreadable>,
) -> Result<(), Unreadable> {
    let listing = match fs::read_dir(&place.folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match (place.dangling_link(), place.always_there) {
                (Some(link), _) => Err(unreadable(link, &error)),
                (None, false) => Ok(()),
                (None, true) => Err(elsewhere(&place.folder)),
            };
        }
        Err(error) => return Err(unreadable(&place.folder, &error)),
    };
    for (number, entry) in listing.enumerate() {
        let entry = entry.map_err(|error| unreadable(&place.folder, &error))?;
        if number == ENTRY_LIMIT {
            return Err(too_many(&place.folder));
        }
        if let Some(lasts) = place.sign(&entry.file_name()) {
            match trace(&entry.path(), lasts, &place.owner) {
                Ok(trace) => found.extend(trace),
                Err(problem) => unreadable_signs.push(problem),
            }
        }
    }
    Ok(())
}

/// Collects a sign and everything below it; `None` if it went meanwhile, as
/// files of a running pull do at any moment.
fn trace(path: &Path, lasts: Lasts, owner: &Owner) -> Result<Option<Trace>, Unreadable> {
    let mut files = Vec::new();
    let mut changed = None;
    let mut ahead = vec![path.to_owned()];
    while let Some(at) = ahead.pop() {
        let meta = match fs::symlink_metadata(&at) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(&at, &error)),
        };
        changed = changed.max(Some(last_change(&meta)));
        files.push((
            FileId::of(&meta),
            at.file_name().unwrap_or_default().to_owned(),
        ));
        if !meta.is_dir() {
            continue;
        }
        let listing = match fs::read_dir(&at) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(&at, &error)),
        };
        for entry in listing {
            let entry = entry.map_err(|error| unreadable(&at, &error))?;
            ahead.push(entry.path());
            if files.len() + ahead.len() > ENTRY_LIMIT {
                return Err(too_many(path));
            }
        }
    }
    Ok(changed.map(|changed| Trace {
        path: path.to_owned(),
        files,
        changed,
        lasts,
        owner: owner.clone(),
    }))
}

/// ctime, not mtime: every write moves both, but `docker load` unpacks archives
/// here and gives their files the dates of the archive, 1970 or 2999.
fn last_change(meta: &Metadata) -> DateTime<Utc> {
    moment(meta.ctime(), meta.ctime_nsec())
}

fn judge_all(mut traces: Vec<Trace>, now: &ClockReading) -> Vec<PullSign> {
    if traces.is_empty() {
        return Vec::new();
    }
    traces.sort_by(|a, b| a.path.cmp(&b.path));
    // A missing anchor is no proof, and that is all that follows.
    let anchor_of = |trace: &Trace| {
        fs::metadata(&trace.owner.anchor)
            .ok()
            .map(|meta| FileId::of(&meta))
    };
    let anchors: Vec<Option<FileId>> = traces.iter().map(anchor_of).collect();
    let names: BTreeSet<OsString> = traces
        .iter()
        .flat_map(|trace| {
            let files = trace.files.iter().map(|(_, name)| name.as_os_str());
            files.chain(trace.owner.anchor.file_name())
        })
        .map(OsStr::to_owned)
        .collect();
    let open = open_files::who_has_open(&names);
    traces
        .into_iter()
        .zip(anchors)
        .map(|(trace, anchor)| {
            let user = trace.files.iter().find_map(|(id, _)| open.get(id));
            let state = match trace.lasts {
                Lasts::WhileItIsThere => SignState::Build,
                Lasts::WhileItChanges => judge::judge(
                    user.copied().map(process::describe),
                    anchor.is_some_and(|id| open.contains_key(&id)),
                    now.wall - trace.changed,
                ),
            };
            PullSign {
                path: trace.path,
                state,
            }
        })
        .collect()
}

fn unreadable(path: &Path, error: &io::Error) -> Unreadable {
    let cure = match error.kind() {
        io::ErrorKind::PermissionDenied => Cure::Permission,
        _ => Cure::DataRoot,
    };
    Unreadable {
        path: path.to_owned(),
        why: error.to_string(),
        cure,
    }
}

/// Only an engine that keeps its downloads elsewhere does not make this folder.
fn elsewhere(folder: &Path) -> Unreadable {
    Unreadable {
        path: folder.to_owned(),
        why: "it is not there. dockerd makes it at each start unless DOCKER_TMPDIR is set, and \
              then downloads to the folder that it names"
            .to_owned(),
        cure: Cure::Downloads,
    }
}

fn too_many(path: &Path) -> Unreadable {
    Unreadable {
        path: path.to_owned(),
        why: format!("found more than {ENTRY_LIMIT} entries in it, the most that are looked at"),
        cure: Cure::Fewer,
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests play the others, whose files come and go"
)]
mod tests;
