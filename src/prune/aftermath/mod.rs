//! Finds losses afterwards: while an engine deletes an image, it still lets somebody tag it or
//! make a container of it, and answers both with success. A run can only report these losses.
//! Only a lock that deploys share prevents them.

mod claims;
mod containers;
mod journal;
mod names;

pub use claims::Claims;
pub use containers::{orphans, without_image};
pub use journal::{cut_off, records, removed, was_kept};
pub use names::{late_names, may_be_late};
