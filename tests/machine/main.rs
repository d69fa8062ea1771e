//! Whole machines: the Debian package and its units in a booted Debian, and the lab itself.

// The bans on clocks and on removing files are for the program, not for its tests.
#![allow(clippy::disallowed_methods)]

#[path = "../support/mod.rs"]
mod support;

mod lab_self;
mod package;

use support::lab;
