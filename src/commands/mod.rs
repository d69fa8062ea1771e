//! What each subcommand does, in which order. Other rooms decide.

mod baseline;
mod cache_known;
mod dispatch;
mod explained;
mod in_time;
mod output;
mod own_run;
mod plan;
mod progress;
mod prune;
mod restore;
mod reviewed;
mod save;
mod speed;
mod start;
mod state_folder;
mod unmatched;
mod verify_cache;

pub use dispatch::main;
