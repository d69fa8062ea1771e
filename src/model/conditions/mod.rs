//! What else is going on around the images, as plain values: how full the disk
//! is, who holds a deploy lock, which signs of a pull are there, what the
//! clocks say. The edges (`host`, `engine`) fill these in, and `guard` decides
//! by them.

mod clock;
pub(in crate::model) mod disk;
mod left_behind;
mod locks;
mod signs;
mod standing;

pub use clock::ClockReading;
pub use disk::{Disk, Room};
pub use left_behind::LeftBehind;
pub use locks::{LockKind, LockSight, LockState};
pub use signs::{Cure, PullSign, PullSigns, SignState, Unreadable};
pub use standing::Standing;
