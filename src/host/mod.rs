//! The host itself: its disk, locks, clocks, and files. The only place that
//! names nix and `/proc`. It reports what it sees and writes our own state
//! safely; it never decides whether an image goes, and never changes anything
//! that belongs to somebody else.

pub mod clock;
pub mod disk;
pub mod files;
pub mod lock;
mod process;
pub mod signs;
pub mod storage;

use std::path::Path;

/// A path for a message: whole, in quotes as a shell takes them, and with
/// control and bidi characters escaped, for names of files may hold anything.
#[expect(
    clippy::unnecessary_debug_formatting,
    reason = "Display would print a terminal's escape sequences raw"
)]
fn quoted(path: &Path) -> String {
    format!("{path:?}")
}

/// A folder that is trusted whatever the umask of whoever runs the tests.
#[cfg(test)]
fn folder_of_ours() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir()
        .unwrap()
}
