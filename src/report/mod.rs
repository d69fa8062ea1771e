//! Says what was decided and done: text for people, JSON for programs, entries
//! for systemd's journal. It decides only the wording; every figure comes from a
//! plan or an outcome.

pub mod cache_entries;
pub mod cache_json;
pub mod cache_text;
pub mod entries;
pub mod explain;
pub mod json;
mod lists;
pub mod text;
mod wrap;

#[cfg(test)]
pub(crate) mod tests;

use std::path::PathBuf;

use crate::guards::Refusal;

/// Where the policy came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySource {
    /// Its file; `None`: the built-in default.
    pub file: Option<PathBuf>,
    /// [`crate::policy::Policy::fingerprint`].
    pub fingerprint: String,
}

impl PolicySource {
    /// Fit to print.
    pub fn shown(&self) -> String {
        match &self.file {
            Some(path) => crate::text::escape(&path.to_string_lossy()),
            None => "built-in default (no /etc/secateur/policy.toml)".to_owned(),
        }
    }
}

/// What goes with a plan or an outcome into every report.
#[derive(Debug, Clone)]
pub struct Context {
    /// The policy.
    pub policy: PolicySource,
    /// What speaks against removing anything now.
    pub refusals: Vec<Refusal>,
    /// Stale signs of pulls, policy warnings, a ledger set aside: in words fit
    /// to print.
    pub notes: Vec<String>,
}

impl Context {
    /// Before anything was looked at.
    pub fn new(policy: PolicySource, notes: Vec<String>) -> Context {
        Context {
            policy,
            refusals: Vec::new(),
            notes,
        }
    }
}
