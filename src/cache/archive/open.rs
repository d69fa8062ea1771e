//! Opens an archive, and finds the entry of a name, digest or id.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::cache::archive::digest::Digest;
use crate::cache::archive::entry::Entry;
use crate::cache::archive::error::{ArchiveError, Damage, Foreign};
use crate::cache::archive::index::{Index, LONGEST_INDEX};
use crate::host::files::{Wanted, check, is_temporary, read_trusted};
use crate::model::ImageId;
use crate::model::reference::Reference;
use crate::model::text::{escape, json_error};

pub const LAYOUT: &str = "oci-layout";
pub const INDEX: &str = "index.json";
pub const BLOBS: &str = "blobs/sha256";

/// The writer's lock.
pub const LOCK: &str = ".secateur.lock";

/// Bytes; it contains only a version.
const LONGEST_LAYOUT: u64 = 4096;

/// How often an archive that lacks a file is looked at again: its first writer may have created
/// it, and what comes after it, between two of our looks.
const CREATED_MEANWHILE: u32 = 3;

/// An archive with its index as it was when opened.
#[derive(Debug)]
pub struct Archive {
    /// Free of symbolic links.
    pub(super) dir: PathBuf,
    pub(super) index: Index,
    /// Damaged blobs that are known, and what is wrong, fit to print.
    pub(super) damaged: BTreeMap<Digest, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layout {
    image_layout_version: String,
}

impl Archive {
    /// Reads the index, but no blob.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Absent`] also if a first save was interrupted before it wrote anything;
    /// [`ArchiveError::File`] also if others could write to the folder or the index.
    pub fn open(dir: &Path) -> Result<Self, ArchiveError> {
        let mut tries = 0..CREATED_MEANWHILE;
        loop {
            let opened = Self::open_once(dir);
            match &opened {
                Err(
                    ArchiveError::Foreign {
                        what: Foreign::NoLayout,
                        ..
                    }
                    | ArchiveError::Damaged {
                        how: Damage::Missing,
                        ..
                    },
                ) if tries.next().is_some() => {}
                _ => return opened,
            }
        }
    }

    fn open_once(dir: &Path) -> Result<Self, ArchiveError> {
        let dir = match check(dir, Wanted::Folder) {
            Err(error) if error.is_not_found() => {
                return Err(ArchiveError::Absent(dir.to_owned()));
            }
            checked => checked?,
        };
        let layout = dir.join(LAYOUT);
        let Some(bytes) = read_trusted(&layout, LONGEST_LAYOUT)? else {
            return Err(without_layout(dir));
        };
        let version: Layout = serde_json::from_slice(&bytes).map_err(|error| {
            ArchiveError::damaged(&layout, Damage::Unreadable(json_error(&error)))
        })?;
        let version = version.image_layout_version;
        if version != "1.0.0" {
            let what = Foreign::Version(escape(&version));
            return Err(ArchiveError::Foreign { dir, what });
        }
        let index = dir.join(INDEX);
        match read_trusted(&index, LONGEST_INDEX)? {
            Some(bytes) => {
                let index =
                    Index::read(&bytes).map_err(|how| ArchiveError::damaged(&index, how))?;
                Ok(Self {
                    dir,
                    index,
                    damaged: BTreeMap::new(),
                })
            }
            None if is_empty(&dir.join(BLOBS)) => Err(ArchiveError::Absent(dir)),
            None => Err(ArchiveError::damaged(&index, Damage::Missing)),
        }
    }

    /// Free of symbolic links.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// In the order of the index.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.index.entries()
    }

    /// The entry of a name: one of ours if there are several, otherwise the first.
    pub fn named(&self, name: &Reference) -> Option<&Entry> {
        self.first(|entry| entry.name.as_ref() == Some(name))
    }

    /// An entry with this digest, here or in its registry.
    pub fn with_digest(&self, digest: &Digest) -> Option<&Entry> {
        self.first(|entry| entry.has_digest(digest))
    }

    /// An entry with this id in an engine.
    pub fn with_id(&self, id: &ImageId) -> Option<&Entry> {
        self.first(|entry| {
            let ours = entry.ours.as_ref();
            ours.is_some_and(|ours| ours.image_id.as_ref() == Some(id))
                || entry.descriptor.digest.as_id() == id
        })
    }

    fn first(&self, wanted: impl Fn(&&Entry) -> bool) -> Option<&Entry> {
        let mut ours = self.entries().filter(|entry| entry.ours.is_some());
        ours.find(&wanted).or_else(|| self.entries().find(&wanted))
    }

    /// The path of a blob, even if it does not exist.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(BLOBS).join(digest.hex())
    }
}

/// The path of a blob in the archive.
pub fn blob_path(digest: &Digest) -> String {
    format!("{BLOBS}/{}", digest.hex())
}

/// A folder without a layout may be that of a first save that has just started, or a new disk.
fn without_layout(dir: PathBuf) -> ArchiveError {
    let expected = |name: &OsStr| {
        let mut ours = [LOCK, "blobs", "lost+found"].into_iter();
        ours.any(|ours| name == ours) || is_temporary(name)
    };
    let entries = fs::read_dir(&dir).map(|entries| {
        let mut entries = entries.take(8);
        entries.all(|entry| entry.is_ok_and(|entry| expected(&entry.file_name())))
    });
    if entries.is_ok_and(|fine| fine) && is_empty(&dir.join(BLOBS)) {
        return ArchiveError::Absent(dir);
    }
    let what = Foreign::NoLayout;
    ArchiveError::Foreign { dir, what }
}

/// Whether the folder is empty or missing.
fn is_empty(folder: &Path) -> bool {
    match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}
