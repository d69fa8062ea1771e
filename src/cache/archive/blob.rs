//! Reads blobs: only plain files of the expected size, which are hashed while they are read.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use crate::cache::archive::descriptor::Descriptor;
use crate::cache::archive::digest::Digest;
use crate::cache::archive::error::{ArchiveError, Damage};
use crate::cache::archive::hashing::Hashing;
use crate::cache::archive::open::Archive;
use crate::cache::checks::whole::store::LONGEST_DOCUMENT;
use crate::host::files::open_untrusted;

/// Bytes that are read at once if only the digest matters.
pub const PIECE: usize = 256 << 10;

/// A blob while it is read. The last bytes are only returned if the digest is right; otherwise
/// that read fails with an [`ArchiveError`] inside.
#[derive(Debug)]
pub struct Blob {
    file: File,
    path: PathBuf,
    digest: Digest,
    seen: Seen,
    size: u64,
    left: u64,
}

/// What is known of a blob's digest.
#[derive(Debug)]
enum Seen {
    /// Its bytes are still read.
    Part(Hashing),
    /// It is right.
    Right,
    Wrong(Digest),
}

impl Archive {
    /// # Errors
    ///
    /// [`ArchiveError::Damaged`] if it is missing, not `size` bytes long, or no plain file;
    /// [`ArchiveError::File`] if it cannot be opened.
    pub fn blob(&self, digest: &Digest, size: u64) -> Result<Blob, ArchiveError> {
        let path = self.path(digest);
        let damaged = |how| ArchiveError::damaged(&path, how);
        if std::fs::symlink_metadata(&path).is_ok_and(|meta| !meta.is_file()) {
            return Err(damaged(Damage::NotAFile));
        }
        let opened = open_untrusted(&path)?;
        let (file, seen) = opened.ok_or_else(|| damaged(Damage::Missing))?;
        if seen != size {
            return Err(damaged(Damage::Size { seen, wanted: size }));
        }
        Ok(Blob {
            file,
            path,
            digest: digest.clone(),
            seen: Seen::Part(Hashing::New(size)),
            size,
            left: size,
        })
    }

    /// Whether it is a plain file of that size without known damage. Does not read its bytes.
    pub fn has(&self, blob: &Descriptor) -> bool {
        self.holds(&blob.digest, blob.size)
    }

    /// As [`Self::has`], with the size in bytes.
    pub fn holds(&self, digest: &Digest, size: u64) -> bool {
        let meta = std::fs::symlink_metadata(self.path(digest));
        !self.damaged.contains_key(digest)
            && meta.is_ok_and(|meta| meta.is_file() && meta.len() == size)
    }

    /// The bytes of a manifest, an index or a configuration.
    ///
    /// # Errors
    ///
    /// As [`Archive::blob`]; also if the digest is wrong, or the document too long.
    pub fn document(&self, blob: &Descriptor) -> Result<Vec<u8>, ArchiveError> {
        let path = self.path(&blob.digest);
        if blob.size > LONGEST_DOCUMENT {
            let (seen, most) = (blob.size, LONGEST_DOCUMENT);
            return Err(ArchiveError::damaged(&path, Damage::TooLong { seen, most }));
        }
        let mut bytes = Vec::new();
        let mut read = self.blob(&blob.digest, blob.size)?;
        match read.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(read.error(error)),
        }
    }
}

impl Blob {
    /// Bytes of the whole blob.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads into `piece`, and returns how many bytes came: 0 at the end.
    pub fn read_piece(&mut self, piece: &mut [u8]) -> Result<usize, ArchiveError> {
        self.read(piece).map_err(|error| self.error(error))
    }

    /// The error of a failed read.
    pub fn error(&self, error: io::Error) -> ArchiveError {
        match error.downcast::<ArchiveError>() {
            Ok(error) => error,
            Err(error) => ArchiveError::damaged(&self.path, Damage::Unread(error.to_string())),
        }
    }

    fn damaged(&self, how: Damage) -> io::Error {
        io::Error::new(
            io::ErrorKind::InvalidData,
            ArchiveError::damaged(&self.path, how),
        )
    }

    /// Once all is read.
    fn check(&mut self) -> io::Result<()> {
        self.seen = match std::mem::replace(&mut self.seen, Seen::Right) {
            Seen::Part(hashing) => match hashing.finish() {
                digest if digest == self.digest => Seen::Right,
                digest => Seen::Wrong(digest),
            },
            seen => seen,
        };
        match &self.seen {
            Seen::Wrong(digest) => Err(self.damaged(Damage::Digest(digest.clone()))),
            Seen::Right | Seen::Part(_) => Ok(()),
        }
    }
}

impl Read for Blob {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            self.check()?;
            return Ok(0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(into.len());
        let count = self.file.read(&mut into[..most])?;
        if count == 0 && most > 0 {
            // It was truncated since it was opened.
            let (seen, wanted) = (self.size - self.left, self.size);
            return Err(self.damaged(Damage::Size { seen, wanted }));
        }
        if let Seen::Part(hashing) = &mut self.seen {
            hashing.update(&into[..count]);
        }
        self.left -= count as u64;
        if self.left == 0 {
            self.check()?;
        }
        Ok(count)
    }
}
