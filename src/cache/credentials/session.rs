//! What a credential helper is found in, and ends with.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Child;

use crate::model::text::escape;

/// What the system looks programs up in without a PATH.
const USUAL: &str = "/usr/local/bin:/usr/bin:/bin";

/// The absolute folders of a PATH. A relative one would be a folder of whoever made
/// the one that we were started in.
pub(crate) struct Search(Vec<PathBuf>);

impl Search {
    pub fn read() -> Self {
        Self::of(&std::env::var_os("PATH").unwrap_or_else(|| USUAL.into()))
    }

    pub fn of(path: &OsStr) -> Self {
        let folders = std::env::split_paths(path);
        Self(folders.filter(|folder| folder.is_absolute()).collect())
    }

    pub fn find(&self, program: &str) -> Option<PathBuf> {
        let places = self.0.iter().map(|folder| folder.join(program));
        places.into_iter().find(|place| place.is_file())
    }

    pub fn path(&self) -> OsString {
        // Parts of a PATH hold no colon.
        std::env::join_paths(&self.0).unwrap_or_default()
    }

    pub fn shown(&self) -> String {
        escape(&self.path().to_string_lossy())
    }
}

/// A helper, and all that it started: they are one process group, and end with this.
/// What has left the group by itself, as the agent of a key ring does, goes on.
pub(crate) struct Group(Option<Pid>);

impl Group {
    pub fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.map(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The number is nobody else's while one of the group lives.
        if let Some(group) = self.0 {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}
