//! Reports the signs that a pull, load, save or build leaves in the engine's
//! own folders while it is under way, and whether each is live or left behind.
//!
//! It opens no file of the engine, follows no link below a sign,
//! and removes nothing that was left behind. And no sign does not mean that
//! nothing is under way: between two layers, and while a pull resolves names,
//! there is no file; and an engine that is started with `DOCKER_TMPDIR` keeps
//! its downloads elsewhere. That its own folder for them is missing shows it, but
//! not where one is left from a start without.

mod found;
mod open_files;
mod places;
mod read;
mod state;

pub use places::Roots;
pub use read::read;
