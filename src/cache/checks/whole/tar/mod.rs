//! A tar file in ustar, GNU and PAX form, read as it comes: nothing is kept but the header
//! in hand, and the bytes go to a [`Sink`].
//!
//! The `tar` crate was weighed: it reads from a blocking source, so that a thread and a
//! channel would stand between it and the engine's stream, and it reads an extension
//! header of any length into memory, which an engine's stream must not be able to fill.

mod entry;
mod extensions;
mod reader;

pub use entry::{Entry, Sink};
pub use reader::Reader;

#[cfg(test)]
pub mod tests;
