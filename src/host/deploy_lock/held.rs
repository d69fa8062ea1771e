//! Holds the deploy locks while images are removed, so that no deploy starts in between.
//! It never makes a lock file; it notices a deploy that makes one.

use std::fs;
use std::path::{Path, PathBuf};

use crate::host::deploy_lock::explain::explain;
use crate::host::deploy_lock::flock;
use crate::host::deploy_lock::pattern::expand;
use crate::host::deploy_lock::read::read;
use crate::host::file_id::FileId;
use crate::host::lock_file::{Access, LockFile};
use crate::model::conditions::{LockKind, LockReading, LockState};

/// All deploy locks, held. They are released when this is dropped or the process dies.
///
/// Of each file of kind flock we hold the `flock(2)` lock, and an `fcntl(2)` write lock if we
/// may open the file for writing. If we may only read it, an fcntl lock is noticed when ours is
/// taken, but cannot be prevented afterwards.
///
/// While this lives, [`read`] would report our own locks as held by somebody: use
/// [`HeldLocks::not_held`] instead.
#[derive(Debug)]
pub struct HeldLocks {
    locks: Vec<Watched>,
    taken: Vec<LockFile>,
}

/// One lock of the policy, and the files whose locks we hold for it.
#[derive(Debug)]
struct Watched {
    pattern: PathBuf,
    kind: LockKind,
    held: Vec<(PathBuf, FileId)>,
}

/// Takes all these locks (patterns as for [`read`]) or none, without waiting. A lock of kind
/// exists is not taken, but must be absent.
///
/// # Errors
///
/// All locks that are held or whose state is unknown, not just the first.
pub fn hold(locks: &[(PathBuf, LockKind)]) -> Result<HeldLocks, Vec<LockReading>> {
    let mut watched = Vec::new();
    let mut taken: Vec<LockFile> = Vec::new();
    let mut in_the_way = Vec::new();
    for (pattern, kind) in locks {
        let mut held = Vec::new();
        match kind {
            LockKind::Exists => in_the_way.extend(read(pattern, *kind)),
            LockKind::Flock => match expand(pattern) {
                Err(why) => in_the_way.push(cannot_tell(pattern, why)),
                Ok(paths) => {
                    for path in paths {
                        // Two patterns, or /run and /var/run, may lead to one file: its lock is
                        // ours already.
                        if let Some(id) = already_ours(&path, &taken) {
                            held.push((path, id));
                            continue;
                        }
                        match flock::take(&path, Access::ReadWrite) {
                            Ok(file) => {
                                held.push((path, file.id()));
                                taken.push(file);
                            }
                            Err(state) => in_the_way.push(LockReading {
                                path,
                                kind: *kind,
                                state,
                            }),
                        }
                    }
                }
            },
        }
        watched.push(Watched {
            pattern: pattern.clone(),
            kind: *kind,
            held,
        });
    }
    in_the_way.retain(is_in_the_way);
    if in_the_way.is_empty() {
        Ok(HeldLocks {
            locks: watched,
            taken,
        })
    } else {
        Err(in_the_way)
    }
}

fn already_ours(path: &Path, taken: &[LockFile]) -> Option<FileId> {
    let id = FileId::of(&fs::symlink_metadata(path).ok()?);
    taken.iter().any(|file| file.id() == id).then_some(id)
}

impl HeldLocks {
    /// Whether no deploy waits for us: there is no file that it could lock. (Of a lock of kind
    /// exists nothing tells whether it came and went since.)
    #[must_use]
    pub fn keeps_nobody_waiting(&self) -> bool {
        let mut locks = self.locks.iter();
        locks.all(|lock| lock.kind == LockKind::Flock)
            && self.taken.is_empty()
            && self.not_held().is_empty()
    }

    /// Locks that we no longer hold, or never held. Ask before each removal:
    ///
    /// - a file that was unlinked or replaced: the next deploy locks another file than ours;
    /// - a new file, which only a deploy would have made;
    /// - a lock of kind exists that is there now.
    #[must_use]
    pub fn not_held(&self) -> Vec<LockReading> {
        self.locks.iter().flat_map(Watched::not_held).collect()
    }
}

impl Watched {
    fn not_held(&self) -> Vec<LockReading> {
        match self.kind {
            LockKind::Exists => read(&self.pattern, self.kind)
                .into_iter()
                .filter(is_in_the_way)
                .collect(),
            LockKind::Flock => self.files_not_held(),
        }
    }

    fn files_not_held(&self) -> Vec<LockReading> {
        let mut gone: Vec<LockReading> = self
            .held
            .iter()
            .filter_map(|(path, id)| {
                let why = match fs::symlink_metadata(path) {
                    Ok(now) if FileId::of(&now) == *id => return None,
                    Ok(_) => "the file was replaced while we held its lock".to_owned(),
                    Err(error) => format!("while we held its lock: {}", explain(&error)),
                };
                Some(cannot_tell(path, why))
            })
            .collect();
        match expand(&self.pattern) {
            Err(why) => gone.push(cannot_tell(&self.pattern, why)),
            Ok(paths) => {
                for path in paths {
                    let known = self.held.iter().any(|(held, _)| *held == path);
                    // Without a `*` the pattern itself is listed, there or not.
                    if !known && fs::symlink_metadata(&path).is_ok() {
                        gone.push(cannot_tell(&path, "the file came after we took the locks"));
                    }
                }
            }
        }
        gone
    }
}

fn is_in_the_way(reading: &LockReading) -> bool {
    match reading.state {
        LockState::Absent | LockState::Free => false,
        LockState::Held { .. } | LockState::CannotTell(_) => true,
    }
}

