use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use nix::libc;

/// The type of a file in words.
pub(in crate::host) fn type_name(meta: &Metadata) -> &'static str {
    type_name_of(meta.mode())
}

/// As [`type_name`], from a mode (`st_mode`).
pub(super) fn type_name_of(mode: u32) -> &'static str {
    match mode & libc::S_IFMT {
        libc::S_IFREG => "a plain file",
        libc::S_IFDIR => "a folder",
        libc::S_IFLNK => "a symbolic link",
        libc::S_IFIFO => "a FIFO",
        libc::S_IFSOCK => "a socket",
        _ => "a device",
    }
}
