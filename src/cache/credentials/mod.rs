//! The logins of docker's own configuration, and its credential helpers.

pub mod config;
pub mod fields;
pub mod helper;
mod session;
