//! Carries out a cleared plan, one image after the other. It never decides anew: it
//! skips images that changed, stops, or finds that the disk has enough. It never removes
//! by id, never forces, and stops at the first loss.

pub mod aftermath;
mod ask;
mod changed;
mod confirm;
pub mod cut_off;
mod dropped;
mod fate;
mod give;
mod intent;
mod leftover_names;
pub mod live;
pub mod lost;
pub mod outcome;
mod pruning;
mod put_back;
mod remove;
mod run;
mod set_back;
mod traits;
mod turn;
mod untie;
mod untied;
mod wait;
mod went_along;

#[cfg(test)]
mod tests;

pub use run::prune;
pub use traits::{Engine, Host};
