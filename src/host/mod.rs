//! The host itself: its disk, locks, clocks, and files. The only place that
//! names nix and `/proc`. It reports what it sees and writes our own state
//! safely; it never decides whether an image goes, and never changes anything
//! that belongs to somebody else.

pub mod clock;
pub mod containerd;
pub mod deploy_lock;
pub mod disk;
pub mod files;
mod process;
pub mod pull_signs;
pub mod signals;
pub mod storage;
pub mod systemd;
pub mod user;
pub mod variables;

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use chrono::{DateTime, Utc};

/// The date of a file's last change (mtime), which its owner may set to
/// anything; what chrono cannot hold is as good as the far future.
pub fn modified(meta: &Metadata) -> DateTime<Utc> {
    moment(meta.mtime(), meta.mtime_nsec())
}

/// A date that chrono cannot hold is as good as the far future: it proves no
/// age and no quiet.
fn moment(seconds: i64, nanoseconds: i64) -> DateTime<Utc> {
    u32::try_from(nanoseconds)
        .ok()
        .and_then(|nanoseconds| DateTime::from_timestamp(seconds, nanoseconds))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// A path for a message: whole, in quotes as a shell takes them, and with
/// control and bidi characters escaped, for names of files may hold anything.
#[expect(
    clippy::unnecessary_debug_formatting,
    reason = "Display would print a terminal's escape sequences raw"
)]
pub(crate) fn quoted(path: &Path) -> String {
    format!("{path:?}")
}

/// A folder that is trusted whatever the umask of whoever runs the tests.
#[cfg(test)]
pub(crate) fn folder_of_ours() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir()
        .unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_that_chrono_cannot_hold_is_in_the_future() {
        for (seconds, nanoseconds) in [(i64::MAX, 0), (i64::MIN, 0), (0, -1)] {
            assert_eq!(moment(seconds, nanoseconds), DateTime::<Utc>::MAX_UTC);
        }
        assert_eq!(moment(0, 0), DateTime::UNIX_EPOCH);
    }
}
