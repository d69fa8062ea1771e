//! A second reading of the policy, written independently of `decide`, and as simple as possible:
//! from all earlier surveys instead of a ledger, with every age computed again. It says what may
//! go, and for how long it has been unneeded.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use secateur::decide::Trust;
use secateur::model::reference::Reference;
use secateur::model::{
    Container, Event, EventKind, Image, ImageId, Inventory, Observed, Store, Swarm,
};
use secateur::policy::{DigestPinned, Policy};

/// One survey that the naive reading remembers.
#[derive(Clone)]
pub struct Past<'a> {
    /// When, in milliseconds by the monotonic clock.
    pub at: i64,
    pub host: Cow<'a, Inventory>,
    /// Images that events since the last survey show to be wanted, and when.
    pub shown: Vec<(ImageId, i64)>,
    /// The same from events that no survey can get.
    pub hidden: Vec<(ImageId, i64)>,
    /// The same from events before the clock was set back. A later survey can get them when the
    /// clock has reached their dates again, unless the engine was restarted: `start` counts its
    /// starts.
    pub late: Vec<(ImageId, i64)>,
    pub start: u64,
}

struct Reading<'a> {
    policy: &'a Policy,
    trust: Trust,
    past: &'a [Past<'a>],
    /// For each survey, the images that something referred to.
    used: Vec<BTreeSet<&'a ImageId>>,
    /// For each survey, the one before it whose images are all away.
    away: Vec<Option<usize>>,
    tags_now: BTreeSet<&'a Reference>,
    parents: BTreeSet<&'a ImageId>,
}

struct Longest {
    min_age: Duration,
    digest_pinned: DigestPinned,
    previous: usize,
}

