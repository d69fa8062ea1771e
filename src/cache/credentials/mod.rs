//! The logins of docker's own configuration, found the way docker finds them:
//! $DOCKER_AUTH_CONFIG, the config.json of the deploying user, the credential
//! helper that it names.

mod config;
pub(crate) mod fields;
mod find;
mod helper;
mod lookup;
mod search;

pub use config::{Configured, key, look_up};
pub use find::Finder;
pub use lookup::Lookup;
