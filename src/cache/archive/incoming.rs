//! Takes an image out of an engine's export into drafts of blobs, as it comes. Whether the
//! image is whole is asked of the [`Export`] beside it, when all of it came.

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

/// Why nothing more of an image is wanted.
#[derive(Debug)]
pub enum Stopped {
    /// The archive would be larger than it may be.
    Full,
    File(FileError),
}

/// What an engine's file is to the archive.
#[derive(Debug)]
pub enum Arrived {
    /// It is there: under its digest, or compressed.
    There,
    New(NewBlob),
}

pub struct Incoming<'a> {
    pub export: Export,
    /// By what the engine's bytes hash to.
    pub arrived: BTreeMap<Digest, Arrived>,
    pub stopped: Option<Stopped>,
    archive: &'a Archive,
    /// The blobs of layers that are there, by what these hash to, uncompressed.
    layers: &'a BTreeMap<Digest, Descriptor>,
    folder: PathBuf,
    gzip: bool,
    /// In bytes: how much more the archive may hold.
    room: u64,
    current: Option<Current>,
}

struct Current {
    name: String,
    /// The digest that its name claims.
    claimed: Option<Digest>,
    /// In bytes.
    size: u64,
    place: Place,
}

enum Place {
    /// No byte came yet.
    Undecided,
    /// It is there, or the export keeps it.
    Nowhere,
    Draft(Written),
}

enum Written {
    Plain(Hashed),
    Gzip(Box<GzEncoder<Hashed>>),
}

/// Hashes what is written.
pub(super) struct Hashed {
    draft: Draft,
    hash: Sha256,
    size: u64,
}

impl Hashed {
    /// In the folder where its blob is to be.
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

impl Write for Hashed {
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

impl Written {
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
    /// `gzip`: what is not JSON.
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

    /// Of the drafts that are done.
    fn written(&self) -> u64 {
        let blobs = self.arrived.values().map(|arrived| match arrived {
            Arrived::New(blob) => blob.size,
            Arrived::There => 0,
        });
        blobs.sum()
    }

    /// `size`: of the engine's file, in bytes.
    fn is_there(&self, digest: &Digest, size: u64) -> bool {
        let layer = self.layers.get(digest);
        layer.is_some_and(|layer| self.archive.has(layer)) || self.archive.holds(digest, size)
    }

    fn begun(&self) -> Result<Place, FileError> {
        let hashed = Hashed::begin(&self.folder)?;
        Ok(Place::Draft(if self.gzip {
            Written::Gzip(Box::new(GzEncoder::new(hashed, Compression::fast())))
        } else {
            Written::Plain(hashed)
        }))
    }

    fn stop(&mut self, why: Stopped) {
        self.stopped.get_or_insert(why);
        // Their bytes go at once: the disk may be full.
        self.arrived.clear();
        self.current = None;
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Stopped> {
        let Some(mut current) = self.current.take() else {
            return Ok(());
        };
        if matches!(current.place, Place::Undecided) {
            let there = |digest: &Digest| self.is_there(digest, current.size);
            current.place =
                if self.export.keeps_bytes() || current.claimed.as_ref().is_some_and(there) {
                    Place::Nowhere
                } else {
                    self.begun().map_err(Stopped::File)?
                };
        }
        if let Place::Draft(written) = &mut current.place {
            let failed = |error| Stopped::File(unwritten(&self.folder, error));
            written.write(bytes).map_err(failed)?;
            // One without a claim may turn out to be there.
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
        let arrived = match current.place {
            Place::Draft(written) if !self.is_there(&digest, current.size) => {
                let failed = |error| Stopped::File(unwritten(&self.folder, error));
                Arrived::New(written.finish().map_err(failed)?)
            }
            Place::Draft(_) => Arrived::There,
            Place::Nowhere if self.is_there(&digest, current.size) => Arrived::There,
            Place::Nowhere | Place::Undecided => return Ok(()),
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
                place: Place::Undecided,
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