/// What may go by the last of these surveys, and for how many milliseconds it has been unneeded.
pub fn may_go(policy: &Policy, trust: Trust, past: &[Past<'_>]) -> BTreeMap<ImageId, i64> {
    let now = &past.last().expect("a survey").host;
    let mut reading = Reading {
        policy,
        trust,
        past,
        used: Vec::new(),
        away: away(past),
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
    // A limit that did not start the run does not keep it from ending.
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

/// Oldest first. Images that the engine refused to remove come last.
fn in_order<'a>(host: &Inventory, may_go: &'a BTreeMap<ImageId, i64>) -> Vec<&'a ImageId> {
    let mut order: Vec<_> = may_go
        .iter()
        .map(|(id, age)| (host.images[id].resists, -age, id))
        .collect();
    order.sort();
    order.into_iter().map(|(_, _, id)| id).collect()
}

/// For each survey, the last one before it that found images of which none has been here since.
/// An engine that comes back with them has not lost them.
fn away(past: &[Past<'_>]) -> Vec<Option<usize>> {
    let mut away = vec![None];
    for n in 1..past.len() {
        let now = &past[n].host.images;
        let all_away = |m: &usize| {
            let then = &past[*m].host.images;
            !then.is_empty() && !then.keys().any(|id| now.contains_key(id))
        };
        let each = [Some(n - 1), away[n - 1]].into_iter().flatten();
        away.push(each.into_iter().find(all_away));
    }
    away
}

impl<'a> Reading<'a> {
    fn last(&self) -> usize {
        self.past.len() - 1
    }

    fn here(&self, n: usize, id: &ImageId) -> Option<&'a Image> {
        self.past[n].host.images.get(id)
    }

    /// The surveys since which it has been here without a break.
    fn stay(&self, id: &ImageId, until: usize) -> std::ops::RangeInclusive<usize> {
        let gone = (0..until).rev().find(|n| self.here(*n, id).is_none());
        gone.map_or(0, |n| n + 1)..=until
    }

    /// The surveys, in order, by which its names are known: also those before all images were
    /// away, if it came back with them.
    fn known(&self, id: &ImageId, until: usize) -> Vec<usize> {
        let stay = self.stay(id, until);
        let before = stay.start().checked_sub(1).and_then(|n| self.away[n]);
        let mut known = match before {
            Some(n) if self.here(n, id).is_some() => self.known(id, n),
            _ => Vec::new(),
        };
        known.extend(stay);
        known
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
                    .map(secateur::model::text::Untrusted::raw),
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
        // A mount uses the image that had the name when the container was made.
        for name in mounts
            .iter()
            .filter_map(|text| text.parse::<Reference>().ok())
        {
            used.extend(host.images.keys().filter(|id| {
                let mut known = self.known(id, n).into_iter();
                !self.carried(n, id, &name) && known.any(|m| self.carried(m, id, &name))
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
        let known = self.known(id, self.last());
        let had: BTreeSet<&Reference> = known
            .iter()
            .copied()
            .filter_map(|n| self.here(n, id))
            .flat_map(|image| &image.tags)
            .collect();
        let perhaps = self.perhaps(image);
        let names = image.tags.iter().chain(&image.digests);
        let names = names.chain(had.iter().copied());
        let names = names.chain(perhaps.iter().map(|(tag, _)| *tag));
        let longest = self.longest(&names.map(ToString::to_string).collect());
        let perhaps = || {
            let mut tags = perhaps.iter();
            tags.any(|(tag, at)| self.is_perhaps_rollback(image, tag, *at, longest.previous))
        };
        let kept = !image.tags.is_empty()
            || image.incomplete.is_some()
            || engine.no_removals().is_some()
            || matches!(last.host.at_work.swarm, Swarm::Unreadable(_))
            || self.used[self.last()].contains(id)
            || self.parents.contains(id)
            || self.protected(image)
            || had
                .iter()
                .any(|tag| self.is_rollback(image, tag, longest.previous))
            || perhaps();
        if kept {
            return None;
        }
        // A pull by tag leaves a digest reference only on other stores.
        let superseded =
            engine.store != Store::Containerd && had.iter().any(|tag| self.tags_now.contains(tag));
        // Nobody knows who asked for what while it was away.
        let asked = known.windows(2).any(|of| {
            let back = self.here(of[1], id).expect("it came back");
            of[0] + 1 < of[1] && back.tags.is_empty() && !back.digests.is_empty()
        });
        let asked = asked || known.iter().any(|n| self.asked_by_digest(*n, id));
        let pinned = asked || !image.digests.is_empty() && !superseded;
        let wanted = match (pinned, longest.digest_pinned) {
            _ if !image.digests.is_empty() && engine.store == Store::Podman => return None,
            // On the containerd store a digest reference is dropped only if it could be put back.
            // An image that was not inspected is never planned for removal.
            _ if !image.digests.is_empty()
                && engine.store == Store::Containerd
                && match &image.restorable {
                    Some(known) => known.known().is_none(),
                    None => image.last_tag_time.is_some(),
                } =>
            {
                return None;
            }
            (true, DigestPinned::Keep) => return None,
            (true, DigestPinned::After(age)) => age.max(longest.min_age),
            (false, _) => longest.min_age,
        };
        let by_engine = self.trust == Trust::EngineDates && image.digests.is_empty() && !asked;
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
        let first = (!by_engine).then_some(*stay.start());
        let age = self.ages(image, &known, first).into_iter().min()?;
        (age >= i64::try_from(wanted.as_millis()).ok()?).then_some(age)
    }

    /// The retention for an image with these names: the longest of the policy's general one and of
    /// those rules that match one of the names.
    fn longest(&self, names: &BTreeSet<String>) -> Longest {
        let mut longest = Longest {
            min_age: self.policy.min_age,
            digest_pinned: self.policy.digest_pinned,
            previous: self.policy.previous,
        };
        for rule in &self.policy.retain {
            let means = |text: &str| match text.strip_suffix(":*") {
                Some(repository) => names.iter().any(|name| {
                    let rest = name.strip_prefix(repository);
                    rest.is_some_and(|rest| rest.starts_with([':', '@']))
                }),
                None => names.contains(text),
            };
            if !rule.images.iter().any(|pattern| means(&pattern.text)) {
                continue;
            }
            if let Some(age) = rule.min_age {
                longest.min_age = longest.min_age.max(age);
            }
            if let Some(previous) = rule.previous {
                longest.previous = longest.previous.max(previous);
            }
            longest.digest_pinned = match (longest.digest_pinned, rule.digest_pinned) {
                (DigestPinned::Keep, _) | (_, Some(DigestPinned::Keep)) => DigestPinned::Keep,
                (DigestPinned::After(one), Some(DigestPinned::After(other))) => {
                    DigestPinned::After(one.max(other))
                }
                (general, None) => general,
            };
        }
        longest
    }

    /// For each piece of evidence, how long ago the image was wanted. `first` is the first survey
    /// of its stay, if that is evidence.
    fn ages(&self, image: &Image, known: &[usize], first: Option<usize>) -> Vec<i64> {
        let id = &image.id;
        let last = &self.past[self.last()];
        let mut ages = Vec::new();
        ages.extend(first.map(|n| last.at - self.past[n].at));
        for (i, n) in known.iter().copied().enumerate() {
            // Also the first survey without a tag or a use: it may have ended just before.
            let around = || known[i.saturating_sub(1)..=i].iter().copied();
            let tagged = |m: usize| self.here(m, id).is_some_and(|i| !i.tags.is_empty());
            let used = |m: usize| self.used[m].contains(id);
            if around().any(tagged) || around().any(used) {
                ages.push(last.at - self.past[n].at);
            }
            if self.came_on_top(n, id) {
                ages.push(last.at - self.past[n].at);
            }
            let shown = self.past[n].shown.iter().filter(|(shown, _)| shown == id);
            ages.extend(shown.map(|(_, at)| last.at - (*at).min(self.past[n].at)));
        }
        let dates = [image.dates.created, image.dates.stored, tag_time(image)];
        ages.extend(
            dates
                .into_iter()
                .flatten()
                .map(|date| (last.host.taken_at - date).num_milliseconds()),
        );
        ages
    }

    /// Whether this survey shows that anybody asked for it by digest.
    fn asked_by_digest(&self, n: usize, id: &ImageId) -> bool {
        let host = &self.past[n].host;
        let is_digest = |text: &str| text.contains('@');
        let by = |text: &str| {
            if !is_digest(text) {
                return false;
            }
            let name = text.parse::<Reference>().ok();
            let digest = name.as_ref().and_then(Reference::digest).map(str::to_owned);
            // A digest that it had at the survey before means it, too.
            let surveys = [Some(n), n.checked_sub(1)].into_iter().flatten();
            let mut own = surveys
                .filter_map(|n| self.here(n, id))
                .flat_map(|i| &i.digests);
            digest.is_some_and(|digest| {
                own.any(|other| other.digest() == Some(&digest)) || id.as_str() == digest
            })
        };
        let event = |event: &Event| {
            let wants = matches!(
                event.what,
                EventKind::Pulled | EventKind::Used | EventKind::Ran
            );
            wants && by(event.image.raw())
        };
        let container = |container: &Container| {
            let mut mounts = container.image_mounts.iter();
            by(container.image.raw())
                || is_digest(container.image.raw()) && container.image_ids.contains(id)
                || mounts.any(|mount| by(mount.raw()))
        };
        let service = match &host.at_work.swarm {
            Swarm::Manager { images, .. } => images.iter().any(|s| by(s.image.raw())),
            Swarm::Inactive | Swarm::Worker | Swarm::Unreadable(_) => false,
        };
        service || host.events.iter().any(event) || host.containers.iter().any(container)
    }

    /// Whether this survey is the first with an image that was built on this one.
    fn came_on_top(&self, n: usize, id: &ImageId) -> bool {
        let came = |other: &ImageId| n > 0 && self.here(n - 1, other).is_none();
        let mut new = self.past[n].host.images.values().filter(|i| came(&i.id));
        let built_on = |image: &Image| image.parent.as_ref() == Some(id);
        self.past[n].host.images.values().any(built_on)
            && new.any(|image| {
                let mut below = image;
                for _ in 0..self.past[n].host.images.len() {
                    match below.parent.as_ref().and_then(|id| self.here(n, id)) {
                        Some(parent) if parent.id == *id => return true,
                        Some(parent) => below = parent,
                        None => return false,
                    }
                }
                false
            })
    }

    /// Tags that it may have had between two surveys, with the latest time for that. On the
    /// containerd store also the tags that it had, with the time when it lost its last one.
    fn perhaps(&self, image: &Image) -> Vec<(&'a Reference, i64)> {
        let id = &image.id;
        let mut perhaps = Vec::new();
        let known = self.known(id, self.last());
        for n in known.iter().copied() {
            let host = &self.past[n].host;
            let then = &host.images[id];
            let before = n.checked_sub(1).map(|n| self.past[n].host.taken_at);
            let moves: Vec<&Event> = host
                .events
                .iter()
                .filter(|event| matches!(event.what, EventKind::Pulled | EventKind::Loaded))
                .filter(|event| before.is_none_or(|before| event.at > before))
                .collect();
            if !then.tags.is_empty() || moves.is_empty() {
                continue;
            }
            let events = |what: EventKind, text: &str| {
                let is = |event: &&Event| event.what == what && event.image.raw() == text;
                moves.iter().copied().filter(is).count()
            };
            let loaded = events(EventKind::Loaded, id.as_str()) > 0;
            let came = n == 0 || self.here(n - 1, id).is_none();
            for (holder, tag) in host
                .images
                .values()
                .flat_map(|i| i.tags.iter().map(move |t| (i, t)))
            {
                let pulls = moves.iter().filter(|event| {
                    event.what == EventKind::Pulled
                        && event
                            .image
                            .raw()
                            .parse()
                            .is_ok_and(|name: Reference| name == *tag)
                });
                let pulls = pulls.count();
                let times = pulls + events(EventKind::Loaded, holder.id.as_str());
                let brought = if host.engine.store == Store::Graphdriver {
                    let mut digests = then.digests.iter();
                    digests.any(|digest| digest.repository() == tag.repository())
                } else {
                    then.digests.is_empty()
                };
                // A pull of the image that has the tag already moved nothing.
                let new_here = n == 0 || !self.carried(n - 1, &holder.id, tag);
                let twice = new_here && pulls > 0 && times > 1;
                if loaded && times > 0 || came && brought && twice {
                    perhaps.push((tag, self.past[n].at));
                }
            }
        }
        let last = &self.past[self.last()];
        if last.host.engine.store == Store::Containerd
            && let Some(lost) = tag_time(image)
        {
            // By the clock of the first survey after it: the clock may have been set later.
            let survey = self.past.iter().find(|survey| survey.host.taken_at >= lost);
            let survey = survey.unwrap_or(last);
            let at = survey.at - (survey.host.taken_at - lost).num_milliseconds();
            for n in known {
                perhaps.extend(
                    self.here(n, id)
                        .iter()
                        .flat_map(|i| &i.tags)
                        .map(|tag| (tag, at)),
                );
            }
        }
        perhaps
    }

    /// As [`Reading::is_rollback`], for a tag that it may have had. It does not take a place from
    /// other rollbacks, and an image that had the tag at the same moment counts as later.
    fn is_perhaps_rollback(
        &self,
        image: &Image,
        tag: &Reference,
        at: i64,
        previous: usize,
    ) -> bool {
        let others = self.past[self.last()].host.images.values();
        let later: BTreeSet<i64> = others
            .filter(|other| other.id != image.id && !other.tags.contains(tag))
            .filter_map(|other| self.last_with(&other.id, tag))
            .filter(|other| *other >= at)
            .collect();
        self.tags_now.contains(tag) && later.len() < previous
    }

    fn last_with(&self, id: &ImageId, tag: &Reference) -> Option<i64> {
        let mut known = self.known(id, self.last()).into_iter().rev();
        known
            .find(|n| self.carried(*n, id, tag))
            .map(|n| self.past[n].at)
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
                .map(secateur::model::text::Untrusted::raw);
            value.is_some() && (rule.value.is_none() || rule.value.as_deref() == value)
        });
        by_name || by_label
    }

    /// Whether it is one of the newest `previous` images that had a tag which another image has
    /// now. Images last seen with it at the same moment share a place.
    fn is_rollback(&self, image: &Image, tag: &Reference, previous: usize) -> bool {
        let Some(mine) = self.last_with(&image.id, tag) else {
            return false;
        };
        let others = self.past[self.last()].host.images.values();
        let newer: BTreeSet<i64> = others
            .filter(|other| !other.tags.contains(tag))
            .filter_map(|other| self.last_with(&other.id, tag))
            .filter(|at| *at > mine)
            .collect();
        self.tags_now.contains(tag) && newer.len() < previous
    }
}

/// The engine's last tag time, unless we caused it ourselves.
fn tag_time(image: &Image) -> Option<DateTime<Utc>> {
    let time = image.last_tag_time.as_ref()?.known().copied()??;
    let ours = !image.ours.is_empty() && image.ours_until.is_some_and(|until| time <= until);
    (!ours).then_some(time)
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
