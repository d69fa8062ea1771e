//! secateur frees disk on a Docker host without taking what the host will want
//! again.
//!
//! ```text
//! Policy ─┐
//! Ledger ─┼─ decide ─> Plan ─ guards ─> Cleared ─ prune ─> Outcome
//! Inventory ┘ (pure)          (refuse)            │
//!                                                 └─ each image: look again, drop its name, journal
//! ```
//!
//! A module uses only those above its own line:
//!
//! | what | modules |
//! |---|---|
//! | values | [`text`], [`secret`], [`reference`], [`labels`], [`model`], [`lost`], [`activity`], [`exit`] |
//! | pure steps | [`users`], [`clock`], [`policy`], [`ledger`], [`plan`] |
//! | the decision | [`decide`], [`guards`], [`journal`], [`outcome`] |
//! | the edges | [`engine`] (the only one to name bollard), [`host`] (nix, /proc) |
//! | proof | [`verify_cache`] |
//! | carrying out | [`progress`], [`state`], [`prune`], [`aftermath`], [`watch`], [`report`], [`metrics`], [`reviewed`] |
//! | wiring | [`cli`], [`run`] |

pub mod activity;
pub mod aftermath;
pub mod cli;
pub mod clock;
pub mod decide;
pub mod engine;
pub mod exit;
pub mod guards;
pub mod host;
pub mod journal;
pub mod labels;
pub mod ledger;
pub mod lost;
pub mod metrics;
pub mod model;
pub mod outcome;
pub mod plan;
pub mod policy;
pub mod progress;
pub mod prune;
pub mod reference;
pub mod report;
pub mod reviewed;
pub mod run;
pub mod secret;
pub mod state;
pub mod survey;
pub mod text;
pub mod users;
pub mod verify_cache;
pub mod watch;

#[cfg(test)]
mod manual;
#[cfg(test)]
mod testing;
