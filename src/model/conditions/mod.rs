//! The conditions around the images, as plain values: how full the disk is, who holds a deploy
//! lock, which signs of a pull there are, what the clocks say. `host` and `engine` fill these
//! in, and `guard` decides by them.

mod causes_since;
mod clock;
pub(in crate::model) mod disk;
mod left_behind;
mod locks;
mod signs;

pub use causes_since::CausesSince;
pub use clock::ClockReading;
pub use disk::{Disk, Usage};
pub use left_behind::LeftBehind;
pub use locks::{LockKind, LockReading, LockState};
pub use signs::{Cure, PullSign, PullSigns, SignState, Unreadable};
