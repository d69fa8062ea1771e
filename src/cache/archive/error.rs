//! Why an archive, or a part of it, cannot be used.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::cache::archive::digest::Digest;
use crate::exit::Exit;
use crate::host::files::FileError;
use crate::model::text::quoted;

/// `Display` includes what to do.
#[derive(Debug)]
pub enum ArchiveError {
    /// There is no archive yet: no folder, or an empty one.
    Absent(PathBuf),
    /// The folder contains something else.
    Foreign {
        dir: PathBuf,
        what: Foreign,
    },
    Damaged {
        path: PathBuf,
        how: Damage,
    },
    File(FileError),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreign {
    NoLayout,
    /// Fit to print.
    Version(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    Missing,
    /// A link, a folder or the like.
    NotAFile,
    /// In bytes.
    Size {
        seen: u64,
        wanted: u64,
    },
    /// Bytes; more than such a document may have.
    TooLong {
        seen: u64,
        most: u64,
    },
    /// The digest of the bytes.
    Digest(Digest),
    /// Invalid as a document: why, fit to print.
    Unreadable(String),
    /// The system could not read all bytes: why, fit to print.
    Unread(String),
    /// The number of layers in the manifest and in the configuration differ.
    Layers {
        manifest: usize,
        config: usize,
    },
    /// Too many indexes, or nested too deep.
    TooDeep,
    /// It has no manifest for this platform, fit to print.
    NotFor(String),
    /// It has manifests for several variants of this platform, fit to print.
    Variants(String),
}

impl ArchiveError {
    pub(super) fn damaged(path: &Path, how: Damage) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            how,
        }
    }

    pub fn exit(&self) -> Exit {
        match self {
            Self::File(error) => error.exit(Exit::State),
            Self::Absent(_) | Self::Foreign { .. } | Self::Damaged { .. } => Exit::State,
        }
    }
}

impl From<FileError> for ArchiveError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(dir) => write!(
                f,
                "there is no archive in {}: `secateur verify-cache --save` makes one",
                quoted(dir)
            ),
            Self::Foreign { dir, what } => {
                write!(f, "{} is no archive: ", quoted(dir))?;
                match what {
                    Foreign::NoLayout => f.write_str("it holds other files, and no oci-layout")?,
                    Foreign::Version(seen) => {
                        write!(f, "oci-layout says version {seen}, wanted 1.0.0")?;
                    }
                }
                f.write_str("; name another folder")
            }
            Self::Damaged { path, how } => write!(f, "{} {how}", quoted(path)),
            Self::File(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ArchiveError {}

/// Printed after the path.
impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is missing"),
            Self::NotAFile => f.write_str("is no plain file"),
            Self::Size { seen, wanted } => write!(f, "has {seen} bytes, wanted {wanted}"),
            Self::TooLong { seen, most } => {
                write!(
                    f,
                    "is said to have {seen} bytes; more than {most} are not read"
                )
            }
            Self::Digest(seen) => write!(f, "is damaged: its bytes hash to {seen}"),
            Self::Unread(why) => write!(f, "cannot be read: {why}"),
            Self::Unreadable(why) => write!(f, "does not read: {why}"),
            Self::Layers { manifest, config } => {
                write!(f, "names {manifest} layers, and its configuration {config}")
            }
            Self::TooDeep => f.write_str("leads to more indexes than any image has"),
            Self::NotFor(platform) => write!(f, "has no image for {platform}"),
            Self::Variants(platform) => write!(
                f,
                "has images for several variants of {platform}, of which the engine alone \
                 knows its own"
            ),
        }
    }
}
