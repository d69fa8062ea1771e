//! What needs no live engine: the program against an engine that answers wrongly, what it
//! trusts, what its documents say, and how it is made. The few tests that need root or a tool
//! of the lab are ignored without.

// The bans on clocks and on removing files are for the program, not for its tests.
#![allow(clippy::disallowed_methods)]

#[path = "../support/mod.rs"]
mod support;

mod docs;
mod fake_engine;
mod made;
mod manual;
mod map;
mod picture;
mod trust;

use support::{fake, lab};
