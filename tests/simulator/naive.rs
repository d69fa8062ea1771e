//! A second reading of the policy, written apart from `decide` and for
//! plainness alone: from every look that was ever had, not from a ledger, and
//! with every age reckoned anew. It says what may go, and since when.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use secateur::decide::Trust;
use secateur::model::{Image, ImageId, Inventory, Observed, Store, Swarm};
use secateur::policy::{DigestPinned, Policy};
use secateur::reference::Reference;

/// One look at a host that was remembered.
#[derive(Clone)]
pub struct Past<'a> {
    /// When, in milliseconds by a clock that nobody sets.
    pub at: i64,
    /// What was there.
    pub host: Cow<'a, Inventory>,
    /// What was shown to be wanted in between, and when.
    pub shown: Vec<(ImageId, i64)>,
    /// What happened as well, and no look can be told of.
    pub hidden: Vec<(ImageId, i64)>,
    /// What happened before the clock was seen to be set back, and can be told of
    /// when it is there again, by the engine's start of then.
    pub late: Vec<(ImageId, i64)>,
    pub start: u64,
}

struct Reading<'a> {
    policy: &'a Policy,
    trust: Trust,
    past: &'a [Past<'a>],
    /// For each look, what something referred to.
    used: Vec<BTreeSet<&'a ImageId>>,
    tags_now: BTreeSet<&'a Reference>,
    parents: BTreeSet<&'a ImageId>,
}

/// What may go by the last of these looks, and how many milliseconds it has
/// been unneeded.
pub fn may_go(policy: &Policy, trust: Trust, past: &[Past<'_>]) -> BTreeMap<ImageId, i64> {
    let now = &past.last().expect("a look").host;
    let mut reading = Reading {
        policy,
        trust,
        past,
        used: Vec::new(),
        tags_now: now.images.values().flat_map(|image| &image.tags).collect(),
        parents: now
            .images
            .values()
            .filter_map(|i| i.parent.as_ref())
            .collect(),
    };
    reading.used = (0..past.len()).map(|n| reading.used_at(n)).collect();
    now.images
        .values()
        .filter_map(|image| Some((image.id.clone(), reading.age_to_go(image)?)))
        .collect()
}

/// Which of these a run removes, and in which order.
pub fn chosen(policy: &Policy, host: &Inventory, may_go: &BTreeMap<ImageId, i64>) -> Vec<ImageId> {
    let limits = policy.disk;
    let Observed::Known(disk) = &host.disk else {
        if limits.start_above_percent > 0.0 || limits.stop_below_percent > 0.0 {
            return Vec::new();
        }
        let all = in_order(host, may_go).into_iter();
        return all.take(policy.limits.max_images).cloned().collect();
    };
    let (used, free) = (disk.bytes.used, disk.bytes.available);
    let fullest = disk.used_percent();
    let short = limits.min_free.is_some_and(|min| free < min.0);
    if limits.start_above_percent > 0.0 && fullest <= limits.start_above_percent && !short {
        return Vec::new();
    }
    let inodes_are_few = disk
        .inodes
        .is_none_or(|inodes| inodes.used_percent() <= limits.stop_below_percent);
    // What did not start the run does not hold up its end.
    let full = limits.start_above_percent == 0.0 || fullest > limits.start_above_percent;
    let enough = |freed: u64| {
        let percent = (used as f64 - freed as f64) * 100.0 / (used as f64 + free as f64);
        let low = limits.stop_below_percent > 0.0
            && inodes_are_few
            && percent <= limits.stop_below_percent + 1e-9;
        let all = limits.start_above_percent == 0.0 && limits.stop_below_percent == 0.0;
        let there = limits.min_free.is_none_or(|min| free + freed >= min.0);
        !all && (low || !full) && (there || !short)
    };
    let mut freed = 0;
    let mut chosen = Vec::new();
    for id in in_order(host, may_go) {
        if enough(freed) || chosen.len() == policy.limits.max_images {
            break;
        }
        if !host.images[id].resists {
            freed += host.images[id].reclaimable_at_least(host.engine.store).0;
        }
        chosen.push(id.clone());
    }
    chosen
}

/// Oldest first, and what the engine would not let go at the end.
fn in_order<'a>(host: &Inventory, may_go: &'a BTreeMap<ImageId, i64>) -> Vec<&'a ImageId> {
    let mut order: Vec<_> = may_go
        .iter()
        .map(|(id, age)| (host.images[id].resists, -age, id))
        .collect();
    order.sort();
    order.into_iter().map(|(_, _, id)| id).collect()
}

