//! `secateur prune`.

mod report;
mod run;

pub(crate) use run::prune;
