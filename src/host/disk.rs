//! How full a file system is, as `df` reckons, by the file system's own figures.

use std::path::Path;

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::statvfs::{Statvfs, statvfs};

use crate::model::conditions::{Disk, Usage};
use crate::model::text::quoted;

/// The room, in bytes and in inodes, on the file system that holds `path` (statvfs(3)).
///
/// # Errors
///
/// When `path` is not there or may not be read. Callers must not take that for a full
/// disk, nor for an empty one.
pub fn read(path: &Path) -> anyhow::Result<Disk> {
    let stat = loop {
        match statvfs(path) {
            Err(Errno::EINTR) => {} // a network file system was interrupted
            other => break other,
        }
    };
    let stat = stat.with_context(|| {
        format!(
            "cannot read how full the file system is that holds {}",
            quoted(path)
        )
    })?;
    let figures = Figures::from(&stat);
    Ok(Disk {
        path: path.to_owned(),
        bytes: figures.bytes(),
        inodes: figures.inodes(),
    })
}

/// Figures of statvfs(3), apart from the call, so that tests can have odd file systems.
#[derive(Debug, Clone, Copy)]
struct Figures {
    /// Bytes in a block.
    block_size: u64,
    blocks: u64,
    blocks_free: u64,
    /// Without the blocks that are reserved for root.
    blocks_available: u64,
    files: u64,
    files_free: u64,
    files_available: u64,
}

impl From<&Statvfs> for Figures {
    fn from(stat: &Statvfs) -> Self {
        Figures {
            // f_bsize is only a hint for the size of reads: on NFS it is 1 MiB
            // while blocks are counted in f_frsize.
            block_size: match stat.fragment_size() {
                0 => stat.block_size(),
                size => size,
            },
            blocks: stat.blocks(),
            blocks_free: stat.blocks_free(),
            blocks_available: stat.blocks_available(),
            files: stat.files(),
            files_free: stat.files_free(),
            files_available: stat.files_available(),
        }
    }
}

impl Figures {
    // Saturating: nonsense (more blocks free than there are) must not panic, nor wrap
    // around to an empty disk.

    fn bytes(self) -> Usage {
        Usage {
            used: self
                .blocks
                .saturating_sub(self.blocks_free)
                .saturating_mul(self.block_size),
            available: self.blocks_available.saturating_mul(self.block_size),
        }
    }

    /// btrfs and some network file systems count no inodes and report 0, which must not read as
    /// "none left".
    fn inodes(self) -> Option<Usage> {
        (self.files != 0).then(|| Usage {
            used: self.files.saturating_sub(self.files_free),
            available: self.files_available,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXT4: Figures = Figures {
        block_size: 4096,
        blocks: 1000,
        blocks_free: 300,
        blocks_available: 250,
        files: 100,
        files_free: 40,
        files_available: 40,
    };

    #[test]
    fn what_is_set_aside_for_root_is_neither_used_nor_available() {
        let bytes = EXT4.bytes();
        assert_eq!(bytes.used, 700 * 4096);
        assert_eq!(bytes.available, 250 * 4096);
    }

    #[test]
    fn a_file_system_that_counts_no_inodes_is_not_out_of_them() {
        assert_eq!(
            EXT4.inodes(),
            Some(Usage {
                used: 60,
                available: 40
            })
        );
        let btrfs = Figures {
            files: 0,
            files_free: 0,
            files_available: 0,
            ..EXT4
        };
        assert_eq!(btrfs.inodes(), None);
    }

    #[test]
    fn nonsense_neither_panics_nor_reads_as_empty() {
        let more_free_than_there_is = Figures {
            blocks_free: 2000,
            ..EXT4
        };
        assert_eq!(more_free_than_there_is.bytes().used, 0);
        let huge = Figures {
            blocks: u64::MAX,
            blocks_free: 1,
            ..EXT4
        };
        assert_eq!(huge.bytes().used, u64::MAX);
    }

    #[test]
    fn a_real_file_system_has_room_and_names_the_path() {
        let disk = read(Path::new("/")).unwrap();
        assert_eq!(disk.path, Path::new("/"));
        assert!(disk.bytes.used + disk.bytes.available > 0);
    }

    #[test]
    fn a_path_that_is_not_there_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let error = format!("{:#}", read(&missing).unwrap_err());
        assert!(error.contains(missing.to_str().unwrap()), "{error}");
        assert!(error.contains("ENOENT"), "{error}");
    }
}
