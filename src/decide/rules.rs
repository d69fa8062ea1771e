//! The keep rules: one function each, and their table. A rule can only keep an image, never
//! remove it; an image may go only when no rule keeps it.

use chrono::{DateTime, TimeDelta, Utc};

use crate::decide::facts::{Facts, Subject, Trust};
use crate::decide::plan::{Class, KeepReason, key_of};
use crate::decide::retention::has;
use crate::memory::ledger::Sighting;
use crate::model::names::User;
use crate::model::{Image, Observed, Store, Swarm};
use crate::policy::{DigestPinned, Effective};

pub(super) type Rule = fn(&Facts<'_>, &Subject<'_>) -> Vec<KeepReason>;

/// In the order in which reasons are reported.
pub(super) const RULES: [Rule; 9] = [
    incomplete,
    tagged,
    in_use,
    parent,
    keep_image,
    keep_label,
    previous,
    digest_pinned,
    age,
];

fn incomplete(facts: &Facts<'_>, subject: &Subject<'_>) -> Vec<KeepReason> {
    let engine = facts
        .inventory
        .engine
        .no_removals()
        .filter(|_| subject.image.is_dangling())
        .map(str::to_owned);
    let swarm = match &facts.inventory.at_work.swarm {
        Swarm::Unreadable(why) => Some(format!("what Swarm wants here cannot be read: {why}")),
        Swarm::Inactive | Swarm::Worker | Swarm::Manager { .. } => None,
    };
    let odd = subject.image.incomplete.as_ref().map(ToString::to_string);
    [odd, engine, swarm]
        .into_iter()
        .flatten()
        .map(KeepReason::Incomplete)
        .collect()
}

fn tagged(_: &Facts<'_>, subject: &Subject<'_>) -> Vec<KeepReason> {
    let tags = &subject.image.tags;
    let tagged = (!tags.is_empty()).then(|| KeepReason::Tagged(tags.clone()));
    tagged.into_iter().collect()
}

fn in_use(facts: &Facts<'_>, subject: &Subject<'_>) -> Vec<KeepReason> {
    let reason = |user: &User<'_>| match user {
        User::Container(c) => KeepReason::InUse {
            container: c.name.escaped(),
            state: c.state.escaped(),
        },
        User::Mount(c) => KeepReason::ImageMount {
            container: c.name.escaped(),
        },
        User::Service(s) => KeepReason::Service {
            service: s.service.escaped(),
            spec: s.spec,
        },
    };
    facts
        .users
        .get(&subject.image.id)
        .into_iter()
        .flatten()
        .map(reason)
        .collect()
}

fn parent(facts: &Facts<'_>, subject: &Subject<'_>) -> Vec<KeepReason> {
    facts
        .children
        .get(&subject.image.id)
        .map(|child| KeepReason::Parent {
            child: (*child).clone(),
        })
        .into_iter()
        .collect()
}

fn keep_image(facts: &Facts<'_>, subject: &Subject<'_>) -> Vec<KeepReason> {
    let patterns = facts.policy.keep_images.iter();
    let patterns = patterns.filter(|pattern| has(pattern, subject.image));
    let mut hits: Vec<_> = patterns.map(|pattern| pattern.text.clone()).collect();
    hits.sort();
    hits.dedup();
    hits.into_iter()
        .map(|pattern| KeepReason::KeepImage { pattern })
        .collect()
}

fn keep_label(facts: &Facts<'_>, subject: &Subject<'_>) -> Vec<KeepReason> {
    let hits = facts
        .policy
        .keep_labels
        .iter()
        .filter(|rule| rule.covers(subject.image));
    hits.map(|rule| KeepReason::KeepLabel { rule: rule.text() })
        .collect()
}

fn previous(facts: &Facts<'_>, subject: &Subject<'_>) -> Vec<KeepReason> {
    let ranks = facts.rollbacks.get(&subject.image.id).into_iter().flatten();
    let Effective {
        value: previous,
        rule,
    } = subject.retention.previous;
    let known = ranks
        .filter(|rollback| rollback.rank <= previous)
        .map(|rollback| KeepReason::Previous {
            tag: rollback.tag.clone(),
            rank: rollback.rank,
            perhaps: rollback.perhaps,
            retain: rule.map(str::to_owned),
        });
    let any = |seen: &Sighting| seen.fingerprints.is_any() && previous > 0;
    let unknown = subject.seen.filter(|seen| any(seen)).map(|_| {
        let why = "it had more names than are remembered, so it may be a rollback";
        KeepReason::Incomplete(why.to_owned())
    });
    known.chain(unknown).collect()
}

