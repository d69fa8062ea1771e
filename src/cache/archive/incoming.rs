//! Writes an engine's export into drafts of blobs while it arrives. Whether the image is whole is
//! decided by the [`Export`] afterwards.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use crate::cache::archive::descriptor::Descriptor;
use crate::cache::archive::digest::Digest;
use crate::cache::archive::open::Archive;
use crate::cache::archive::writer::NewBlob;
use crate::cache::checks::whole::export::Export;
use crate::cache::checks::whole::tar::{Entry, Sink};
use crate::host::files::{Draft, FileError, unwritten};

/// Why the export is not read further.
#[derive(Debug)]
pub enum Stopped {
    /// The archive would become too large.
    Full,
    File(FileError),
}

/// A file of the engine's export.
#[derive(Debug)]
pub enum Arrived {
    /// The archive has it, under its digest or compressed.
    There,
    New(NewBlob),
}

pub struct Incoming<'a> {
    pub export: Export,
    /// The key is the digest of the engine's bytes.
    pub arrived: BTreeMap<Digest, Arrived>,
    pub stopped: Option<Stopped>,
    archive: &'a Archive,
    /// The layer blobs in the archive, by DiffID (the hash of the uncompressed layer).
    layers: &'a BTreeMap<Digest, Descriptor>,
    folder: PathBuf,
    gzip: bool,
    /// Bytes that the archive may still grow.
    room: u64,
    current: Option<Current>,
}

struct Current {
    name: String,
    /// The digest in its file name.
    claimed: Option<Digest>,
    /// In bytes.
    size: u64,
    output: Output,
}

enum Output {
    /// Before its first byte.
    Undecided,
    /// The archive has it, or the export keeps it.
    Nothing,
    Draft(Encoder),
}

enum Encoder {
    Plain(HashingDraft),
    Gzip(Box<GzEncoder<HashingDraft>>),
}

/// A draft that hashes what is written.
pub(super) struct HashingDraft {
    draft: Draft,
    hash: Sha256,
    size: u64,
}

impl HashingDraft {
    /// `folder`: where the blob will be.
    pub fn begin(folder: &Path) -> Result<Self, FileError> {
        Ok(Self {
            draft: Draft::begin(folder)?,
            hash: Sha256::new(),
            size: 0,
        })
    }

    pub fn finish(self) -> NewBlob {
        NewBlob {
            digest: Digest::finished(self.hash),
            size: self.size,
            draft: self.draft,
        }
    }
}

impl Write for HashingDraft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.draft.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.draft.flush()
    }
}

impl Encoder {
    fn size(&self) -> u64 {
        match self {
            Self::Plain(to) => to.size,
            Self::Gzip(to) => to.get_ref().size,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(to) => to.write_all(bytes),
            Self::Gzip(to) => to.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<NewBlob> {
        let written = match self {
            Self::Plain(to) => to,
            Self::Gzip(to) => to.finish()?,
        };
        Ok(written.finish())
    }
}

impl<'a> Incoming<'a> {
    /// `gzip`: compress everything but JSON.
    pub fn new(
        archive: &'a Archive,
        layers: &'a BTreeMap<Digest, Descriptor>,
        folder: PathBuf,
        gzip: bool,
        room: u64,
    ) -> Self {
        Self {
            export: Export::default(),
            arrived: BTreeMap::new(),
            stopped: None,
            archive,
            layers,
            folder,
            gzip,
            room,
            current: None,
        }
    }

    /// Bytes of the finished drafts.
    fn written(&self) -> u64 {
        let blobs = self.arrived.values().map(|arrived| match arrived {
            Arrived::New(blob) => blob.size,
            Arrived::There => 0,
        });
        blobs.sum()
    }

    /// `size`: bytes of the engine's file.
    fn is_there(&self, digest: &Digest, size: u64) -> bool {
        let layer = self.layers.get(digest);
        layer.is_some_and(|layer| self.archive.has(layer)) || self.archive.holds(digest, size)
    }

    fn start(&self) -> Result<Output, FileError> {
        let draft = HashingDraft::begin(&self.folder)?;
        Ok(Output::Draft(if self.gzip {
            Encoder::Gzip(Box::new(GzEncoder::new(draft, Compression::fast())))
        } else {
            Encoder::Plain(draft)
        }))
    }

    fn stop(&mut self, why: Stopped) {
        self.stopped.get_or_insert(why);
        // The drafts are deleted now: the disk may be full.
        self.arrived.clear();
        self.current = None;
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Stopped> {
        let Some(mut current) = self.current.take() else {
            return Ok(());
        };
        if matches!(current.output, Output::Undecided) {
            let there = |digest: &Digest| self.is_there(digest, current.size);
            current.output =
                if self.export.keeps_bytes() || current.claimed.as_ref().is_some_and(there) {
                    Output::Nothing
                } else {
                    self.start().map_err(Stopped::File)?
                };
        }
        if let Output::Draft(written) = &mut current.output {
            let failed = |error| Stopped::File(unwritten(&self.folder, error));
            written.write(bytes).map_err(failed)?;
            // Without a digest in its name, the archive may turn out to have it.
            if current.claimed.is_some() && self.written() + written.size() > self.room {
                return Err(Stopped::Full);
            }
        }
        self.current = Some(current);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Stopped> {
        let Some(current) = self.current.take() else {
            return Ok(());
        };
        let hash = self.export.hash(&current.name);
        let Some(digest) = hash.and_then(|hash| format!("sha256:{hash}").parse().ok()) else {
            return Ok(());
        };
        let arrived = match current.output {
            Output::Draft(written) if !self.is_there(&digest, current.size) => {
                let failed = |error| Stopped::File(unwritten(&self.folder, error));
                Arrived::New(written.finish().map_err(failed)?)
            }
            Output::Draft(_) => Arrived::There,
            Output::Nothing if self.is_there(&digest, current.size) => Arrived::There,
            Output::Nothing | Output::Undecided => return Ok(()),
        };
        self.arrived.entry(digest).or_insert(arrived);
        if self.written() > self.room {
            return Err(Stopped::Full);
        }
        Ok(())
    }
}

impl Sink for Incoming<'_> {
    fn begin(&mut self, entry: &Entry) {
        self.export.begin(entry);
        self.current = None;
        if entry.is_file && self.stopped.is_none() {
            let name = entry.name.trim_start_matches("./").to_owned();
            let hex = name.strip_prefix("blobs/sha256/");
            self.current = Some(Current {
                claimed: hex.and_then(|hex| format!("sha256:{hex}").parse().ok()),
                name,
                size: entry.size,
                output: Output::Undecided,
            });
        }
    }

    fn data(&mut self, bytes: &[u8]) {
        self.export.data(bytes);
        if let Err(why) = self.take(bytes) {
            self.stop(why);
        }
    }

    fn end(&mut self) {
        self.export.end();
        if let Err(why) = self.finish() {
            self.stop(why);
        }
    }

    fn is_done(&self) -> bool {
        self.stopped.is_some()
    }
}
