//! Names of images, and what people type for them.

mod name;
mod syntax;
mod typed;

pub use name::{BadReference, Reference};
pub use syntax::is_hex;
pub(crate) use syntax::looks_like_host;
pub(crate) use typed::{meant, read_as_id};
