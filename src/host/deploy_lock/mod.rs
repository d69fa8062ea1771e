//! Reports who holds a deploy lock, and holds those locks while images are removed.
//!
//! It never makes, removes or writes a lock file, never waits for a lock, and never reads an
//! unknown state as free.
//!
//! `flock(2)` and `fcntl(2)` locks do not see each other, so both are tried. A free lock is
//! held for some microseconds; a deploy that asks for it without waiting (`flock -n`) in just
//! that time fails.

mod explain;
mod flock;
mod held;
mod hidden;
mod pattern;
mod read;

pub use flock::holder;
pub use held::{HeldLocks, hold};
pub use read::read;
