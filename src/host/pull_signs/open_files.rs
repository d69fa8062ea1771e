//! Finds the processes that have certain files open. A process may be hidden from us, so
//! callers need a proof that they would see it (`Place::anchor`).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;

use crate::host::file_id::FileId;
use crate::host::process;

/// Every file with one of these names, in any folder, that some other process has open,
/// with the pid of one such process.
///
/// Needs the rights of that process's user, or `CAP_SYS_PTRACE`. Processes that end
/// meanwhile, or are hidden, are skipped.
pub(super) fn who_has_open(names: &BTreeSet<OsString>) -> BTreeMap<FileId, u32> {
    let mut found = BTreeMap::new();
    for pid in process::all().filter(|pid| *pid != std::process::id()) {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"));
        for descriptor in descriptors.into_iter().flatten().flatten() {
            let path = descriptor.path();
            // By name first: folders differ between mount namespaces, names do not.
            // And stat(2) on all open files would cost more, and would hang on a dead
            // network file system.
            let target = fs::read_link(&path).unwrap_or_default();
            if target.file_name().is_some_and(|name| names.contains(name))
                && let Ok(meta) = fs::metadata(&path)
            {
                found.entry(FileId::of(&meta)).or_insert(pid);
            }
        }
    }
    found
}
