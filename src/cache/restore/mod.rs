//! Brings back what is promised and not here, within what `[restore]` lets it cost the host.
//! It removes nothing, and moves no tag that leads elsewhere.
//!
//! | question | module |
//! |---|---|
//! | what becomes of each promise, and in which order | `order`, pure |
//! | from where | `source`, `from_archive`, `from_registry` |
//! | whether anything may be brought now | `guards` |
//! | what a run may take of the disk, of time, and of what it brings | `limits` |
//! | what is done, image by image | `run` |

mod brought;
pub mod from_archive;
pub mod from_registry;
mod guards;
mod layers_here;
pub mod left_out;
mod limits;
mod order;
pub mod restored;
mod room;
mod run;
mod set_tag;
mod source;
#[cfg(test)]
mod tests;

pub use order::{Known, Target, Task, Work, tasks};
pub use run::{Came, Restore};
pub use source::Source;
