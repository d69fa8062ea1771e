//! The checks of verify-cache, one file each.

pub mod ask;
pub mod authenticated;
pub mod current;
pub mod gone;
pub mod lasting;
pub mod patience;
pub mod present;
pub mod redeploy;
pub mod reused;
pub mod whole;
