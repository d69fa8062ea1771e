//! Reads ustar, GNU and PAX tar files as a stream. It keeps only the current header; the bytes go
//! to a [`Sink`].
//!
//! Why not the `tar` crate: it reads from a blocking source, so the engine's stream would need a
//! thread and a channel; and it reads an extension header of any length into memory, so a stream
//! could exhaust it.

mod entry;
mod extensions;
mod reader;

pub use entry::{Entry, Sink};
pub use reader::Reader;

#[cfg(test)]
pub mod tests;
