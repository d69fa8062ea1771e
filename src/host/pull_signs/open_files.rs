//! Finds which processes have certain files open, as far as `/proc` shows it.
//! What it does not find may still be open in a process that is hidden from us;
//! callers need a proof that it is not (`Owner::anchor`).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;

use crate::host::file_id::FileId;

/// Every file with one of these names, in whatever folder, that some other
/// process has open, with the pid of one such process.
///
/// Needs the right to look at that process: its user's, or `CAP_SYS_PTRACE`.
/// Processes that end meanwhile, or may not be looked at, are passed over.
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
            // By name first. Folders differ between mount namespaces, names do
            // not; and stat(2) on everything that is open would cost more, and
            // would hang on a dead network file system.
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
