//! The checks made from registries' answers.

use std::collections::BTreeMap;

use crate::cache::check::{Check, Kind, Status};
use crate::cache::promise::{Promise, Wanted};

#[derive(Default)]
pub struct Answers {
    checks: BTreeMap<Wanted, Vec<Check>>,
}

impl Answers {
    pub fn add(&mut self, promise: &Promise, check: Check) {
        let checks = self.checks.entry(promise.wanted.clone());
        checks.or_default().push(check);
    }

    pub fn of(&self, promise: &Promise) -> impl Iterator<Item = Check> + '_ {
        let checks = self.checks.get(&promise.wanted);
        checks.into_iter().flatten().cloned()
    }

    pub fn status(&self, promise: &Promise, kind: Kind) -> Option<Status> {
        let mut checks = self.checks.get(&promise.wanted)?.iter();
        let check = checks.find(|check| check.kind == kind)?;
        Some(check.status)
    }
}
