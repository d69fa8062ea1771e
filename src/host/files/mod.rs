//! Reads and writes our own state, and reads files that must be trusted (the policy). A crash
//! leaves the old file or the new one, never a part. A trusted file is one that nobody but root
//! and we could have written (`trust`). Files of others are never changed.

mod append;
mod aside;
pub(super) mod draft;
pub(super) mod error;
pub(super) mod folder;
pub(super) mod kind;
pub(super) mod matching;
mod of_owner;
pub(super) mod plain;
pub(super) mod state_dir;
pub(super) mod trust;
mod trusted;
pub(super) mod write;

pub use append::Appender;
pub use aside::{keep_as, quarantine};
pub use draft::{Draft, flush, make_folder, remove, unwritten};
pub use error::FileError;
pub use matching::matching;
pub use of_owner::{OfOther, read_of_owner};
pub use plain::{open_untrusted, read_named, read_untrusted};
pub use state_dir::StateDir;
pub use trust::{Wanted, check};
pub use trusted::{read_trusted, read_trusted_end, read_trusted_through_links};
pub use write::{is_temporary, write_atomic, write_atomic_by, write_for_all};

#[cfg(test)]
mod tests;
