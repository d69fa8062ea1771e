//! What was seen before: when each image was first here, last carried which
//! tag, was last in use. Engines keep no such dates, so secateur remembers.
//! Decides how a look at a host becomes memory. It can only make an image
//! younger: an image that the ledger does not know is new today, so losing it
//! costs delay and never an image. It reads no file and no clock.

mod evidence;
mod faded;
mod names;
mod sum;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::memory::clock;
use crate::model::conditions::{ClockReading, Standing};
use crate::model::names::{Names, users};
use crate::model::reference::Reference;
use crate::model::{Container, Event, EventKind, ImageId, Inventory};

pub use faded::{Faded, Printed};

/// The format that this version writes, and the highest that it reads. From 2
/// on, each engine's ledger is a file of its own.
pub const FORMAT: u32 = 2;

/// How much of an engine's key is in its file's name, in hex digits.
const HASH: usize = 16;

/// The file of this engine's ledger: a name of fixed length, whatever an engine
/// calls itself.
pub fn file_of(engine: &str) -> String {
    let sum = Sha256::digest(engine);
    let start = sum.first_chunk().copied().unwrap_or_default();
    format!("ledger-{:0HASH$x}.json", u64::from_be_bytes(start))
}

/// Whether that is the name of some engine's ledger.
pub fn is_file_of_one(name: &str) -> bool {
    let hash = name.strip_prefix("ledger-");
    let hash = hash.and_then(|rest| rest.strip_suffix(".json"));
    hash.is_some_and(|hash| hash.len() == HASH && hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The memory of one engine's store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// [`FORMAT`].
    format: u32,
    /// [`crate::model::EngineFacts::key`].
    engine: String,
    /// The clocks at the last look.
    clock: Option<ClockReading>,
    /// Since when it is not known what earlier runs lost, where that is longer than
    /// since the last look: the engine could not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    losses_unknown_since: Option<DateTime<Utc>>,
    /// One entry for each image that was there at the last look. What was gone
    /// by then is forgotten: should it come back, it is new.
    images: BTreeMap<ImageId, Sighting>,
    /// What spoke against a removal at the last look, and since which look: a lock
    /// file does not tell since when it is held, nor a build since when it runs.
    #[serde(default, skip_serializing_if = "Standing::is_empty")]
    standing: Standing,
    /// What was written before `standing` was: locks alone, by their paths.
    #[serde(default, skip_serializing)]
    held_locks: BTreeMap<String, DateTime<Utc>>,
    /// Tags that no image here carries any more, and the last look that showed
    /// each. Only told to people, for verify-cache: no decision rests on it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    gone: BTreeMap<Reference, DateTime<Utc>>,
}

/// What is remembered of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The first look that found it here.
    pub first_seen: DateTime<Utc>,
    /// Each tag that it was seen with, and the last moment that showed it.
    #[serde(default)]
    pub tags: BTreeMap<Reference, DateTime<Utc>>,
    /// More names that it had and has no more.
    #[serde(default, skip_serializing_if = "Faded::is_empty")]
    pub faded: Faded,
    /// The last moment that showed it named or tagged, by the engine's events.
    #[serde(default)]
    pub last_named: Option<DateTime<Utc>>,
    /// The last moment that showed it in use.
    #[serde(default)]
    pub last_used: Option<DateTime<Utc>>,
    /// The last moment at which somebody asked for it by its digest, as far as was
    /// seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by_digest: Option<DateTime<Utc>>,
    /// The last moment at which an image came that was built on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_on: Option<DateTime<Utc>>,
    /// Tags that it may have carried between two looks, and the latest moment of that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub perhaps: BTreeMap<Reference, DateTime<Utc>>,
    /// Whether it had a tag at the last look.
    #[serde(default)]
    tagged_then: bool,
    /// Whether it was in use at the last look.
    #[serde(default)]
    used_then: bool,
}

impl Sighting {
    fn new(at: DateTime<Utc>) -> Self {
        Self {
            first_seen: at,
            tags: BTreeMap::new(),
            faded: Faded::default(),
            last_named: None,
            last_used: None,
            asked_by_digest: None,
            built_on: None,
            perhaps: BTreeMap::new(),
            tagged_then: false,
            used_then: false,
        }
    }

