//! Writes a file piece by piece under a temporary name, when its name is known only at the end.
//! The caller makes sure that there is one writer at a time.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::host::files::error::FileError;
use crate::host::files::folder::{folder_of, sync_folder};
use crate::host::files::write::TEMPORARY;

/// A file without its name. Dropping it removes it; a kill leaves it, see
/// [`crate::host::run_lock::RunLock::remove_leftovers`].
#[derive(Debug)]
pub struct Draft {
    file: NamedTempFile,
    folder: PathBuf,
}

impl Draft {
    /// In this folder, which must exist. Everybody may read it (mode 0644).
    ///
    /// # Errors
    ///
    /// [`FileError::Io`] if it cannot be made.
    pub fn begin(folder: &Path) -> Result<Self, FileError> {
        let file = tempfile::Builder::new()
            .prefix(".")
            .suffix(TEMPORARY)
            .tempfile_in(folder)
            .map_err(FileError::io("write a file in", folder))?;
        file.as_file()
            .set_permissions(Permissions::from_mode(0o644))
            .map_err(FileError::io("set the mode of a file in", folder))?;
        Ok(Self {
            file,
            folder: folder.to_owned(),
        })
    }

    /// Makes its bytes durable, then gives it its name, in place of a file that has it. The
    /// name survives a power cut after [`flush`] of the folder.
    ///
    /// # Errors
    ///
    /// [`FileError::Io`]; then the file is removed.
    pub fn name(self, name: &str) -> Result<(), FileError> {
        let path = self.folder.join(name);
        let file = self.file.as_file();
        file.sync_all().map_err(FileError::io("flush", &path))?;
        match self.file.persist(&path) {
            Ok(_) => Ok(()),
            Err(error) => Err(FileError::io("write", &path)(error.error)),
        }
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

/// A failed write of a [`Draft`] in this folder.
pub fn unwritten(folder: &Path, error: io::Error) -> FileError {
    FileError::io("write a file in", folder)(error)
}

/// Makes names in the folder survive a power cut.
///
/// # Errors
///
/// [`FileError::Io`].
pub fn flush(folder: &Path) -> Result<(), FileError> {
    sync_folder(folder)
}

/// Makes the folder (mode 0755) and its parents if they are missing, durably.
///
/// # Errors
///
/// [`FileError::Io`].
pub fn make_folder(folder: &Path) -> Result<(), FileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)
        .map_err(FileError::io("make the folder", folder))?;
    sync_folder(folder_of(folder))
}

/// Removes a file of ours; `false` if it was not there.
///
/// # Errors
///
/// [`FileError::Io`].
pub fn remove(path: &Path) -> Result<bool, FileError> {
    #[expect(clippy::disallowed_methods, reason = "a file of ours")]
    let removed = fs::remove_file(path);
    let removed = removed.map_err(FileError::io("remove", path));
    FileError::none_if_missing(removed).map(|removed| removed.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_draft_has_its_name_only_at_the_end_and_goes_where_it_gets_none() {
        let folder = crate::testing::folder_of_ours();
        let names = || fs::read_dir(folder.path()).unwrap().count();
        let mut draft = Draft::begin(folder.path()).unwrap();
        draft.write_all(b"half").unwrap();
        drop(draft);
        assert_eq!(names(), 0);
        let mut draft = Draft::begin(folder.path()).unwrap();
        draft.write_all(b"whole").unwrap();
        let path = folder.path().join("blob");
        assert!(!path.exists());
        draft.name("blob").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o644);
        assert!(remove(&path).unwrap());
        assert!(!remove(&path).unwrap());
        Draft::begin(folder.path())
            .unwrap()
            .name("none/x")
            .unwrap_err();
        assert_eq!(names(), 0);
    }
}
