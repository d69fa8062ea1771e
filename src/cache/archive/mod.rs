//! An archive of images: an OCI image layout on disk, which others read and write, too.
//! Whoever may write its index decides which content a name means, so the folder and the
//! index are trusted as the policy is. Blobs need no trust: their digests are checked.

mod annotations;
mod blob;
mod descriptor;
mod digest;
mod docker_form;
mod document;
mod entry;
mod error;
mod fetching;
mod image;
mod incoming;
mod index;
mod offered;
mod open;
mod resolve;
mod save;
mod saved;
mod saving;
mod send;
mod trim;
mod unsaved;
mod writer;

pub use blob::Blob;
pub use descriptor::Descriptor;
pub use digest::{BadDigest, Digest};
pub use entry::{Entry, Ours};
pub use error::{ArchiveError, Damage, Foreign};
pub use fetching::{Fetch, Fetched};
pub use index::Index;
pub use offered::{NotOffered, Offer, Offered};
pub use open::Archive;
pub use resolve::Resolved;
pub use saved::{NotSaved, NotSavedKind, Saved, Written};
pub use saving::Save;
pub use send::{Sending, to_containerd, to_graphdriver};
pub use unsaved::Unsaved;

#[cfg(test)]
pub mod testing;
#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests play the others, whose files come and go"
)]
mod tests;
#[cfg(test)]
mod writer_tests;
