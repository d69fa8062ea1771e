use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;

use crate::host::file_id::FileId;
use crate::host::process;
use crate::host::pull_signs::found::{Found, signs_in};
use crate::host::pull_signs::places::{Liveness, Roots};
use crate::host::pull_signs::{open_files, places, state};
use crate::model::conditions::{ClockReading, PullSign, PullSigns, SignState};

/// All signs, in the order of their paths. `now` must be fresh, not from the start of the run:
/// a change after it would seem to be in the future.
///
/// Without a sign this costs a few directory listings; only with one are the open files of all
/// processes listed.
///
/// Never fails: what cannot be read is in [`PullSigns::unreadable`]. A missing folder means "no
/// sign" only inside a root that surely is the engine's, because in a container the same path
/// may be another, empty folder.
#[must_use]
pub fn read(roots: &Roots, now: &ClockReading) -> PullSigns {
    let mut unreadable = Vec::new();
    let mut found = Vec::new();
    for place in places::of(roots, &mut unreadable) {
        // One sign that cannot be read hides no other.
        if let Err(problem) = signs_in(&place, &mut found, &mut unreadable) {
            unreadable.push(problem);
        }
    }
    unreadable.sort_by(|a, b| a.path.cmp(&b.path));
    PullSigns {
        signs: with_states(found, now),
        unreadable,
    }
}

fn with_states(mut found: Vec<Found>, now: &ClockReading) -> Vec<PullSign> {
    if found.is_empty() {
        return Vec::new();
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    // A missing anchor proves nothing.
    let anchor_of = |sign: &Found| {
        fs::metadata(&sign.anchor)
            .ok()
            .map(|meta| FileId::of(&meta))
    };
    let anchors: Vec<Option<FileId>> = found.iter().map(anchor_of).collect();
    let names: BTreeSet<OsString> = found
        .iter()
        .flat_map(|sign| {
            let files = sign.files.iter().map(|(_, name)| name.as_os_str());
            files.chain(sign.anchor.file_name())
        })
        .map(OsStr::to_owned)
        .collect();
    let open = open_files::who_has_open(&names);
    found
        .into_iter()
        .zip(anchors)
        .map(|(sign, anchor)| {
            let user = sign.files.iter().find_map(|(id, _)| open.get(id));
            let by_change = || {
                state::state_of(
                    user.copied().map(process::describe),
                    anchor.is_some_and(|id| open.contains_key(&id)),
                    now.wall - sign.changed,
                )
            };
            let state = match sign.liveness {
                Liveness::Existing => SignState::Build,
                Liveness::Changing => by_change(),
                Liveness::ChangingByBuildKit => match by_change() {
                    SignState::Live(how) => SignState::BuildKit(how),
                    other => other,
                },
            };
            PullSign {
                path: sign.path,
                state,
            }
        })
        .collect()
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests play the others, whose files come and go"
)]
mod tests;
