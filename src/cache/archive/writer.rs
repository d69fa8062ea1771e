//! Writes to an archive. Whatever cuts it off leaves a valid archive: a blob gets its name
//! when all of its bytes are on the disk, and the index comes last.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::archive::digest::Digest;
use crate::cache::archive::docker_form::DockerForm;
use crate::cache::archive::document::INDEX_TYPE;
use crate::cache::archive::entry::Entry;
use crate::cache::archive::error::{ArchiveError, Damage};
use crate::cache::archive::index::{Item, LONGEST_INDEX};
use crate::cache::archive::open::{Archive, BLOBS, INDEX, LAYOUT, LOCK};
use crate::engine::Platform;
use crate::host::clock::monotonic;
use crate::host::files::{
    Draft, FileError, StateDir, flush, make_folder, unwritten, write_for_all,
};
use crate::host::run_lock::{HeldBy, RunLock};
use crate::model::Bytes;

/// How long a second writer waits for the first.
const PATIENCE: Duration = Duration::from_secs(10);

/// An archive that nobody else writes to meanwhile.
#[derive(Debug)]
pub struct Writer {
    pub(super) archive: Archive,
    /// What others may take as it is, with docker's own list of images.
    docker: DockerForm,
    /// Of all blobs, also those of others.
    bytes: u64,
    is_changed: bool,
    _lock: RunLock,
}

/// A blob that is written and has no name yet.
#[derive(Debug)]
pub struct NewBlob {
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    pub draft: Draft,
}

impl Writer {
    /// Makes the archive where there is none, and removes what a killed writer left without
    /// a name. Gives who else writes, where that one does not end in time.
    ///
    /// # Errors
    ///
    /// As [`Archive::open`], but for [`ArchiveError::Absent`].
    pub async fn open(dir: &Path) -> Result<Result<Self, HeldBy>, ArchiveError> {
        // Before anything is made there: it may be somebody else's folder.
        match Archive::open(dir) {
            Ok(_) | Err(ArchiveError::Absent(_)) => {}
            Err(error) => return Err(error),
        }
        let folder = StateDir::open(dir)?;
        let lock = match locked(&folder.file(LOCK)).await? {
            Ok(lock) => lock,
            Err(held) => return Ok(Err(held)),
        };
        let archive = match Archive::open(folder.path()) {
            Err(ArchiveError::Absent(_)) => {
                begin(folder.path())?;
                Archive::open(folder.path())?
            }
            opened => opened?,
        };
        lock.remove_leftovers(&folder)?;
        let blobs = archive.dir().join(BLOBS);
        if let Some(blobs) = StateDir::find(&blobs)? {
            lock.remove_leftovers(&blobs)?;
        } else {
            make_folder(&blobs)?;
        }
        Ok(Ok(Self {
            docker: DockerForm::read(archive.dir())?,
            bytes: taken(&blobs),
            archive,
            is_changed: false,
            _lock: lock,
        }))
    }

    /// Where blobs are, and where drafts of them are written.
    pub fn folder(&self) -> PathBuf {
        self.archive.dir().join(BLOBS)
    }

    /// Of all blobs, also those of others.
    pub fn bytes(&self) -> Bytes {
        Bytes(self.bytes)
    }

    /// A blob of these bytes, without its name.
    pub fn draft(&self, bytes: &[u8]) -> Result<NewBlob, FileError> {
        let folder = self.folder();
        let mut draft = Draft::begin(&folder)?;
        std::io::Write::write_all(&mut draft, bytes).map_err(|error| unwritten(&folder, error))?;
        Ok(NewBlob {
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            draft,
        })
    }

    /// Gives blobs their names, in this order. Nobody names them before [`Writer::commit`].
    pub fn add(&mut self, blobs: Vec<NewBlob>) -> Result<(), FileError> {
        if blobs.is_empty() {
            return Ok(());
        }
        for blob in blobs {
            blob.draft.name(blob.digest.hex())?;
            self.bytes = self.bytes.saturating_add(blob.size);
        }
        flush(&self.folder())
    }

    /// Puts an entry of ours in the place of that of its name, or of its image where it has
    /// none. Another image that had the name stays without one, for it may be what a
    /// baseline promises; so its end is noted, and its blobs are known. Entries of others
    /// stay.
    pub fn put(&mut self, entry: Entry) {
        let same = |other: &Entry| {
            other.ours.is_some()
                && other.name == entry.name
                && (entry.name.is_some() || other.descriptor.digest == entry.descriptor.digest)
        };
        let items = &mut self.archive.index.manifests;
        let place = items
            .iter()
            .position(|item| matches!(item, Item::Entry(other) if same(other)));
        let Some(at) = place else {
            items.push(Item::Entry(entry));
            self.is_changed = true;
            return;
        };
        let digest = entry.descriptor.digest.clone();
        if let Item::Entry(before) = std::mem::replace(&mut items[at], Item::Entry(entry))
            && before.descriptor.digest != digest
            && let Some(ours) = before.ours
        {
            self.put(Entry::written(before.descriptor, None, ours));
        }
        self.is_changed = true;
    }

    /// Leaves out the entries of ours that this says.
    pub fn drop(&mut self, goes: impl Fn(&Entry) -> bool) {
        let items = &mut self.archive.index.manifests;
        let before = items.len();
        items.retain(|item| match item {
            Item::Entry(entry) => entry.ours.is_none() || !goes(entry),
            Item::Odd(_) => true,
        });
        self.is_changed |= items.len() != before;
    }

    /// Writes the index, if it changed. What docker reads in its place comes before: it
    /// may name an image too many for a moment, whose blobs are here, and never one too few.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::File`]; then the index is the old one or the new one.
    pub fn commit(&mut self, platform: &Platform) -> Result<(), ArchiveError> {
        if !self.is_changed {
            return Ok(());
        }
        let path = self.archive.dir().join(INDEX);
        let index = self.archive.index.to_json();
        if index.len() as u64 > LONGEST_INDEX {
            // Nobody could open it again.
            let (seen, most) = (index.len() as u64, LONGEST_INDEX);
            return Err(ArchiveError::damaged(&path, Damage::TooLong { seen, most }));
        }
        self.docker.write(&self.archive, platform)?;
        write_for_all(&path, &index)?;
        self.is_changed = false;
        Ok(())
    }

    /// Removes a blob that no entry names any more.
    pub fn remove(&mut self, digest: &Digest, size: u64) -> Result<bool, FileError> {
        let removed = crate::host::files::remove(&self.archive.path(digest))?;
        if removed {
            self.bytes = self.bytes.saturating_sub(size);
        }
        Ok(removed)
    }
}

async fn locked(path: &Path) -> Result<Result<RunLock, HeldBy>, FileError> {
    let until = monotonic() + PATIENCE;
    loop {
        match RunLock::take(path)? {
            Err(_) if monotonic() < until => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            taken => return Ok(taken),
        }
    }
}

/// Makes an archive without entries: one that is cut off here is made again.
fn begin(dir: &Path) -> Result<(), FileError> {
    make_folder(&dir.join(BLOBS))?;
    flush(&dir.join("blobs"))?;
    write_for_all(&dir.join(LAYOUT), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX_TYPE}","manifests":[]}}"#);
    write_for_all(&dir.join(INDEX), index.as_bytes())
}

fn taken(blobs: &Path) -> u64 {
    let files = fs::read_dir(blobs).into_iter().flatten().flatten();
    let sizes = files.filter_map(|file| file.metadata().ok());
    let sizes = sizes.filter(fs::Metadata::is_file);
    sizes.fold(0, |sum, meta| sum.saturating_add(meta.len()))
}
