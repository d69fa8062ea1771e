//! What earlier surveys saw: when each image was first here, when it last had which tag, when
//! it was last in use. Engines keep no such dates. The ledger can only make an image younger:
//! an image that it does not know is new today, so losing the ledger costs delay and never an
//! image. It reads no file and no clock.

mod checksum;
mod evidence;
mod fingerprints;
mod forget;
mod former_image;
mod last_names;
mod observe;
mod sighting;
mod stored;
#[cfg(test)]
mod tests;
mod uses;

pub use fingerprints::{FingerprintIndex, Fingerprints};
pub use former_image::FormerImage;
pub use sighting::Sighting;
pub use stored::{FORMAT, Ledger, Unusable, file_of, is_file_of_one};
pub use uses::{Use, Uses};