fn digest_pinned(facts: &Facts<'_>, subject: &Subject<'_>) -> Vec<KeepReason> {
    let image = subject.image;
    let why = match (subject.class, facts.inventory.engine.store) {
        (Class::Tagged | Class::Untagged, _) => None,
        // A worker cannot be asked what a service would start here, or roll back to.
        _ if facts.inventory.at_work.swarm == Swarm::Worker => {
            Some("a Swarm worker: only a manager tells what services want".to_owned())
        }
        // On the podman store, dropping a digest reference also takes the tag beside it. On the
        // containerd store what went is put back.
        (Class::Superseded | Class::DigestPinned, Store::Podman) if !image.digests.is_empty() => {
            Some("on the podman store that is a name of its own, and stays".to_owned())
        }
        (Class::Superseded | Class::DigestPinned, Store::Containerd)
            if not_restorable(image).is_some() =>
        {
            not_restorable(image)
        }
        (Class::Superseded, _) => None,
        (Class::DigestPinned, _) => match subject.retention.digest_pinned {
            Effective {
                value: DigestPinned::Keep,
                rule,
            } => {
                let key = key_of("age.digest_pinned = \"keep\"", rule);
                Some(format!("cache for the next deploy ({key})"))
            }
            Effective {
                value: DigestPinned::After(_),
                ..
            } => None,
        },
    };
    why.map(KeepReason::DigestPinned).into_iter().collect()
}

/// Why a digest reference of an image that was inspected cannot be put back.
fn not_restorable(image: &Image) -> Option<String> {
    if image.digests.is_empty() {
        return None;
    }
    let why = match &image.restorable {
        Some(Observed::Known(())) => return None,
        Some(Observed::Unknown(why)) => why,
        // An image that is not inspected yet is asked about later; one of an old saved host,
        // never.
        None => {
            image.last_tag_time.as_ref()?;
            "that was not asked"
        }
    };
    Some(format!(
        "its name could not be put back if somebody wanted it meanwhile: {why}"
    ))
}

fn age(facts: &Facts<'_>, subject: &Subject<'_>) -> Vec<KeepReason> {
    let Subject { image, class, .. } = *subject;
    let now = facts.inventory.taken_at;
    let Effective {
        value: wanted,
        rule,
    } = subject.wanted_age();
    let delta = TimeDelta::from_std(wanted).unwrap_or(TimeDelta::MAX);
    let ready = |since: DateTime<Utc>| {
        since
            .checked_add_signed(delta)
            .unwrap_or(DateTime::<Utc>::MAX_UTC)
    };
    let by_engine = facts.trust == Trust::EngineDates && class == Class::Untagged;
    let mut reasons = Vec::new();
    match subject.seen {
        _ if by_engine => {}
        Some(seen) if seen.first_seen < now => {}
        // A ledger that starts now, or in the future, shows no age.
        Some(_) | None => reasons.push(KeepReason::FirstSeen {
            ready_at: ready(now),
        }),
    }
    // Of the engine's dates this one alone tells when the image came here: without it, an image
    // built long ago and loaded a minute ago would count as old.
    let store = facts.inventory.engine.store;
    if by_engine && store == Store::Graphdriver && image.dates.stored.is_none() {
        reasons.push(KeepReason::AgeUnknown(
            "the date of its file in the engine's image database cannot be read; run as root"
                .into(),
        ));
    }
    if let Some(Observed::Unknown(why)) = &image.last_tag_time {
        reasons.push(KeepReason::AgeUnknown(why.clone()));
    }
    match subject.unneeded {
        None => reasons.push(KeepReason::AgeUnknown(
            "neither the ledger nor the engine has a date for it".into(),
        )),
        Some(unneeded) if now < ready(unneeded.since) && reasons.is_empty() => {
            reasons.push(KeepReason::TooYoung {
                unneeded,
                ready_at: ready(unneeded.since),
                wanted,
                retain: rule.map(str::to_owned),
            });
        }
        Some(_) => {}
    }
    reasons
}
