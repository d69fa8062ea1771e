//! The common part of every report: the policy, refusals, notes, and rules that match nothing.

use std::path::PathBuf;

use crate::guard::Refusal;
use crate::model::conditions::LeftBehind;
use crate::model::text::{escape_path, escape_up_to};
use crate::policy::Unmatched;

/// As wide as a terminal usually is. A report is no wider: longer lines are hard to read.
pub const COLUMNS: usize = 80;

/// Where the policy came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySource {
    /// `None`: the built-in default.
    pub file: Option<PathBuf>,
    /// [`crate::policy::Policy::fingerprint`].
    pub fingerprint: String,
}

impl PolicySource {
    /// Fit to print.
    pub fn shown(&self) -> String {
        match &self.file {
            Some(path) => escape_path(path),
            None => "built-in default (no /etc/secateur/policy.toml)".to_owned(),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Context {
    pub policy: PolicySource,
    /// Why a prune would be refused now.
    pub refusals: Vec<Refusal>,
    /// Stale signs of pulls, policy warnings, a ledger set aside. Fit to print.
    pub notes: Vec<String>,
    /// Rules of the policy that match nothing on this host.
    pub unmatched: Vec<Unmatched>,
    /// Images of stores that the engine used before.
    pub left_behind: Vec<LeftBehind>,
    /// The width of the screen for the text report.
    pub columns: usize,
}

impl Context {
    /// For a run before its survey.
    pub fn new(policy: PolicySource, notes: Vec<String>) -> Self {
        Self {
            policy,
            refusals: Vec::new(),
            notes,
            unmatched: Vec::new(),
            left_behind: Vec::new(),
            columns: COLUMNS,
        }
    }

    /// The rules that match nothing, as one short note: one policy may serve many hosts.
    pub(crate) fn unmatched_note(&self) -> Option<String> {
        const SHOWN: usize = 5;
        const WIDTH: usize = 100;
        let rules = self.unmatched.iter().take(SHOWN);
        let rules = rules.map(|it| format!("{} {}", it.key, escape_up_to(&it.rule, WIDTH)));
        let (rules, count) = (rules.collect::<Vec<_>>().join(", "), self.unmatched.len());
        let more = match count.saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more (--format json has all)"),
        };
        let (s, es) = if count == 1 { ("", "es") } else { ("s", "") };
        (count > 0)
            .then(|| format!("{count} rule{s} of the policy match{es} nothing here: {rules}{more}"))
    }
}
