//! Reports who holds a deploy lock, and holds those locks while images go.
//!
//! It never makes, removes or writes a lock file, never waits for a lock, and never
//! reads "cannot tell" as "free".
//!
//! `flock(2)` and `fcntl(2)` locks do not see each other, so both are tried. A
//! free lock is held for some microseconds; a deploy that asks for it
//! without waiting (`flock -n`) in just that time is turned away.

mod explain;
mod flock;
mod held;
mod hidden;
mod pattern;
mod read;

pub use flock::holder;
pub use held::{HeldLocks, hold};
pub use read::read;
