//! Writes to an archive. An interruption at any time leaves a valid archive: a blob gets its name
//! once it is on the disk, and the index is written last.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::archive::digest::Digest;
use crate::cache::archive::docker_form::DockerManifest;
use crate::cache::archive::document::INDEX_TYPE;
use crate::cache::archive::entry::Entry;
use crate::cache::archive::error::{ArchiveError, Damage};
use crate::cache::archive::index::{Item, LONGEST_INDEX};
use crate::cache::archive::open::{Archive, BLOBS, INDEX, LAYOUT, LOCK};
use crate::cache::step::Step;
use crate::engine::Platform;
use crate::host::files::{
    Draft, FileError, StateDir, flush, make_folder, unwritten, write_for_all,
};
use crate::host::run_lock::{HeldBy, RunLock};
use crate::model::Bytes;

/// How long a second writer waits for the first.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// An archive that is locked for writing.
#[derive(Debug)]
pub struct Writer {
    pub(super) archive: Archive,
    docker: DockerManifest,
    /// Of all blobs, including other tools'.
    bytes: u64,
    is_changed: bool,
    _lock: RunLock,
}

/// A blob that is written, but has no name yet.
#[derive(Debug)]
pub struct NewBlob {
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    pub draft: Draft,
}

impl Writer {
    /// Creates the archive if there is none, and deletes a killed writer's drafts. Returns who
    /// else is writing, if that does not end in time.
    ///
    /// # Errors
    ///
    /// As [`Archive::open`], except [`ArchiveError::Absent`].
    pub async fn open(dir: &Path) -> Result<Result<Self, HeldBy>, ArchiveError> {
        // Checked before anything is created: it may be somebody else's folder.
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
                create(folder.path())?;
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
            docker: DockerManifest::read(archive.dir())?,
            bytes: bytes_in(&blobs),
            archive,
            is_changed: false,
            _lock: lock,
        }))
    }

    /// Reads the whole archive; a damaged blob counts as missing.
    pub fn find_damage(&mut self, on_step: &mut dyn FnMut(Step)) {
        let of_bytes = self.bytes();
        self.archive.find_damage(&mut |bytes| {
            let bytes = Bytes(bytes);
            on_step(Step::ReadingArchive { bytes, of_bytes });
        });
    }

    /// The folder of blobs and their drafts.
    pub fn folder(&self) -> PathBuf {
        self.archive.dir().join(BLOBS)
    }

    /// Of all blobs, including other tools'.
    pub fn bytes(&self) -> Bytes {
        Bytes(self.bytes)
    }

    /// Writes a blob of these bytes, without its name.
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

    /// Gives blobs their names, in this order. No entry leads to them before [`Writer::commit`].
    pub fn add(&mut self, blobs: Vec<NewBlob>) -> Result<(), FileError> {
        if blobs.is_empty() {
            return Ok(());
        }
        for blob in blobs {
            let before = fs::symlink_metadata(self.archive.path(&blob.digest));
            blob.draft.name(blob.digest.hex())?;
            self.archive.damaged.remove(&blob.digest);
            let before = before.map_or(0, |meta| meta.len());
            self.bytes = self.bytes.saturating_sub(before).saturating_add(blob.size);
        }
        flush(&self.folder())
    }

    /// Adds one of our entries, replacing our entry of the same name, or of the same image if it
    /// has no name. Another image that had the name keeps an entry without one, because a
    /// baseline may promise it, and so that its age is known when it is trimmed. Entries of other
    /// tools stay.
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
        let digest = entry.descriptor.digest.clone();
        let entry = Item::Entry(Box::new(entry));
        let Some(at) = place else {
            items.push(entry);
            self.is_changed = true;
            return;
        };
        if let Item::Entry(before) = std::mem::replace(&mut items[at], entry)
            && before.descriptor.digest != digest
            && let Some(ours) = before.ours
        {
            self.put(Entry::new(before.descriptor, None, ours));
        }
        self.is_changed = true;
    }

    /// Removes our entries for which `goes` is true.
    pub fn drop(&mut self, goes: impl Fn(&Entry) -> bool) {
        let items = &mut self.archive.index.manifests;
        let before = items.len();
        items.retain(|item| match item {
            Item::Entry(entry) => entry.ours.is_none() || !goes(entry),
            Item::Odd(_) => true,
        });
        self.is_changed |= items.len() != before;
    }

    /// Writes the index, if it changed. manifest.json comes first: for a moment it may list an
    /// image too many, whose blobs are here, but never one too few.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::File`]; then the index is either the old or the new one.
    pub fn commit(&mut self, platform: &Platform) -> Result<(), ArchiveError> {
        if !self.is_changed {
            return Ok(());
        }
        let path = self.archive.dir().join(INDEX);
        let index = self.archive.index.to_json();
        if index.len() as u64 > LONGEST_INDEX {
            // It could not be opened again.
            let (seen, most) = (index.len() as u64, LONGEST_INDEX);
            return Err(ArchiveError::damaged(&path, Damage::TooLong { seen, most }));
        }
        self.docker.write(&self.archive, platform)?;
        write_for_all(&path, &index)?;
        self.is_changed = false;
        Ok(())
    }

    /// Deletes a blob that no entry leads to.
    pub fn remove(&mut self, digest: &Digest, size: u64) -> Result<bool, FileError> {
        let removed = crate::host::files::remove(&self.archive.path(digest))?;
        if removed {
            self.bytes = self.bytes.saturating_sub(size);
        }
        Ok(removed)
    }
}

async fn locked(path: &Path) -> Result<Result<RunLock, HeldBy>, FileError> {
    let until = Instant::now() + LOCK_TIMEOUT;
    loop {
        match RunLock::take(path)? {
            Err(_) if Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            taken => return Ok(taken),
        }
    }
}

/// Creates an archive without entries. If interrupted, the next run creates it again.
fn create(dir: &Path) -> Result<(), FileError> {
    make_folder(&dir.join(BLOBS))?;
    flush(&dir.join("blobs"))?;
    write_for_all(&dir.join(LAYOUT), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX_TYPE}","manifests":[]}}"#);
    write_for_all(&dir.join(INDEX), index.as_bytes())
}

fn bytes_in(blobs: &Path) -> u64 {
    let files = fs::read_dir(blobs).into_iter().flatten().flatten();
    let sizes = files.filter_map(|file| file.metadata().ok());
    let sizes = sizes.filter(fs::Metadata::is_file);
    sizes.fold(0, |sum, meta| sum.saturating_add(meta.len()))
}
