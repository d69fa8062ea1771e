//! The decision: which images stay, and why; which may go; which this run removes. Pure and
//! total: policy, inventory, ledger in, plan out. It reads no clock, asks nobody and cannot
//! fail. A keep rule can only keep more, and an unknown fact keeps the image.

mod alternatives;
mod choose;
mod facts;
pub mod plan;
mod retention;
mod rollbacks;
mod rules;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::memory::ledger::Ledger;
use crate::model::{Image, Inventory};
use crate::policy::Policy;
use facts::{Facts, Subject};
use plan::{Class, Entry, HeldBack, KeepReason, Plan, Verdict};

pub use alternatives::{Alternative, Setting, alternatives};
pub use choose::pressure;
pub use facts::Trust;

/// Decides for every image of the inventory. `ledger` is the one *after* this survey
/// ([`Ledger::observe`]).
pub fn decide(policy: &Policy, inventory: &Inventory, ledger: &Ledger, trust: Trust) -> Plan {
    let facts = Facts::new(policy, inventory, ledger, trust);
    let entries = inventory
        .images
        .values()
        .map(|image| entry(&facts, image))
        .collect();
    choose::choose(policy, inventory, entries)
}

/// Why an image stays, by every rule.
fn reasons(facts: &Facts<'_>, subject: &Subject<'_>) -> impl Iterator<Item = KeepReason> {
    rules::RULES.iter().flat_map(|rule| rule(facts, subject))
}

fn entry<'a>(facts: &Facts<'a>, image: &'a Image) -> Entry {
    let subject = facts.subject(image);
    let (class, seen) = (subject.class, subject.seen);
    let is_used = facts.users.contains_key(&image.id);
    let reasons: Vec<_> = reasons(facts, &subject).collect();
    let verdict = if reasons.is_empty() {
        Verdict::Candidate(HeldBack::DiskHasRoom)
    } else {
        Verdict::Keep
    };
    Entry {
        reclaimable: image.reclaimable_at_least(facts.inventory.engine.store),
        image: Arc::new(image.clone()),
        class,
        unneeded: subject
            .unneeded
            .filter(|_| class != Class::Tagged && !is_used),
        reasons,
        verdict,
        had_tags: subject.had_tags(),
        is_used,
        last_used: seen.and_then(|seen| seen.last_used),
        first_seen: seen.map(|seen| seen.first_seen),
    }
}
