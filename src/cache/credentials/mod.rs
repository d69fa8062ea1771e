//! Finds a registry's credentials as docker does: in $DOCKER_AUTH_CONFIG, in the config.json of
//! the deploying user, and through the credential helper that it names.

mod config;
pub(crate) mod fields;
mod find;
mod helper;
mod lookup;
mod search;

pub use config::{Configured, key, look_up};
pub use find::Finder;
pub use lookup::Lookup;
