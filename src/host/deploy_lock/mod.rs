//! Reports who holds a deploy lock, holds those locks while images go, and
//! keeps our own lock against a second run.
//!
//! It never makes, removes or writes a lock file of somebody else, never waits
//! for a lock, and never reads "cannot tell" as "free".
//!
//! `flock(2)` and `fcntl(2)` locks do not see each other, so both are probed. A
//! probe holds a free lock for some microseconds; a deploy that asks for it
//! without waiting (`flock -n`) in just that time is turned away.

mod hidden;
mod hold;
mod holder;
mod open;
mod run;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::DateTime;
use nix::errno::Errno;
use nix::unistd::geteuid;
use wildmatch::WildMatchPattern;

use crate::host::files::link_of_others;
use crate::host::quoted;
use crate::model::conditions::{LockKind, LockSight, LockState};

pub use hold::{Hold, hold};
pub use run::{HeldBy, RunLock};

/// More paths than this for one pattern are not looked at one by one.
const MATCH_LIMIT: usize = 256;

/// Looks at one deploy lock of the policy. `pattern` is an absolute path; its
/// last part may hold `*`, for any characters (a dot in front included).
///
/// One sight for each path that matches, sorted; if none does, one
/// [`LockState::Absent`] under the pattern itself. What cannot be looked at is
/// [`LockState::CannotTell`] with the reason and what would help; so is what
/// our own service's restrictions hide from us (`PrivateTmp=`).
///
/// `since` is the earlier of a path's birth and its last change for
/// [`LockKind::Exists`]: not the last change alone, which a tool that writes
/// into its lock keeps moving. For [`LockKind::Flock`] it is `None`: the kernel
/// does not keep when a lock was taken, the file may be years older than the
/// lock, and its holder may be a service that has run for months. Who wants to
/// know must remember in how many looks on end it was held.
#[must_use]
pub fn look(pattern: &Path, kind: LockKind) -> Vec<LockSight> {
    let sight = |path: &Path, state| LockSight {
        path: path.to_owned(),
        kind,
        state: match state {
            // Hidden is not absent: the lock may be held beyond what we see.
            LockState::Absent => hidden::hides(path).map_or(state, LockState::CannotTell),
            LockState::Free | LockState::Held { .. } | LockState::CannotTell(_) => state,
        },
    };
    match expand(pattern) {
        Err(why) => vec![sight(pattern, LockState::CannotTell(why))],
        Ok(paths) if paths.is_empty() => vec![sight(pattern, LockState::Absent)],
        Ok(paths) => paths
            .iter()
            .map(|path| {
                let state = match kind {
                    LockKind::Exists => look_at_path(path),
                    LockKind::Flock => open::probe(path),
                };
                sight(path, state)
            })
            .collect(),
    }
}

