//! Whether the host's images are what the next deploy will want: present, whole, on
//! storage that lasts, with credentials that the registry takes, current, and reused.
//! Each check answers `ok`, `broken`, `moved` or `unknown`. Nothing is removed here, and
//! nothing changed but where `--redeploy` has the engine pull, or `--restore` bring back.
//!
//! | question | module |
//! |---|---|
//! | which images are promised | [`promise`] |
//! | what each answer means | [`checks`] |
//! | what the registries are asked, and for how long | [`questions`] |
//! | does a deploy fetch anything | [`redeploy`] |
//! | what is brought back | [`restore`] |
//! | how a registry is asked | [`registry`] |
//! | which credentials docker would send | [`credentials`] |
//! | ready, missing, stale or damaged, and since when | [`State`] |
//! | what all answers come to | [`findings`] |
//! | what an archive holds | [`archive`] |
//! | which checks are made, in which order | [`run`] |

pub mod archive;
mod check;
pub mod checks;
pub mod credentials;
pub mod findings;
mod folders;
pub mod promise;
pub mod questions;
pub mod redeploy;
pub mod registry;
pub mod restore;
pub mod run;
mod state;
pub mod step;

pub use check::{Check, Kind, Status};
pub use state::State;
