//! The program on live engines and registries of the lab: one module for each thing that is
//! tried. Nearly every test needs root and the lab, and is ignored without; `tests/run` gives
//! each a process and a network namespace of its own, others `tests/support/lab/alone`.

// The bans on clocks and on removing files are for the program, not for its tests.
#![allow(clippy::disallowed_methods)]

#[path = "../support/mod.rs"]
mod support;

mod archive;
mod buildkit;
mod ci_teardown;
mod crash;
mod deploy_lock;
mod digest_names;
mod disk;
mod engine_faults;
mod engine_model;
mod fake_recorded;
mod fleet;
mod images;
mod in_use;
mod left_behind;
mod loads;
mod other_engines;
mod promises;
mod race_loops;
mod races;
mod recording;
mod refusals;
mod restore_archive;
mod reviewed;
mod seen;
mod state;
mod swarm;
mod verify_cache;
mod verify_cache_polite;

use support::{fake, lab};
