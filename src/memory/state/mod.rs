//! The state folder's content. A file that cannot be used is set aside and ages start anew; one
//! of a newer format is left as it is. It never decides about images.

mod folder;
mod ledgers;
mod policy_file;

pub use folder::{Memory, Remembered, State, history, read};
pub use policy_file::{LastPolicy, last_policy};
