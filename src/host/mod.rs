//! The host: its disk, locks, clocks and files. The only room that names nix and `/proc`. It
//! reports what it finds, writes our own state safely, and never changes what belongs to
//! somebody else. It never decides whether an image goes.

pub mod clock;
pub mod containerd;
pub mod deploy_lock;
pub mod disk;
mod file_date;
mod file_id;
pub mod files;
pub mod journald;
pub mod left_behind;
mod lock_file;
mod lock_holder;
pub mod pressure;
mod process;
pub mod process_group;
pub mod pull_signs;
pub mod run_lock;
pub mod signals;
pub mod storage;
pub mod user;
pub mod variables;

pub use file_date::DatedFiles;
