use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Fault};
use crate::model::text::quoted;

/// `Display` tells everything and what to do; there is no `source()` to print.
#[derive(Debug)]
pub enum FileError {
    /// Somebody else could have written the file, or could replace it (exit code 77).
    Untrusted {
        /// The file, or a folder or link on the way.
        path: PathBuf,
        /// What was found, what is wanted, and what to do.
        why: String,
    },
    /// The file cannot be read or written (exit code 74). One that must exist and does
    /// not is [`io::ErrorKind::NotFound`].
    Io {
        path: PathBuf,
        /// As in "cannot ... PATH".
        doing: &'static str,
        source: io::Error,
    },
}

impl FileError {
    pub(in crate::host) fn io<E: Into<io::Error>>(
        doing: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> FileError {
        move |source| FileError::Io {
            path: path.to_owned(),
            doing,
            source: source.into(),
        }
    }

    /// For a file that the system would read or write, but that is not what is wanted.
    pub(super) fn unfit(doing: &'static str, path: &Path, why: impl Into<String>) -> FileError {
        let source = io::Error::new(io::ErrorKind::InvalidInput, why.into());
        FileError::io(doing, path)(source)
    }

    pub(super) fn untrusted(path: &Path, why: impl Into<String>) -> FileError {
        FileError::Untrusted {
            path: path.to_owned(),
            why: why.into(),
        }
    }

    pub(super) fn none_if_missing<T>(result: Result<T, FileError>) -> Result<Option<T>, FileError> {
        match result {
            Err(error) if error.is_not_found() => Ok(None),
            other => other.map(Some),
        }
    }

    /// Whether the file, or a folder on the way to it, is missing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, FileError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// 77 where a permission is missing or others have one too many; else `otherwise`, which
    /// depends on whose file it is.
    #[must_use]
    pub fn exit(&self, otherwise: Exit) -> Exit {
        match self {
            FileError::Untrusted { .. } => Exit::Permission,
            FileError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Exit::Permission
            }
            FileError::Io { .. } => otherwise,
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Untrusted { path, why } => {
                write!(f, "refusing to trust {}: {why}", quoted(path))
            }
            FileError::Io {
                path,
                doing,
                source,
            } => {
                write!(f, "cannot {doing} {}: {source}", quoted(path))?;
                if source.kind() == io::ErrorKind::StorageFull {
                    f.write_str("; free a few MiB there first")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for FileError {}

/// For a file of the state folder, or one that secateur writes.
impl From<FileError> for Fault {
    fn from(error: FileError) -> Self {
        Self::new(error.exit(Exit::State), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_prints_no_escape_sequence_of_a_file_name() {
        let error = FileError::io("open", Path::new("/x/\u{1b}]52;c;\u{202e}"))(io::Error::from(
            io::ErrorKind::NotFound,
        ));
        let text = error.to_string();
        assert!(
            text.chars().all(|c| c.is_ascii() && !c.is_ascii_control()),
            "{text}"
        );
    }
}
