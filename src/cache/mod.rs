//! Checks whether the host's images are what the next deploy needs: present, whole, on storage
//! that survives a restart, with credentials that the registry accepts, current, and reused. Each
//! check answers `ok`, `broken`, `moved` or `unknown`. Nothing is removed, and nothing changes
//! unless `--redeploy` lets the engine pull or `--restore` brings images back.
//!
//! | question | module |
//! |---|---|
//! | which images are promised | [`promise`] |
//! | what each check answers | [`checks`] |
//! | what the registries are asked, and for how long | [`questions`] |
//! | does a deploy fetch anything | [`redeploy`] |
//! | what is brought back | [`restore`] |
//! | how a registry is asked | [`registry`] |
//! | which credentials docker would send | [`credentials`] |
//! | ready, missing, stale or damaged, and since when | [`State`] |
//! | the result of all checks | [`findings`] |
//! | what an archive contains | [`archive`] |
//! | which checks run, in which order | [`run`] |

pub mod archive;
mod check;
pub mod checks;
pub mod credentials;
pub mod findings;
mod folders;
pub mod promise;
mod pull;
pub mod questions;
pub mod redeploy;
pub mod registry;
pub mod restore;
pub mod run;
mod state;
pub mod step;

pub use check::{Check, Kind, Status};
pub use state::State;
