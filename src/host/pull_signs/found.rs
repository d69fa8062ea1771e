//! Collects the signs in a place, each with everything below it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::host::file_date;
use crate::host::file_id::FileId;
use crate::host::pull_signs::places::{Liveness, Place, unreadable};
use crate::model::conditions::{Cure, Unreadable};

/// More entries than this, in one folder or below one sign, are not read.
pub(super) const ENTRY_LIMIT: usize = if cfg!(test) { 100 } else { 10_000 };

/// A sign, with what shows whether it is live.
#[derive(Debug)]
pub(super) struct Found {
    pub path: PathBuf,
    /// The sign itself and everything below it.
    pub files: Vec<(FileId, OsString)>,
    /// The newest change of any of them: ctime, not mtime. Every write moves both, but
    /// `docker load` unpacks archives here and gives their files the dates of the
    /// archive, 1970 or 2999.
    pub changed: DateTime<Utc>,
    pub liveness: Liveness,
    /// See [`Place::anchor`].
    pub anchor: PathBuf,
}

pub(super) fn signs_in(
    place: &Place,
    found: &mut Vec<Found>,
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
        if let Some(liveness) = place.sign(&entry.file_name()) {
            match sign_at(&entry.path(), liveness, &place.anchor) {
                Ok(sign) => found.extend(sign),
                Err(problem) => unreadable_signs.push(problem),
            }
        }
    }
    Ok(())
}

/// `None` if the sign went meanwhile, as files of a running pull do at any moment.
pub(super) fn sign_at(
    path: &Path,
    liveness: Liveness,
    anchor: &Path,
) -> Result<Option<Found>, Unreadable> {
    let mut files = Vec::new();
    let mut changed = None;
    let mut ahead = vec![path.to_owned()];
    while let Some(at) = ahead.pop() {
        let meta = match fs::symlink_metadata(&at) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(&at, &error)),
        };
        changed = changed.max(Some(file_date::changed(&meta)));
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
    Ok(changed.map(|changed| Found {
        path: path.to_owned(),
        files,
        changed,
        liveness,
        anchor: anchor.to_owned(),
    }))
}

/// For the folder that every engine makes unless it keeps its downloads elsewhere.
fn elsewhere(folder: &Path) -> Unreadable {
    let why = "it is not there. dockerd makes it at each start unless DOCKER_TMPDIR is set, and \
               then downloads to the folder that it names";
    Unreadable::new(folder, why, Cure::Downloads)
}

fn too_many(path: &Path) -> Unreadable {
    let why = format!("found more than {ENTRY_LIMIT} entries in it, the most that are looked at");
    Unreadable::new(path, why, Cure::Fewer)
}
