//! Asks registries about the promised images: whether they accept the deploying user's
//! credentials and, on request, which digests they have.

mod answers;
mod offer;
mod opened;
mod question;
mod registries;
mod time_budget;

pub use answers::Answers;
pub use offer::Offer;
pub use opened::OpenRegistry;
pub use question::not_asked;
pub use registries::Registries;
