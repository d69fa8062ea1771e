use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::host::files::error::FileError;
use crate::host::files::trust::{Wanted, check};

/// The trusted folder of our own state.
#[derive(Debug, Clone)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Opens the folder, and makes it (mode 0700, parents too) if it is missing.
    ///
    /// It may be a symbolic link, for systemd's `DynamicUser=` makes `/var/lib/secateur`
    /// one. The link and all that it passes must be trusted. [`StateDir::path`] is where
    /// it leads.
    ///
    /// # Errors
    ///
    /// [`FileError::Untrusted`] if others may write to the folder or to a parent,
    /// [`FileError::Io`] if it cannot be made.
    pub fn open(path: &Path) -> Result<StateDir, FileError> {
        if let Some(there) = StateDir::find(path)? {
            return Ok(there);
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(FileError::io("make the folder", path))?;
        // Again: a parent that was there before may be anybody's.
        check(path, Wanted::Folder).map(|path| StateDir { path })
    }

    /// As [`StateDir::open`], but makes nothing: `None` if the folder is not there.
    ///
    /// # Errors
    ///
    /// As [`StateDir::open`].
    pub fn find(path: &Path) -> Result<Option<StateDir>, FileError> {
        FileError::none_if_missing(check(path, Wanted::Folder).map(|path| StateDir { path }))
    }

    /// Free of symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The names of all files, in order, except those that are no UTF-8: these are not ours.
    pub fn names(&self) -> Result<Vec<String>, FileError> {
        let read = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&self.path)? {
                names.extend(entry?.file_name().into_string());
            }
            names.sort();
            Ok(names)
        };
        read().map_err(FileError::io("read the folder", &self.path))
    }
}