    /// The last moment that showed it with any tag.
    pub fn last_tagged(&self) -> Option<DateTime<Utc>> {
        self.tags.values().copied().max().max(self.last_named)
    }

    /// Whether it was seen with this name once; of names that faded, whether it may have
    /// been.
    pub fn had(&self, name: &Reference) -> bool {
        self.tags.contains_key(name) || self.faded.has(name)
    }

    /// Whether it had this tag at the last look.
    fn carried_then(&self, tag: &Reference) -> bool {
        let last = self.tags.get(tag);
        self.tagged_then && last.is_some() && last == self.tags.values().max()
    }

    /// Remembers tags that it may have carried; of all of them the newest.
    fn may_have_had(&mut self, tags: Vec<&Reference>, now: DateTime<Utc>) {
        let tags = tags.into_iter().map(|tag| (tag.clone(), now));
        self.perhaps.extend(tags);
        let mut all: Vec<_> = self
            .perhaps
            .iter()
            .map(|(tag, at)| (*at, tag.clone()))
            .collect();
        all.sort();
        for (_, tag) in &all[..all.len().saturating_sub(evidence::PERHAPS)] {
            self.perhaps.remove(tag);
        }
    }

    fn each_date(&mut self, change: impl Fn(DateTime<Utc>) -> DateTime<Utc>) {
        self.first_seen = change(self.first_seen);
        self.last_named = self.last_named.map(&change);
        self.last_used = self.last_used.map(&change);
        self.asked_by_digest = self.asked_by_digest.map(&change);
        self.built_on = self.built_on.map(&change);
        for at in self.tags.values_mut().chain(self.perhaps.values_mut()) {
            *at = change(*at);
        }
    }
}

/// Counts what is written, and keeps none of it.
struct Length(usize);

impl std::io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Why a ledger's bytes cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// Not a ledger: damaged, cut off, or empty.
    Corrupt(String),
    /// Written by a newer secateur; its format.
    Newer(u32),
    /// Of another engine or store; its key.
    OtherEngine(String),
}

impl Ledger {
    /// A memory without anything in it.
    pub fn empty(engine: &str) -> Self {
        Self {
            format: FORMAT,
            engine: engine.to_owned(),
            clock: None,
            losses_unknown_since: None,
            images: BTreeMap::new(),
            standing: Standing::new(),
            held_locks: BTreeMap::new(),
            gone: BTreeMap::new(),
        }
    }

    /// Reads what [`Ledger::to_json`] wrote, for this engine and no other.
    pub fn from_json(bytes: &[u8], engine: &str) -> Result<Self, Unusable> {
        let ledger = Self::of_any_engine(bytes)?;
        if ledger.engine != engine {
            return Err(Unusable::OtherEngine(crate::model::text::escape(
                &ledger.engine,
            )));
        }
        Ok(ledger)
    }

