//! Where programs are looked for.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::model::text::escape;

/// What the system searches where there is no PATH.
const USUAL: &str = "/usr/local/bin:/usr/bin:/bin";

/// The absolute folders of a PATH. A relative one would depend on the folder that
/// secateur was started in, which may be anybody's.
pub struct Search(Vec<PathBuf>);

impl Search {
    pub fn read() -> Self {
        Self::of(&std::env::var_os("PATH").unwrap_or_else(|| USUAL.into()))
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
        // Parts of a PATH hold no colon.
        std::env::join_paths(&self.0).unwrap_or_default()
    }

    pub fn shown(&self) -> String {
        escape(&self.path().to_string_lossy())
    }
}
