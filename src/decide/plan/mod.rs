//! The plan: for every image of a host its class, every reason that keeps it, and whether this
//! run removes it. Fields are private, so that a plan is only ever what `decide` made, or less.

mod class;
mod pressure;
mod reason;
mod verdict;
mod whole;

pub use class::{Class, Evidence, Unneeded};
pub use pressure::{Pressure, Target};
pub(super) use reason::key_of;
pub use reason::{KeepKind, KeepReason};
pub use verdict::{HeldBack, Verdict};
pub use whole::{Entry, Plan};