    /// The same, whosever it is.
    pub fn of_any_engine(bytes: &[u8]) -> Result<Self, Unusable> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let corrupt =
            |error: serde_json::Error| Unusable::Corrupt(crate::model::text::json_error(&error));
        let head: Head = serde_json::from_slice(bytes).map_err(corrupt)?;
        if head.format > FORMAT {
            return Err(Unusable::Newer(head.format));
        }
        if !sum::holds(bytes) {
            let why = "it is not what was written: its checksum is another".to_owned();
            return Err(Unusable::Corrupt(why));
        }
        let mut ledger: Self = serde_json::from_slice(bytes).map_err(corrupt)?;
        for (path, at) in std::mem::take(&mut ledger.held_locks) {
            for kind in ["flock", "exists"] {
                let what = format!("deploy-lock {kind} {path}");
                ledger.standing.entry(what).or_insert(at);
            }
        }
        Ok(ledger)
    }

    /// Whose it is: [`crate::model::EngineFacts::key`].
    pub fn engine(&self) -> &str {
        &self.engine
    }

    /// One line of JSON, whose last field is a checksum of all before it.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        // A Vec that grows has up to three times the room that it needs.
        let mut length = Length(0);
        serde_json::to_writer(&mut length, self)?;
        let mut bytes = Vec::with_capacity(length.0 + sum::LENGTH + 1);
        serde_json::to_writer(&mut bytes, self)?;
        let mut bytes = sum::added(bytes);
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The clocks at the last look, if there was one.
    pub fn clock(&self) -> Option<&ClockReading> {
        self.clock.as_ref()
    }

    /// From which moment on it is to be asked what happened: since the last look, or
    /// since one of before that which [`Ledger::asks_again_since`] names.
    pub fn asks_since(&self) -> Option<DateTime<Utc>> {
        let last_look = self.clock.as_ref().map(|clock| clock.wall);
        self.losses_unknown_since.or(last_look)
    }

    /// The next look asks again from this moment on: what earlier runs lost could
    /// not be found out.
    #[must_use]
    pub fn asks_again_since(mut self, since: Option<DateTime<Utc>>) -> Self {
        self.losses_unknown_since = since;
        self
    }

    /// What is remembered of an image.
    pub fn sighting(&self, id: &ImageId) -> Option<&Sighting> {
        self.images.get(id)
    }

    /// All images remembered.
    pub fn sightings(&self) -> impl Iterator<Item = (&ImageId, &Sighting)> {
        self.images.iter()
    }

    /// Images that a container mounts by a name that they had and have no more,
    /// each with that container. A mount holds the image that had the name when
    /// the container was made; the engine's lists tell the name alone, and not
    /// every engine refuses to remove what is mounted so.
    pub fn mounted_once<'a>(&self, seen: &'a Inventory) -> Vec<(&'a ImageId, &'a Container)> {
        let mut found = Vec::new();
        for container in &seen.containers {
            let mounts = container.image_mounts.iter();
            let names: BTreeSet<Reference> =
                mounts.filter_map(|name| name.raw().parse().ok()).collect();
            // Most containers mount none, and images may be many.
            if names.is_empty() {
                continue;
            }
            let had = |(id, sighting): (&ImageId, &Sighting)| {
                let (id, image) = seen.images.get_key_value(id)?;
                let lost = |name: &Reference| sighting.had(name) && !image.tags.contains(name);
                names.iter().any(lost).then_some((id, container))
            };
            found.extend(self.images.iter().filter_map(had));
        }
        found
    }

    /// What spoke against a removal at the last look.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Remembers what speaks against a removal at this look, and nothing else: what
    /// was not there at any look in between begins anew.
    #[must_use]
    pub fn with_standing(mut self, standing: Standing) -> Self {
        self.standing = standing;
        self
    }

    /// When a tag that was gone at the last look had been seen last.
    pub fn gone(&self, tag: &Reference) -> Option<DateTime<Utc>> {
        self.gone.get(tag).copied()
    }

    /// The memory after one more look. `shift` moves all remembered dates
    /// forward first (see [`crate::memory::clock::Clock::between`]); none is left in the
    /// future, for what was seen was seen by now.
    #[must_use]
    pub fn observe(&self, seen: &Inventory, reading: &ClockReading, shift: TimeDelta) -> Self {
        let now = seen.taken_at;
        let names = Names::of(&seen.images);
        let in_use = users(seen);
        let mounted: BTreeSet<&ImageId> = self
            .mounted_once(seen)
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        let mut images: BTreeMap<ImageId, Sighting> = BTreeMap::new();
        for (id, image) in &seen.images {
            let mut sighting = self
                .images
                .get(id)
                .cloned()
                .unwrap_or_else(|| Sighting::new(now));
            sighting.each_date(|at| at.checked_add_signed(shift).unwrap_or(now).min(now));
            sighting
                .tags
                .extend(image.tags.iter().map(|tag| (tag.clone(), now)));
            // What was wanted at the last look and is not at this one was so up
            // to a moment in between. The engine's events may tell which, but
            // it keeps few of them: the latest possible moment counts.
            let tagged = !image.tags.is_empty();
            let used = in_use.contains_key(id) || mounted.contains(id);
            if sighting.tagged_then && !tagged {
                sighting.last_named = Some(now);
            }
            if sighting.used_then || used {
                sighting.last_used = Some(now);
            }
            (sighting.tagged_then, sighting.used_then) = (tagged, used);
            images.insert(id.clone(), sighting);
        }
        // A name may have moved since the last look: who carried it then and who
        // carries it now both count as wanted at the moment of the event. Not who
        // lost it earlier: a service that runs from a tag names it in every
        // health check, and its former images would never grow old.
        let mut carried: BTreeMap<&Reference, Vec<&ImageId>> = BTreeMap::new();
        for (id, sighting) in &self.images {
            let last = sighting.tags.values().max();
            let then = sighting.tags.iter().filter(|(_, at)| Some(*at) == last);
            for (tag, _) in then.filter(|_| sighting.tagged_then) {
                carried.entry(tag).or_default().push(id);
            }
        }
        let last_look = self.clock.as_ref().map(|clock| clock.wall);
        // The engine dated it by the clock as it was before a jump.
        let when = |event: &Event| event.at.checked_add_signed(shift).unwrap_or(now).min(now);
        for event in &seen.events {
            let text = event.image.raw();
            let then = text
                .parse()
                .ok()
                .and_then(|name: Reference| carried.get(&name).cloned())
                .unwrap_or_default();
            for id in names.resolve(text).into_iter().chain(then) {
                let Some(sighting) = images.get_mut(id) else {
                    continue;
                };
                let at = when(event);
                // A tag that came and moved on between two looks makes a rollback.
                if last_look.is_none_or(|last| event.at > last)
                    && let Some(tag) = event.tag.as_ref().and_then(|tag| tag.raw().parse().ok())
                {
                    let last = sighting.tags.entry(tag).or_insert(at);
                    *last = at.max(*last);
                }
                let at = Some(at);
                match event.what {
                    EventKind::Named | EventKind::Pulled | EventKind::Loaded => {
                        sighting.last_named = sighting.last_named.max(at);
                    }
                    EventKind::Used => sighting.last_used = sighting.last_used.max(at),
                }
            }
        }
        for (id, at) in evidence::asked_by_digest(seen, &names, when) {
            if let Some(sighting) = images.get_mut(id) {
                sighting.asked_by_digest = sighting.asked_by_digest.max(Some(at));
            }
        }
        for id in evidence::built_on(self, seen) {
            if let Some(sighting) = images.get_mut(id) {
                sighting.built_on = Some(now);
            }
        }
        for (id, tags) in evidence::may_have_carried(self, seen) {
            if let Some(sighting) = images.get_mut(id) {
                sighting.may_have_had(tags, now);
            }
        }
        names::fade(&mut images, seen, names::Limits::USUAL);
        let gone = names::gone(self, &images, now);
        Self {
            format: FORMAT,
            engine: seen.engine.key(),
            clock: Some(clock::remembered(self.clock.as_ref(), reading)),
            losses_unknown_since: None,
            images,
            standing: self.standing.clone(),
            held_locks: BTreeMap::new(),
            gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::clock::Clock;
    use crate::model::text::Untrusted;
    use crate::testing::{at, clock, id, image, inventory, tagged};

    fn look(ledger: &Ledger, seen: &Inventory) -> Ledger {
        ledger.observe(seen, &clock(0, 0, "a"), TimeDelta::zero())
    }

    #[test]
    fn the_first_sight_and_the_last_tag_are_remembered() {
        let mut host = inventory([tagged(1, "app:1")]);
        let first = look(&Ledger::empty("e"), &host);
        host.taken_at = at(10);
        let tagless = inventory([image(1)]);
        let second = look(
            &first,
            &Inventory {
                taken_at: at(10),
                ..tagless
            },
        );
        let seen = second.sighting(&id(1)).unwrap();
        assert_eq!(seen.first_seen, at(0));
        assert_eq!(seen.tags.values().copied().max(), Some(at(0)));
    }

    #[test]
    fn what_was_wanted_at_the_last_look_was_so_up_to_this_one_and_no_longer() {
        let mut wanted = inventory([tagged(1, "app:1"), image(2)]);
        wanted.containers.push(crate::model::Container {
            id: Untrusted::new("c"),
            name: Untrusted::new("c"),
            image: Untrusted::new(id(2).as_str()),
            image_ids: vec![],
            state: Untrusted::new("running"),
            image_mounts: vec![],
        });
        let later = |seconds| Inventory {
            taken_at: at(seconds),
            ..inventory([image(1), image(2)])
        };
        let ledger = look(&Ledger::empty("e"), &wanted);
        for seconds in [100, 200] {
            let after = look(&look(&ledger, &later(100)), &later(seconds));
            assert_eq!(after.sighting(&id(1)).unwrap().last_tagged(), Some(at(100)));
            assert_eq!(after.sighting(&id(2)).unwrap().last_used, Some(at(100)));
        }
    }

    #[test]
    fn a_tag_that_went_is_remembered_until_it_is_back() {
        let tag = "app:1".parse().unwrap();
        let at_moment = |seconds, images: Vec<crate::model::Image>| Inventory {
            taken_at: at(seconds),
            ..inventory(images)
        };
        let first = look(&Ledger::empty("e"), &at_moment(0, vec![tagged(1, "app:1")]));
        assert_eq!(first.gone(&tag), None);
        let second = look(&first, &at_moment(10, vec![]));
        let third = look(&second, &at_moment(20, vec![]));
        assert_eq!(
            (second.gone(&tag), third.gone(&tag)),
            (Some(at(0)), Some(at(0)))
        );
        let back = look(&third, &at_moment(30, vec![tagged(2, "app:1")]));
        assert_eq!(back.gone(&tag), None);
    }

    #[test]
    fn a_tag_that_came_and_moved_on_between_two_looks_is_remembered() {
        let first = look(&Ledger::empty("e"), &inventory([tagged(1, "app:1")]));
        let mut host = Inventory {
            taken_at: at(100),
            ..inventory([image(1), image(2), tagged(3, "app:1")])
        };
        host.events.push(Event {
            at: at(50),
            image: Untrusted::new(id(2).as_str()),
            what: EventKind::Named,
            tag: Some(Untrusted::new("app:1")),
        });
        let second = look(&first, &host);
        let tag = "app:1".parse().unwrap();
        let last = |n| second.sighting(&id(n)).unwrap().tags.get(&tag).copied();
        assert_eq!(last(1), Some(at(0)));
        assert_eq!(last(2), Some(at(50)), "the newer rollback");
    }

    #[test]
    fn a_jump_of_the_clock_makes_no_event_older() {
        let ledger = look(&Ledger::empty("e"), &inventory([image(1)]));
        let jump = TimeDelta::days(10);
        let mut jumped = Inventory {
            taken_at: at(60) + jump,
            ..inventory([image(1)])
        };
        jumped.events.push(Event {
            at: at(50),
            image: Untrusted::new(id(1).as_str()),
            what: EventKind::Used,
            tag: None,
        });
        let after = ledger.observe(&jumped, &clock(0, 0, "a"), jump);
        let seen = after.sighting(&id(1)).unwrap();
        assert_eq!(seen.last_used, Some(at(50) + jump));
        assert_eq!(seen.first_seen, at(0) + jump);
    }

    #[test]
    fn an_image_that_was_gone_for_one_look_is_new_again() {
        let host = inventory([image(1)]);
        let gone = Inventory {
            taken_at: at(10),
            ..inventory([])
        };
        let back = Inventory {
            taken_at: at(20),
            ..inventory([image(1)])
        };
        let ledger = look(&look(&look(&Ledger::empty("e"), &host), &gone), &back);
        assert_eq!(ledger.sighting(&id(1)).unwrap().first_seen, at(20));
    }

    #[test]
    fn an_event_for_a_name_that_moved_counts_for_the_image_that_carried_it() {
        let ledger = look(&Ledger::empty("e"), &inventory([tagged(1, "app:1")]));
        let mut moved = Inventory {
            taken_at: at(100),
            ..inventory([image(1), tagged(2, "app:1")])
        };
        moved.events.push(Event {
            at: at(50),
            image: Untrusted::new("app:1"),
            what: EventKind::Used,
            tag: None,
        });
        let after = look(&ledger, &moved);
        assert_eq!(after.sighting(&id(1)).unwrap().last_used, Some(at(50)));
        assert_eq!(after.sighting(&id(2)).unwrap().last_used, Some(at(50)));
    }

    #[test]
    fn a_service_that_names_its_tag_every_hour_keeps_no_image_that_lost_it_long_ago() {
        let first = inventory([tagged(1, "app:1")]);
        let mut ledger = look(&Ledger::empty("e"), &first);
        for hour in 1..50 {
            let mut host = Inventory {
                taken_at: at(hour * 3600),
                ..inventory([image(1), tagged(2, "app:1")])
            };
            host.events.push(Event {
                at: at(hour * 3600 - 60),
                image: Untrusted::new("app:1"),
                what: EventKind::Used,
                tag: None,
            });
            ledger = look(&ledger, &host);
        }
        let used = |n| ledger.sighting(&id(n)).unwrap().last_used;
        assert_eq!(used(1), Some(at(3600 - 60)));
        assert_eq!(used(2), Some(at(49 * 3600 - 60)));
    }

    #[test]
    fn what_a_container_mounts_by_a_name_that_moved_is_in_use() {
        let ledger = look(&Ledger::empty("e"), &inventory([tagged(1, "app:1")]));
        let mut moved = Inventory {
            taken_at: at(100),
            ..inventory([image(1), tagged(2, "app:1"), image(3)])
        };
        moved.containers.push(Container {
            id: Untrusted::new("c"),
            name: Untrusted::new("web"),
            image: Untrusted::new("base:1"),
            image_ids: Vec::new(),
            state: Untrusted::new("running"),
            image_mounts: vec![Untrusted::new("app:1")],
        });
        let found: Vec<_> = ledger.mounted_once(&moved);
        assert_eq!(found, [(&id(1), &moved.containers[0])]);
        let after = look(&ledger, &moved);
        assert_eq!(after.sighting(&id(1)).unwrap().last_used, Some(at(100)));
        assert_eq!(after.sighting(&id(3)).unwrap().last_used, None);
    }

    #[test]
    fn a_shift_makes_every_date_younger_and_none_lies_in_the_future() {
        let ledger = look(&Ledger::empty("e"), &inventory([tagged(1, "app:1")]));
        let later = Inventory {
            taken_at: at(100),
            ..inventory([image(1)])
        };
        let shifted = ledger.observe(&later, &clock(100, 0, "a"), TimeDelta::seconds(60));
        assert_eq!(shifted.sighting(&id(1)).unwrap().first_seen, at(60));
        let back = Inventory {
            taken_at: at(-500),
            ..inventory([image(1)])
        };
        let clamped = ledger.observe(&back, &clock(-500, 0, "a"), TimeDelta::zero());
        assert_eq!(clamped.sighting(&id(1)).unwrap().first_seen, at(-500));
    }

    #[test]
    fn a_ledger_reads_back_what_it_wrote_and_nothing_else() {
        let ledger = look(&Ledger::empty("e"), &inventory([tagged(1, "app:1")]));
        let key = inventory([]).engine.key();
        let bytes = ledger.to_json().unwrap();
        assert_eq!(Ledger::from_json(&bytes, &key), Ok(ledger));
        assert!(matches!(
            Ledger::from_json(b"", &key),
            Err(Unusable::Corrupt(_))
        ));
        assert!(matches!(
            Ledger::from_json(&bytes[..bytes.len() / 2], &key),
            Err(Unusable::Corrupt(_))
        ));
        assert!(matches!(
            Ledger::from_json(b"{\"format\":3}", &key),
            Err(Unusable::Newer(3))
        ));
        assert!(matches!(
            Ledger::from_json(&bytes, "another/graphdriver"),
            Err(Unusable::OtherEngine(_))
        ));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]
        /// However the wall clock is set, and whatever the host slept: an age
        /// that is believed is one that passed. What is tolerated at each look
        /// is a clock that was a little late.
        #[test]
        fn no_jump_of_the_clock_adds_age(
            steps in proptest::collection::vec((0..1_000_000_u64, jump()), 1..20),
        ) {
            let mut ledger = Ledger::empty("e");
            let (mut passed, mut set, mut jumped) = (0_u64, 0_i64, false);
            for (looks, (wait, jump)) in (0_i64..).zip(steps) {
                // Nobody had seen it before the first look.
                passed += if looks == 0 { 0 } else { wait };
                set += jump;
                jumped |= jump != 0 && looks > 0;
                let true_age = i64::try_from(passed).unwrap();
                let wall = true_age + set;
                let now = clock(wall, passed, "a");
                let doubt = Clock::between(ledger.clock(), &now);
                let shift = match &doubt {
                    Clock::Sound => TimeDelta::zero(),
                    Clock::Doubtful { shift, .. } => *shift,
                };
                let host = Inventory { taken_at: at(wall), ..inventory([image(1)]) };
                ledger = ledger.observe(&host, &now, shift);
                let age = at(wall) - ledger.sighting(&id(1)).unwrap().first_seen;
                if doubt == Clock::Sound {
                    proptest::prop_assert!(age.num_seconds() <= true_age + 300 * looks);
                }
                if !jumped && wall > 0 {
                    proptest::prop_assert_eq!(age.num_seconds(), true_age, "and none is lost");
                }
            }
        }
    }

    /// Seconds that somebody sets the clock by: mostly none.
    fn jump() -> impl proptest::strategy::Strategy<Value = i64> {
        const TEN_YEARS: i64 = 315_360_000;
        proptest::prop_oneof![
            4 => proptest::strategy::Just(0),
            1 => -400..400_i64,
            1 => -TEN_YEARS..TEN_YEARS,
        ]
    }

    #[test]
    fn no_damage_to_a_ledger_is_taken_for_a_ledger() {
        let ledger = look(&Ledger::empty("e"), &inventory([tagged(1, "app:1")]));
        let key = inventory([]).engine.key();
        let bytes = ledger.to_json().unwrap();
        for place in 0..bytes.len() - 1 {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[place] ^= 1 << bit;
                // The name of the checksum itself, or blanks: nothing else.
                if let Ok(read) = Ledger::from_json(&damaged, &key) {
                    assert_eq!(read, ledger, "{}", String::from_utf8_lossy(&damaged));
                }
            }
        }
        // An older date in an image's place, as no disk would make it.
        let text = String::from_utf8(bytes).unwrap();
        let older = text.replacen("\"first_seen\":\"2", "\"first_seen\":\"1", 1);
        assert_ne!(text, older);
        assert!(matches!(
            Ledger::from_json(older.as_bytes(), &key),
            Err(Unusable::Corrupt(_))
        ));
    }

    #[test]
    fn of_the_tags_that_an_image_may_have_had_the_newest_are_remembered() {
        let load = |n| Event {
            at: at(50),
            image: Untrusted::new(id(n).as_str()),
            what: EventKind::Loaded,
            tag: None,
        };
        let with = |name: &str, second| {
            let mut new = image(2);
            let tags = (0..=evidence::PERHAPS).map(|n| format!("{name}:{n:03}"));
            new.tags = tags.map(|tag| tag.parse().unwrap()).collect();
            Inventory {
                taken_at: at(second),
                events: vec![load(1), load(2)],
                ..inventory([image(1), new])
            }
        };
        let first = look(&Ledger::empty("e"), &with("app", 100));
        let names = |ledger: &Ledger, name: &str| {
            let perhaps = &ledger.sighting(&id(1)).unwrap().perhaps;
            let is = |tag: &&Reference| tag.path().ends_with(name);
            perhaps.keys().filter(is).count()
        };
        assert_eq!(names(&first, "app"), evidence::PERHAPS);
        let second = look(&first, &with("web", 200));
        assert_eq!(names(&second, "app"), 0);
        assert_eq!(names(&second, "web"), evidence::PERHAPS);
    }

    #[test]
    fn a_ledger_from_before_knows_nobody_who_asked_by_digest() {
        let json = r#"{"first_seen":"2027-01-15T08:00:00Z","last_named":null}"#;
        let seen: Sighting = serde_json::from_str(json).unwrap();
        assert_eq!(seen, Sighting::new(at(0)));
    }

    #[test]
    fn locks_that_an_older_secateur_saw_held_are_held_since_then() {
        let old = br#"{"format":1,"engine":"e","clock":null,"images":{},"held_locks":{"/l":"2026-03-01T00:00:00Z"}}"#;
        let ledger = Ledger::from_json(old, "e").unwrap();
        let since = ledger.standing().get("deploy-lock flock /l").copied();
        assert_eq!(since, "2026-03-01T00:00:00Z".parse().ok());
        let bytes = ledger.to_json().unwrap();
        assert_eq!(Ledger::from_json(&bytes, "e"), Ok(ledger));
    }
}
