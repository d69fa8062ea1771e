//! What the registries are asked about the promised images: whether they let the deploying
//! user in and, where that is wanted, which digests they have.

mod answers;
mod offer;
mod opened;
mod patience;
mod question;
mod registries;

pub use answers::Answers;
pub use offer::Offer;
pub use opened::Opened;
pub use question::not_asked;
pub use registries::Registries;
