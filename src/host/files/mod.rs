//! Reads and writes our own state, and reads what commands trust (the policy).
//! What is written is whole or not there: a crash leaves the old file or the
//! new one. What is read is believed only if nobody but root and ourselves
//! could have written it (`trust`).
//!
//! It never knows what the files mean, and never touches files of others.

mod append;
mod aside;
pub(super) mod error;
pub(super) mod folder;
pub(super) mod kind;
mod of_owner;
pub(super) mod plain;
pub(super) mod state_dir;
pub(super) mod trust;
mod trusted;
pub(super) mod write;

pub use append::Appender;
pub use aside::{keep_as, quarantine};
pub use error::FileError;
pub use of_owner::{OfOther, read_of_owner};
pub use plain::{read_named, read_untrusted};
pub use state_dir::StateDir;
pub use trust::{Wanted, check};
pub use trusted::{read_trusted, read_trusted_end, read_trusted_through_links};
pub use write::{write_atomic, write_for_all};

#[cfg(test)]
mod tests;
