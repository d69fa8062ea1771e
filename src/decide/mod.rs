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
use facts::Facts;
use plan::{Class, Entry, HeldBack, Plan, Verdict};

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

fn entry(facts: &Facts<'_>, image: &Image) -> Entry {
    let class = facts.class(image);
    let is_used = facts.users.contains_key(&image.id);
    let seen = facts.sighting(image);
    let unneeded = facts
        .evidence(image, class)
        .into_iter()
        .max_by_key(|unneeded| unneeded.since);
    let reasons: Vec<_> = rules::RULES
        .iter()
        .flat_map(|rule| rule(facts, image, class, unneeded))
        .collect();
    let verdict = if reasons.is_empty() {
        Verdict::Candidate(HeldBack::DiskHasRoom)
    } else {
        Verdict::Keep
    };
    Entry {
        reclaimable: image.reclaimable_at_least(facts.inventory.engine.store),
        image: Arc::new(image.clone()),
        class,
        unneeded: unneeded.filter(|_| class != Class::Tagged && !is_used),
        reasons,
        verdict,
        had_tags: facts.had_tags(image),
        is_used,
        last_used: seen.and_then(|seen| seen.last_used),
        first_seen: seen.map(|seen| seen.first_seen),
    }
}
