//! The checks of verify-cache. Each turns facts into an answer; only [`whole`] reads its facts
//! from the engine itself.

pub mod authenticated;
pub mod current;
pub mod gone;
pub mod lasting;
pub mod present;
pub mod reused;
pub mod room;
pub mod whole;
