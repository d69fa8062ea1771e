//! Searches PATH for programs.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::model::text::escape;

/// Used if there is no PATH.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The absolute folders of a PATH. A relative one would depend on the current folder, which
/// anybody may own.
pub struct Search(Vec<PathBuf>);

impl Search {
    pub fn read() -> Self {
        Self::of(&std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into()))
    }

    pub fn of(path: &OsStr) -> Self {
        let folders = std::env::split_paths(path);
        Self(folders.filter(|folder| folder.is_absolute()).collect())
    }

    pub fn find(&self, program: &str) -> Option<PathBuf> {
        let mut places = self.0.iter().map(|folder| folder.join(program));
        places.find(|place| place.is_file())
    }

    pub fn path(&self) -> OsString {
        // No folder of a PATH contains a colon.
        std::env::join_paths(&self.0).unwrap_or_default()
    }

    pub fn shown(&self) -> String {
        escape(&self.path().to_string_lossy())
    }
}
