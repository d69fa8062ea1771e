//! Whole machines: the Debian package and its units in a booted Debian, the files of a release,
//! and the lab itself.

// The bans on clocks and on removing files are for the program, not for its tests.
#![allow(clippy::disallowed_methods)]

#[path = "../support/mod.rs"]
mod support;

mod lab_self;
mod package;
mod release;

use support::lab;
