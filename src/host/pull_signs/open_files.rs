//! Finds the processes that have certain files open. A process may be hidden from us, so
//! callers need a proof that they would see it (`Place::anchor`).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;

use crate::host::file_id::FileId;

/// Every file with one of these names, in any folder, that some other process has open,
/// with the pid of one such process.
///
/// Needs the rights of that process's user, or `CAP_SYS_PTRACE`. Processes that end
/// meanwhile, or are hidden, are skipped.
pub(super) fn who_has_open(names: &BTreeSet<OsString>) -> BTreeMap<FileId, u32> {
    let mut found = BTreeMap::new();
    let Ok(processes) = fs::read_dir("/proc") else {
        return found;
    };
    for process in processes.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if pid == std::process::id() {
            continue;
        }
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        for descriptor in descriptors.flatten() {
            let path = descriptor.path();
            // By name first: folders differ between mount namespaces, names do not.
            // And stat(2) on all open files would cost more, and would hang on a dead
            // network file system.
            let Ok(target) = fs::read_link(&path) else {
                continue;
            };
            if !target.file_name().is_some_and(|name| names.contains(name)) {
                continue;
            }
            let Ok(meta) = fs::metadata(&path) else {
                continue;
            };
            found.entry(FileId::of(&meta)).or_insert(pid);
        }
    }
    found
}
