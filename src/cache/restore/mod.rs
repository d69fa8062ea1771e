//! Restores promised images that are not here, within the limits of `[restore]`. It removes
//! nothing, and moves no tag that leads elsewhere.
//!
//! | question | module |
//! |---|---|
//! | what to do about each promise, in which order | `order`, pure |
//! | from where | `source`, `from_archive`, `from_registry` |
//! | whether anything may be restored now | `guards` |
//! | limits of time, disk and bytes | `limits` |
//! | the run, image by image | `run` |
//! | how to repair a damaged image | `repair`, `repairs`, `damaged` |

mod brought;
mod damaged;
pub mod from_archive;
pub mod from_registry;
mod guards;
mod layers_here;
pub mod left_out;
mod limits;
mod order;
pub mod repair;
mod repairs;
pub mod restored;
mod room;
mod run;
mod set_tag;
mod source;
#[cfg(test)]
mod tests;

pub use order::{Known, Target, Task, Work, tasks};
pub use repairs::Repairs;
pub use run::{Restore, RestoreOutcome};
pub use source::Source;