impl<'a> Reading<'a> {
    fn last(&self) -> usize {
        self.past.len() - 1
    }

    fn here(&self, n: usize, id: &ImageId) -> Option<&'a Image> {
        self.past[n].host.images.get(id)
    }

    /// The looks since which it has been here without a break.
    fn stay(&self, id: &ImageId, until: usize) -> std::ops::RangeInclusive<usize> {
        let gone = (0..until).rev().find(|n| self.here(*n, id).is_none());
        gone.map_or(0, |n| n + 1)..=until
    }

    fn carried(&self, n: usize, id: &ImageId, tag: &Reference) -> bool {
        self.here(n, id)
            .is_some_and(|image| image.tags.contains(tag))
    }

    fn used_at(&self, n: usize) -> BTreeSet<&'a ImageId> {
        let host = &self.past[n].host;
        let mut texts: Vec<&str> = Vec::new();
        let mut mounts: Vec<&str> = Vec::new();
        let mut used: BTreeSet<&ImageId> = BTreeSet::new();
        for container in &host.containers {
            texts.push(container.image.raw());
            mounts.extend(
                container
                    .image_mounts
                    .iter()
                    .map(secateur::text::Untrusted::raw),
            );
            used.extend(&container.image_ids);
        }
        if let Swarm::Manager { images, .. } = &host.at_work.swarm {
            texts.extend(images.iter().map(|service| service.image.raw()));
        }
        texts.extend(&mounts);
        for text in texts {
            used.extend(
                host.images
                    .values()
                    .filter(|i| refers(text, i))
                    .map(|i| &i.id),
            );
        }
        // A mount holds what had the name when the container was made.
        for name in mounts
            .iter()
            .filter_map(|text| text.parse::<Reference>().ok())
        {
            used.extend(host.images.keys().filter(|id| {
                let stay = self.stay(id, n);
                !self.carried(n, id, &name) && stay.into_iter().any(|m| self.carried(m, id, &name))
            }));
        }
        used
    }

    /// How long it has been unneeded, if nothing keeps it.
    fn age_to_go(&self, image: &Image) -> Option<i64> {
        let last = &self.past[self.last()];
        let (id, engine) = (&image.id, &last.host.engine);
        let stay = self.stay(id, self.last());
        let first = *stay.start();
        let had: BTreeSet<&Reference> = stay
            .clone()
            .filter_map(|n| self.here(n, id))
            .flat_map(|image| &image.tags)
            .collect();
        let kept = !image.tags.is_empty()
            || image.incomplete.is_some()
            || engine.look_only().is_some()
            || matches!(last.host.at_work.swarm, Swarm::Unreadable(_))
            || self.used[self.last()].contains(id)
            || self.parents.contains(id)
            || self.protected(image)
            || had.iter().any(|tag| self.is_rollback(image, tag));
        if kept {
            return None;
        }
        let superseded = had.iter().any(|tag| self.tags_now.contains(tag));
        let wanted = match (
            image.digests.is_empty(),
            superseded,
            self.policy.digest_pinned,
        ) {
            (false, _, _) if engine.store != Store::Graphdriver => return None,
            (false, false, DigestPinned::Keep) => return None,
            (false, false, DigestPinned::After(age)) => age,
            (true, _, _) | (false, true, _) => self.policy.min_age,
        };
        let by_engine = self.trust == Trust::EngineDates && image.digests.is_empty();
        let remembered_since_before = self.past[first].at < last.at;
        let stored_known = image.dates.stored.is_some() || engine.store != Store::Graphdriver;
        let proof = if by_engine {
            stored_known
        } else {
            remembered_since_before
        };
        if !proof || matches!(image.last_tag_time, Some(Observed::Unknown(_))) {
            return None;
        }
        let age = self.ages(image, stay, by_engine).into_iter().min()?;
        (age >= i64::try_from(wanted.as_millis()).ok()?).then_some(age)
    }

    /// By each piece of evidence, how long ago it was wanted.
    fn ages(
        &self,
        image: &Image,
        stay: std::ops::RangeInclusive<usize>,
        by_engine: bool,
    ) -> Vec<i64> {
        let id = &image.id;
        let last = &self.past[self.last()];
        let first = *stay.start();
        let mut ages = Vec::new();
        if !by_engine {
            ages.push(last.at - self.past[first].at);
        }
        for n in stay {
            // Also the look that first misses a tag or a use: it may have
            // ended a moment before.
            let around = || n.saturating_sub(1).max(first)..=n;
            let tagged = |m: usize| self.here(m, id).is_some_and(|i| !i.tags.is_empty());
            let used = |m: usize| self.used[m].contains(id);
            if around().any(tagged) || around().any(used) {
                ages.push(last.at - self.past[n].at);
            }
            let shown = self.past[n].shown.iter().filter(|(shown, _)| shown == id);
            ages.extend(shown.map(|(_, at)| last.at - (*at).min(self.past[n].at)));
        }
        let tag_time = image
            .last_tag_time
            .as_ref()
            .and_then(|time| time.known().copied().flatten());
        let our_doing = |at: &DateTime<Utc>| {
            !image.ours.is_empty() && image.ours_until.is_some_and(|until| *at <= until)
        };
        let dates = [
            image.dates.created,
            image.dates.stored,
            tag_time.filter(|at| !our_doing(at)),
        ];
        ages.extend(
            dates
                .into_iter()
                .flatten()
                .map(|date| (last.host.taken_at - date).num_milliseconds()),
        );
        ages
    }

    fn protected(&self, image: &Image) -> bool {
        let names: Vec<String> = image
            .tags
            .iter()
            .chain(&image.digests)
            .map(ToString::to_string)
            .collect();
        let by_name = self.policy.keep_images.iter().any(|pattern| {
            let text = &pattern.text;
            match text.strip_suffix('*') {
                Some(start) => names.iter().any(|name| name.starts_with(start)),
                None => names.contains(text),
            }
        });
        let by_label = self.policy.keep_labels.iter().any(|rule| {
            let value = image
                .labels
                .get(&rule.key)
                .map(secateur::text::Untrusted::raw);
            value.is_some() && (rule.value.is_none() || rule.value.as_deref() == value)
        });
        by_name || by_label
    }

    /// Whether it is one of the newest `previous` that carried a tag which is
    /// another's now. Those last seen with it at one moment share a place.
    fn is_rollback(&self, image: &Image, tag: &Reference) -> bool {
        let last_with = |id: &ImageId| {
            let mut stay = self.stay(id, self.last()).rev();
            stay.find(|n| self.carried(*n, id, tag))
                .map(|n| self.past[n].at)
        };
        let Some(mine) = last_with(&image.id) else {
            return false;
        };
        let others = self.past[self.last()].host.images.values();
        let newer: BTreeSet<i64> = others
            .filter(|other| !other.tags.contains(tag))
            .filter_map(|other| last_with(&other.id))
            .filter(|at| *at > mine)
            .collect();
        self.tags_now.contains(tag) && newer.len() < self.policy.previous
    }
}

/// Whether a container or service that names its image so may mean this one.
pub fn refers(text: &str, image: &Image) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let is_hex = (4..=64).contains(&hex.len()) && hex.bytes().all(|b| b.is_ascii_hexdigit());
    if is_hex && image.id.hex().starts_with(hex) {
        return true;
    }
    let Ok(name) = text.parse::<Reference>() else {
        return false;
    };
    let Some(digest) = name.digest() else {
        return image.tags.contains(&name);
    };
    name.without_digest()
        .is_some_and(|tag| image.tags.contains(&tag))
        || image
            .digests
            .iter()
            .any(|other| other.digest() == Some(digest))
        || image.id.as_str() == digest
}