fn cannot_tell(path: &Path, why: impl Into<String>) -> LockReading {
    LockReading {
        path: path.to_owned(),
        kind: LockKind::Flock,
        state: LockState::CannotTell(why.into()),
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests play the others, whose files come and go"
)]
mod tests {
    use super::*;
    use nix::fcntl::{Flock, FlockArg};
    use std::fs::File;

    struct Scene {
        folder: tempfile::TempDir,
    }

    impl Scene {
        fn new(files: &[&str]) -> Scene {
            let scene = Scene {
                folder: tempfile::tempdir().unwrap(),
            };
            for name in files {
                fs::write(scene.path(name), "").unwrap();
            }
            scene
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn flock(&self, name: &str) -> (PathBuf, LockKind) {
            (self.path(name), LockKind::Flock)
        }

        fn exists(&self, name: &str) -> (PathBuf, LockKind) {
            (self.path(name), LockKind::Exists)
        }

        fn is_free(&self, name: &str) -> bool {
            let file = File::open(self.path(name)).unwrap();
            Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok()
        }

        /// The old file stays open in `HeldLocks`, so its number is not reused.
        fn replace(&self, name: &str) {
            fs::remove_file(self.path(name)).unwrap();
            fs::write(self.path(name), "").unwrap();
        }
    }

    fn not_held(held: &HeldLocks) -> Vec<PathBuf> {
        held.not_held()
            .into_iter()
            .map(|reading| reading.path)
            .collect()
    }

    #[test]
    fn all_locks_are_held_until_they_are_dropped() {
        let scene = Scene::new(&["a.lock", "b-1", "b-2"]);
        let locks = [scene.flock("a.lock"), scene.flock("b-*"), scene.exists("c")];
        let held = hold(&locks).unwrap();
        assert!(
            ["a.lock", "b-1", "b-2"]
                .iter()
                .all(|name| !scene.is_free(name))
        );
        assert_eq!(not_held(&held), [] as [PathBuf; 0]);
        drop(held);
        assert!(
            ["a.lock", "b-1", "b-2"]
                .iter()
                .all(|name| scene.is_free(name))
        );
    }

    #[test]
    fn one_lock_in_the_way_leaves_all_others_free_and_is_named() {
        let scene = Scene::new(&["a.lock", "b.lock", "c"]);
        let file = File::open(scene.path("b.lock")).unwrap();
        let _theirs = Flock::lock(file, FlockArg::LockSharedNonblock).unwrap();
        let locks = [
            scene.flock("a.lock"),
            scene.flock("b.lock"),
            scene.exists("c"),
        ];
        let in_the_way = hold(&locks).unwrap_err();
        let paths: Vec<_> = in_the_way.into_iter().map(|reading| reading.path).collect();
        assert_eq!(paths, [scene.path("b.lock"), scene.path("c")]);
        assert!(scene.is_free("a.lock"));
    }

    #[test]
    fn a_file_that_two_patterns_name_is_not_in_its_own_way() {
        let scene = Scene::new(&["a.lock"]);
        let locks = [scene.flock("a.lock"), scene.flock("*.lock")];
        let held = hold(&locks).unwrap();
        assert_eq!(not_held(&held), [] as [PathBuf; 0]);
        drop(held);
        assert!(scene.is_free("a.lock"));
    }

    #[test]
    fn a_lock_that_cannot_be_told_is_in_the_way() {
        let scene = Scene::new(&[]);
        fs::create_dir(scene.path("folder")).unwrap();
        assert_eq!(hold(&[scene.flock("folder")]).unwrap_err().len(), 1);
        assert_eq!(hold(&[scene.flock("*/x")]).unwrap_err().len(), 1);
    }

    #[test]
    fn where_there_is_no_lock_file_nobody_can_be_waiting_until_there_is_one() {
        let scene = Scene::new(&[]);
        let absent = hold(&[scene.flock("a.lock")]).unwrap();
        assert!(absent.keeps_nobody_waiting());
        let may_have_been = hold(&[scene.flock("a.lock"), scene.exists("b")]);
        assert!(!may_have_been.unwrap().keeps_nobody_waiting());
        fs::write(scene.path("a.lock"), "").unwrap();
        assert!(!absent.keeps_nobody_waiting());
        assert!(
            !hold(&[scene.flock("a.lock")])
                .unwrap()
                .keeps_nobody_waiting()
        );
        assert!(hold(&[]).unwrap().keeps_nobody_waiting());
    }

    #[test]
    fn a_file_that_was_made_again_while_we_hold_it_is_lost() {
        let scene = Scene::new(&["a.lock"]);
        let held = hold(&[scene.flock("a.lock")]).unwrap();
        scene.replace("a.lock");
        assert_eq!(not_held(&held), [scene.path("a.lock")]);
        fs::remove_file(scene.path("a.lock")).unwrap();
        assert_eq!(not_held(&held), [scene.path("a.lock")]);
    }

    #[test]
    fn an_absent_lock_makes_no_file_and_one_that_comes_later_is_noticed() {
        let scene = Scene::new(&[]);
        let locks = [scene.flock("a.lock"), scene.flock("b-*"), scene.exists("c")];
        let held = hold(&locks).unwrap();
        assert_eq!(fs::read_dir(scene.folder.path()).unwrap().count(), 0);
        assert_eq!(not_held(&held), [] as [PathBuf; 0]);
        for name in ["a.lock", "b-1", "c"] {
            fs::write(scene.path(name), "").unwrap();
        }
        assert_eq!(
            not_held(&held),
            [scene.path("a.lock"), scene.path("b-1"), scene.path("c")]
        );
    }
}