/// The paths that a pattern stands for: itself, whether there or not, if it
/// holds no `*`.
fn expand(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let (Some(folder), Some(last)) = (pattern.parent(), pattern.file_name()) else {
        return Err("the path has no last part".to_owned());
    };
    if !pattern.is_absolute() {
        // Relative to what? A service's working folder is not the deploy's.
        return Err("the path is relative, wanted an absolute one".to_owned());
    }
    if folder.as_os_str().as_encoded_bytes().contains(&b'*') {
        // Read literally it would match nothing, and nothing means "absent".
        return Err("the path holds `*` before its last part".to_owned());
    }
    if let Some(link) = link_of_others(folder) {
        return Err(format!(
            "{} on the way to it is a symbolic link of uid {}, who could lead this to another lock: \
             let guard.lock name the folder itself",
            quoted(&link.path),
            link.owner
        ));
    }
    if !last.as_encoded_bytes().contains(&b'*') {
        return Ok(vec![pattern.to_owned()]);
    }
    // No file name holds a NUL, so no character stands for "any one".
    let wanted = WildMatchPattern::<'*', '\0'>::new(&last.to_string_lossy());
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(explain(&error)),
    };
    let mut paths = Vec::new();
    for entry in listing {
        let entry = entry.map_err(|error| explain(&error))?;
        // Bytes that are no UTF-8 become U+FFFD, which `*` takes: such a name
        // may match too much, and never too little.
        if wanted.matches(&entry.file_name().to_string_lossy()) {
            if paths.len() == MATCH_LIMIT {
                return Err(format!("more than {MATCH_LIMIT} paths match"));
            }
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// [`LockKind::Exists`]: anything of that name is a lock, a link that leads
/// nowhere included.
fn look_at_path(path: &Path) -> LockState {
    match fs::symlink_metadata(path) {
        Ok(meta) => {
            // Not every file system knows of births.
            let born = meta.created().ok().and_then(|born| {
                let since = born.duration_since(std::time::UNIX_EPOCH).ok()?;
                DateTime::from_timestamp(i64::try_from(since.as_secs()).ok()?, since.subsec_nanos())
            });
            let changed = crate::host::modified(&meta);
            LockState::Held {
                holder: None,
                since: Some(born.map_or(changed, |born| born.min(changed))),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => LockState::Absent,
        Err(error) => LockState::CannotTell(explain(&error)),
    }
}

/// The error's name and words, and what would help.
fn explain(error: &io::Error) -> String {
    let Some(number) = error.raw_os_error() else {
        return error.to_string();
    };
    let errno = Errno::from_raw(number);
    let help = match errno {
        Errno::EACCES | Errno::EPERM => help(geteuid().is_root()),
        Errno::ELOOP => ": symbolic links are not followed",
        _ => "",
    };
    format!("{errno}{help}")
}

/// What would help whoever may not look: root, in a unit, has been denied what
/// root can do.
fn help(root: bool) -> &'static str {
    if root {
        ": give CAP_DAC_READ_SEARCH (systemctl edit secateur: CapabilityBoundingSet=CAP_DAC_READ_SEARCH), or let this user read the file and its folder"
    } else {
        ": run as root, or let this user read the file and its folder"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Utc;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::fs::File;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, SystemTime};

    fn states(pattern: &Path, kind: LockKind) -> Vec<LockState> {
        look(pattern, kind)
            .into_iter()
            .map(|sight| sight.state)
            .collect()
    }

    #[test]
    fn no_lock_is_looked_for_through_a_link_of_somebody_else() {
        if !geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("there");
        fs::create_dir(&there).unwrap();
        fs::write(there.join("deploy.lock"), "").unwrap();
        for to in ["there", "nowhere"] {
            let link = folder.path().join(to).with_extension("link");
            symlink(to, &link).unwrap();
            std::os::unix::fs::lchown(&link, Some(4_001), None).unwrap();
            for kind in [LockKind::Flock, LockKind::Exists] {
                for pattern in ["deploy.lock", "*.lock"] {
                    let seen = states(&link.join(pattern), kind);
                    let why = cannot_tell(&seen[0]);
                    assert!(why.contains("symbolic link of uid 4001"), "{why}");
                    let held = hold(&[(link.join(pattern), kind)]).unwrap_err();
                    cannot_tell(&held[0].state);
                }
            }
        }
        // Root's own, as /var/run is.
        let link = folder.path().join("current");
        symlink("there", &link).unwrap();
        let seen = states(&link.join("deploy.lock"), LockKind::Flock);
        assert_eq!(seen, [LockState::Free]);
    }

    fn cannot_tell(state: &LockState) -> &str {
        match state {
            LockState::CannotTell(why) => why,
            other => panic!("wanted CannotTell, got {other:?}"),
        }
    }

    #[test]
    fn a_path_that_is_not_there_is_absent_for_both_kinds() {
        let folder = tempfile::tempdir().unwrap();
        for kind in [LockKind::Exists, LockKind::Flock] {
            for name in ["deploy.lock", "lock-*", "none/deploy.lock", "none/lock-*"] {
                let path = folder.path().join(name);
                let expected = LockSight {
                    path: path.clone(),
                    kind,
                    state: LockState::Absent,
                };
                assert_eq!(look(&path, kind), [expected]);
            }
        }
    }

    #[test]
    fn anything_of_the_name_is_a_held_lock_of_kind_exists() {
        let folder = tempfile::tempdir().unwrap();
        File::create(folder.path().join("file")).unwrap();
        fs::create_dir(folder.path().join("folder")).unwrap();
        symlink("nowhere", folder.path().join("link")).unwrap();
        mkfifo(&folder.path().join("fifo"), Mode::S_IRUSR).unwrap();
        for name in ["file", "folder", "link", "fifo"] {
            let state = &states(&folder.path().join(name), LockKind::Exists)[0];
            assert!(
                matches!(state, LockState::Held { since: Some(_), .. }),
                "{name}: {state:?}"
            );
        }
    }

    #[test]
    fn a_path_is_held_since_its_last_change_or_its_birth_if_earlier() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let file = File::create(&path).unwrap();
        let day = Duration::from_secs(86_400);
        let long_ago = SystemTime::UNIX_EPOCH + 10_000 * day;
        file.set_modified(long_ago).unwrap();
        let since = |state: &LockState| match state {
            LockState::Held { since, .. } => since.unwrap(),
            other => panic!("{other:?}"),
        };
        let state = &states(&path, LockKind::Exists)[0];
        assert_eq!(since(state), DateTime::<Utc>::from(long_ago));

        let Ok(birth) = file.metadata().unwrap().created() else {
            return; // a file system without births knows the last change alone
        };
        file.set_modified(birth + day).unwrap();
        let state = &states(&path, LockKind::Exists)[0];
        assert_eq!(since(state), DateTime::<Utc>::from(birth));
    }

    #[test]
    fn a_lock_with_an_absurd_date_is_held_all_the_same() {
        // Some file systems keep any date; the others cut it off at theirs.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let folder = folder.unwrap();
        let path = folder.path().join("lock");
        let file = File::create(&path).unwrap();
        for seconds in [i64::MAX as u64 / 2, 1 << 43] {
            let date = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            if file.set_modified(date).is_ok() {
                let state = &states(&path, LockKind::Exists)[0];
                assert!(matches!(state, LockState::Held { .. }), "{state:?}");
            }
        }
    }

    #[test]
    fn a_star_in_the_last_part_finds_all_that_match_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["lock-b", "lock-a", "lock", "other", ".lock-c"] {
            File::create(folder.path().join(name)).unwrap();
        }
        let sights = look(&folder.path().join("lock-*"), LockKind::Flock);
        let paths: Vec<_> = sights.iter().map(|sight| sight.path.clone()).collect();
        assert_eq!(
            paths,
            [folder.path().join("lock-a"), folder.path().join("lock-b")]
        );
        assert_eq!(
            look(&folder.path().join("*lock-*"), LockKind::Flock).len(),
            3
        );
    }

    #[test]
    fn a_question_mark_stands_for_itself() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a?-1", "ab-1"] {
            File::create(folder.path().join(name)).unwrap();
        }
        let sights = look(&folder.path().join("a?-*"), LockKind::Exists);
        assert_eq!(sights.len(), 1);
        assert_eq!(sights[0].path, folder.path().join("a?-1"));
    }

    #[test]
    fn a_pattern_that_cannot_be_looked_up_is_no_absent_lock() {
        let folder = tempfile::tempdir().unwrap();
        File::create(folder.path().join("file")).unwrap();
        for pattern in [
            folder.path().join("*/lock"),
            PathBuf::from("deploy.lock"),
            PathBuf::from("/"),
            folder.path().join("file/lock"),
            folder.path().join("file/lock-*"),
        ] {
            for kind in [LockKind::Exists, LockKind::Flock] {
                cannot_tell(&states(&pattern, kind)[0]);
            }
        }
    }

    #[test]
    fn too_many_matches_are_no_sights_but_a_refusal() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..MATCH_LIMIT {
            File::create(folder.path().join(format!("lock-{number}"))).unwrap();
        }
        let pattern = folder.path().join("lock-*");
        assert_eq!(look(&pattern, LockKind::Exists).len(), MATCH_LIMIT);
        File::create(folder.path().join("lock-more")).unwrap();
        cannot_tell(&states(&pattern, LockKind::Exists)[0]);
    }

    #[test]
    fn an_error_is_told_by_name_and_with_what_would_help() {
        let text = |errno: Errno| explain(&io::Error::from(errno));
        assert!(text(Errno::EACCES).contains("EACCES"));
        assert!(text(Errno::EACCES).ends_with("read the file and its folder"));
        assert!(help(false).contains("run as root"));
        assert!(help(true).contains("CapabilityBoundingSet=CAP_DAC_READ_SEARCH"));
        assert!(
            !help(true).contains("run as root"),
            "that is who was denied"
        );
        assert!(text(Errno::ENOLCK).contains("ENOLCK"));
        assert!(text(Errno::EIO).contains("EIO"));
    }
}
