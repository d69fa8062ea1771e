//! What earlier surveys saw: when each image was first here, when it last had which tag,
//! when it was last in use. Engines keep no such dates, so secateur remembers them. The
//! ledger can only make an image younger: an image that it does not know is new today,
//! so losing the ledger costs delay and never an image. It reads no file and no clock.

mod evidence;
mod faded;
mod names;
mod observe;
mod sighting;
mod stored;
mod sum;
#[cfg(test)]
mod tests;
mod then;
mod uses;
mod was;

pub use faded::{Faded, Printed};
pub use sighting::Sighting;
pub use stored::{FORMAT, Ledger, Unusable, file_of, is_file_of_one};
pub use uses::{Use, Uses};
pub use was::Was;
