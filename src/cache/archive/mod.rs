//! An archive of images: an OCI image layout on disk, which other tools may also read and write.
//! Whoever may write its index decides which content a name means, so folder and index must be as
//! trusted as the policy. Blobs need no trust: their digests are checked.

mod annotations;
mod blob;
mod damage;
mod descriptor;
mod digest;
mod docker_form;
mod document;
mod entry;
mod error;
mod fetching;
mod hashing;
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
pub use fetching::Fetch;
pub use index::Index;
pub use offered::{Fetcher, NotOffered, Offered};
pub use open::Archive;
pub use resolve::Resolved;
pub use saved::{AllSaved, NotSaved, NotSavedKind, Saved, Written};
pub use saving::Save;
pub use send::{Sending, to_containerd, to_graphdriver};
pub use unsaved::Unsaved;

#[cfg(test)]
pub mod testing;
#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests act as other tools, which also change files"
)]
mod tests;
#[cfg(test)]
mod writer_tests;
