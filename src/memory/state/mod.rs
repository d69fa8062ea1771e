//! Our own memory on disk. What cannot be used is set aside and ages start anew; a
//! newer format is left as it is. It never decides about images.

mod fault;
mod folder;
mod ledgers;
mod policy_file;

pub(crate) use fault::state_fault;
pub use folder::{Known, Memory, State, history, read};
pub use policy_file::{LastPolicy, last_policy};
