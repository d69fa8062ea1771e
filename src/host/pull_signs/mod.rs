//! Reports the signs that a pull, load, save or build makes in the engine's own folders
//! while it is under way, and whether each is live or left behind.
//!
//! It opens no sign, follows no link below one, and removes nothing.
//!
//! Without a sign something may still be under way: between two layers, and while a pull
//! resolves names, there is no file. An engine that was started with `DOCKER_TMPDIR` keeps
//! its downloads elsewhere; its own folder for them is then missing, unless one is left
//! from a start without.

mod found;
mod open_files;
mod places;
mod read;
mod state;

pub use places::Roots;
pub(super) use places::is_this_engines;
pub use read::read;
