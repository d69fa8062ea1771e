//! Reports the signs that a pull, load, save or build leaves in the engine's own folders, and
//! whether each is live or stale.
//!
//! It opens no sign, follows no link below one, and removes nothing.
//!
//! Something may be under way without a sign: between two layers, and while a pull resolves
//! names, there is no file. An engine that was started with `DOCKER_TMPDIR` keeps its downloads
//! elsewhere; its own folder for them is then missing, unless one is left from an earlier start
//! without it.

mod found;
mod open_files;
mod places;
mod read;
mod state;

pub use places::Roots;
pub(super) use places::is_this_engines;
pub use read::read;
