//! Carries out a cleared plan, a few images at a time. It never adds to the plan: it skips
//! images that changed, and stops early if it must or if the disk has enough. It never removes
//! by id, never with force, and stops at the first loss.

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
mod pace;
mod pruning;
mod put_back;
mod remove;
mod run;
mod set_back;
mod times;
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
