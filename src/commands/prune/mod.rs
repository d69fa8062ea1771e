//! `secateur prune`.

mod begin;
mod report;
mod run;

pub(crate) use run::prune;
