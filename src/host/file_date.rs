//! Dates of files. A date that chrono cannot hold counts as the far future, which proves
//! neither age nor quiet.

use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use chrono::{DateTime, Utc};
use nix::fcntl::AtFlags;
use nix::libc;
use nix::sys::stat::fstatat;

/// The date of a file's last change of content (mtime), which its owner may set to
/// anything.
pub(super) fn modified(meta: &Metadata) -> DateTime<Utc> {
    moment(meta.mtime(), meta.mtime_nsec())
}

/// The date of a file's last change of any kind (ctime), which nobody can set.
pub(super) fn changed(meta: &Metadata) -> DateTime<Utc> {
    moment(meta.ctime(), meta.ctime_nsec())
}

/// A folder of many files, whose dates are read without a walk down to each.
#[derive(Debug)]
pub struct DatedFiles(File);

impl DatedFiles {
    /// `None` where the folder cannot be opened.
    pub fn of(folder: &Path) -> Option<Self> {
        let mut open = OpenOptions::new();
        open.read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY);
        open.open(folder).ok().map(Self)
    }

    /// As [`modified`]; `None` where there is no such file, or it cannot be read.
    pub fn modified(&self, name: &str) -> Option<DateTime<Utc>> {
        let meta = fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        Some(moment(meta.st_mtime, meta.st_mtime_nsec))
    }
}

fn moment(seconds: i64, nanoseconds: i64) -> DateTime<Utc> {
    u32::try_from(nanoseconds)
        .ok()
        .and_then(|nanoseconds| DateTime::from_timestamp(seconds, nanoseconds))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_has_the_same_date_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
        let dated = DatedFiles::of(folder.path()).unwrap();
        for name in ["file", "link"] {
            let meta = fs::symlink_metadata(folder.path().join(name)).unwrap();
            assert_eq!(dated.modified(name), Some(modified(&meta)), "{name}");
        }
        assert_eq!(dated.modified("missing"), None);
        assert!(DatedFiles::of(&path.join("missing")).is_none());
    }

    #[test]
    fn a_date_that_chrono_cannot_hold_is_in_the_future() {
        for (seconds, nanoseconds) in [(i64::MAX, 0), (i64::MIN, 0), (0, -1)] {
            assert_eq!(moment(seconds, nanoseconds), DateTime::<Utc>::MAX_UTC);
        }
        assert_eq!(moment(0, 0), DateTime::UNIX_EPOCH);
        assert_eq!(moment(1, 5).timestamp_subsec_nanos(), 5);
    }
}
