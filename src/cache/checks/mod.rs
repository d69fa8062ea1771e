//! The checks of verify-cache: each turns facts into an answer. Only [`whole`] asks for
//! its facts itself.

pub mod authenticated;
pub mod current;
pub mod gone;
pub mod lasting;
pub mod present;
pub mod reused;
pub mod room;
pub mod whole;
