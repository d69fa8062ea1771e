//! Which paths a deploy lock of the policy stands for.

use std::io;
use std::path::{Path, PathBuf};

use crate::host::deploy_lock::explain::explain;
use crate::host::files::folder::link_of_others;
use crate::host::files::matching::{Unlisted, listed};
use crate::model::text::quoted;

/// A pattern that matches more paths than this is an error.
pub(super) const MATCH_LIMIT: usize = 256;

/// The paths that a pattern stands for. Without `*` that is the pattern itself, whether
/// it is there or not.
pub(super) fn expand(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let (Some(folder), Some(last)) = (pattern.parent(), pattern.file_name()) else {
        return Err("the path has no last part".to_owned());
    };
    if !pattern.is_absolute() {
        // A service's working folder is not the deploy's.
        return Err("the path is relative, wanted an absolute one".to_owned());
    }
    if folder.as_os_str().as_encoded_bytes().contains(&b'*') {
        // Taken literally it would match nothing, and nothing means "absent".
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
    match listed(folder, &last.to_string_lossy(), MATCH_LIMIT, |_| true) {
        Ok(paths) => Ok(paths),
        Err(Unlisted::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(Unlisted::Io(error)) => Err(explain(&error)),
        Err(Unlisted::TooMany) => Err(format!("more than {MATCH_LIMIT} paths match")),
    }
}
