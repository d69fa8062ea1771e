//! Rules of the policy that match nothing on this host.

use std::io::ErrorKind;
use std::path::Path;

use crate::decide::plan::Plan;
use crate::guard::Activity;
use crate::model::conditions::{LockKind, LockState};
use crate::policy::{Policy, Unmatched};

/// `activities` is empty for a saved host; then locks are left out.
pub(crate) fn unmatched(policy: &Policy, plan: &Plan, activities: &[Activity]) -> Vec<Unmatched> {
    let mut found = policy.unmatched(&plan.entries().iter().map(|entry| &*entry.image));
    found.extend(
        activities
            .last()
            .into_iter()
            .flat_map(|activity| locks(policy, activity)),
    );
    found
}

/// Patterns of lock paths that match no file. A lock that exists only while it is held
/// is missing most of the time: there, only a missing folder shows that the pattern may
/// be misspelt.
fn locks(policy: &Policy, activity: &Activity) -> Vec<Unmatched> {
    let absent = |path: &Path| {
        let mut readings = activity.locks.iter();
        readings.any(|reading| reading.path == path && reading.state == LockState::Absent)
    };
    let patterns = policy.guard.locks.iter().filter(|lock| {
        let last = lock.path.file_name().unwrap_or_default();
        last.as_encoded_bytes().contains(&b'*') && absent(&lock.path)
    });
    let suspicious = patterns.filter(|lock| match lock.kind {
        LockKind::Flock => true,
        LockKind::Exists => lock.path.parent().is_some_and(is_missing),
    });
    let named = |path: &Path| path.to_string_lossy().into_owned();
    suspicious
        .map(|lock| Unmatched {
            key: "guard.lock",
            rule: named(&lock.path),
        })
        .collect()
}

fn is_missing(folder: &Path) -> bool {
    std::fs::metadata(folder).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::deploy_lock;
    use crate::memory::clock::Clock;
    use crate::testing::{at, clock};

    #[test]
    fn a_pattern_of_lock_paths_is_told_where_nothing_shows_that_it_is_right() {
        let folder = crate::testing::folder_of_ours();
        std::fs::write(folder.path().join("app.lock"), "").unwrap();
        let here = folder.path().display();
        let locks_at = [
            ("app.*", "flock"),
            ("other.*", "flock"),
            ("other", "flock"),
            ("lock-*", "exists"),
            ("nowhere/lock-*", "exists"),
        ];
        let table =
            |(path, kind)| format!("[[guard.lock]]\npath = \"{here}/{path}\"\nkind = \"{kind}\"\n");
        let text = "[age]\nmin_age = \"1d\"\n".to_owned() + &locks_at.map(table).concat();
        let policy = Policy::parse(&text, "test").unwrap();
        let readings = policy.guard.locks.iter();
        let readings = readings.flat_map(|it| deploy_lock::read(&it.path, it.kind));
        let activity = Activity {
            at: at(0),
            clock: Clock::between(None, &clock(0, 0, "a")),
            locks: readings.collect(),
            causes_since: crate::model::conditions::CausesSince::new(),
            pulls: crate::model::conditions::PullSigns::default(),
            at_work: crate::model::AtWork::idle(),
        };
        let found: Vec<_> = locks(&policy, &activity)
            .into_iter()
            .map(|it| it.rule)
            .collect();
        let wanted = ["other.*", "nowhere/lock-*"].map(|path| format!("{here}/{path}"));
        assert_eq!(found, wanted);
    }
}
