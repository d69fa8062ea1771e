//! secateur frees disk on a Docker host without taking what the host will want
//! again.
//!
//! ```text
//! Policy ────┐
//! Ledger ────┼─ decide ─> Plan ─ guard ─> Cleared ─ prune ─> Outcome
//! Inventory ─┘  (pure)          (refuses)             │
//!                                                     └─ each image: intent, ask again, drop its names, confirm
//! ```
//!
//! Each room uses only rooms below its own line:
//!
//! | room | what it decides |
//! |---|---|
//! | [`commands`] | what each subcommand does, in which order; whether a reviewed plan still counts |
//! | [`cli`] | what the command line may say |
//! | [`report`] | how results are laid out: text, JSON, journald, metrics; the words of a reason stand beside it |
//! | [`cache`], [`prune`] | whether promised images are here and whole, and how they come back or into an archive; what is still removed, a few images at a time |
//! | [`survey`] | nothing: in which order a host is read, so that the answers fit each other |
//! | [`engine`] | what an engine's answers mean; the only room that names bollard |
//! | [`guard`] | whether anything may be removed, or pulled, now |
//! | [`decide`] | what becomes of each image; pure |
//! | [`memory`] | what was seen before: ledger, journal, clocks |
//! | [`policy`] | what a policy file means |
//! | [`host`] | what files, locks and processes say; the only room that names nix and reads /proc |
//! | [`model`], [`exit`] | nothing: values, and the exit codes |

pub mod cache;
pub mod cli;
pub mod commands;
pub mod decide;
pub mod engine;
pub mod exit;
pub mod guard;
pub mod host;
pub mod memory;
pub mod model;
pub mod policy;
pub mod prune;
pub mod report;
pub mod survey;

#[cfg(test)]
mod testing;
