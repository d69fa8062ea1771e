//! Reads the state of a deploy lock.

use std::fs;
use std::io;
use std::path::Path;

use chrono::DateTime;

use crate::host::deploy_lock::explain::explain;
use crate::host::deploy_lock::pattern::expand;
use crate::host::deploy_lock::{flock, hidden};
use crate::host::file_date::modified;
use crate::model::conditions::{LockKind, LockReading, LockState};

/// The states of one deploy lock of the policy. `pattern` is an absolute path; its last part
/// may hold `*`, for any characters (a dot in front included).
///
/// One reading for each path that matches, sorted; if none does, one [`LockState::Absent`]
/// under the pattern itself. What cannot be read is [`LockState::CannotTell`] with the reason
/// and what to do; so is what our own service's restrictions hide from us (`PrivateTmp=`).
///
/// For [`LockKind::Exists`], `since` is the earlier of the path's birth and its last change; a
/// tool that writes to its lock keeps moving the last change. For [`LockKind::Flock`] it is
/// `None`: the kernel does not keep when a lock was taken, the file may be years older than the
/// lock, and its holder may be a service that has run for months. The ledger remembers since
/// which survey a lock was held.
#[must_use]
pub fn read(pattern: &Path, kind: LockKind) -> Vec<LockReading> {
    let reading = |path: &Path, state| LockReading {
        path: path.to_owned(),
        kind,
        state: match state {
            // Hidden is not absent: it may be held where we cannot see it.
            LockState::Absent => hidden::hides(path).map_or(state, LockState::CannotTell),
            LockState::Free | LockState::Held { .. } | LockState::CannotTell(_) => state,
        },
    };
    match expand(pattern) {
        Err(why) => vec![reading(pattern, LockState::CannotTell(why))],
        Ok(paths) if paths.is_empty() => vec![reading(pattern, LockState::Absent)],
        Ok(paths) => paths
            .iter()
            .map(|path| {
                let state = match kind {
                    LockKind::Exists => existing(path),
                    LockKind::Flock => flock::state_of(path),
                };
                reading(path, state)
            })
            .collect(),
    }
}

/// For [`LockKind::Exists`]: anything of that name is a lock, also a link that leads nowhere.
fn existing(path: &Path) -> LockState {
    match fs::symlink_metadata(path) {
        Ok(meta) => {
            // Not every file system knows of births.
            let born = meta.created().ok().and_then(|born| {
                let since = born.duration_since(std::time::UNIX_EPOCH).ok()?;
                DateTime::from_timestamp(i64::try_from(since.as_secs()).ok()?, since.subsec_nanos())
            });
            let changed = modified(&meta);
            LockState::Held {
                holder: None,
                since: Some(born.map_or(changed, |born| born.min(changed))),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => LockState::Absent,
        Err(error) => LockState::CannotTell(explain(&error)),
    }
}

#[cfg(test)]
mod tests;
