//! Adds one survey of a host to the ledger.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::memory::clock;
use crate::memory::ledger::last_names::LastNames;
use crate::memory::ledger::sighting::Sighting;
use crate::memory::ledger::stored::{Away, FORMAT, Jumped, Ledger};
use crate::memory::ledger::{evidence, forget};
use crate::model::conditions::ClockReading;
use crate::model::names::{Names, users};
use crate::model::reference::Reference;
use crate::model::{Container, Event, EventKind, Image, ImageId, Inventory};

/// The newest tags without an image of which the last image is remembered.
const LED: usize = 250;

impl Ledger {
    /// Images that a container mounts by a name that they no longer have, each with that
    /// container. A mount keeps the image that had the name when the container was made. The
    /// engine lists only the name, and not every engine refuses to remove a mounted image.
    pub fn mounted_by_lost_name<'a>(
        &self,
        seen: &'a Inventory,
    ) -> Vec<(&'a ImageId, &'a Container)> {
        let mut found = Vec::new();
        for container in &seen.containers {
            let mounts = container.image_mounts.iter();
            let names: BTreeSet<Reference> =
                mounts.filter_map(|name| name.raw().parse().ok()).collect();
            // Most containers mount no image, and there may be many images.
            if names.is_empty() {
                continue;
            }
            let had = |(id, sighting): (&ImageId, &Sighting)| {
                let (id, image) = seen.images.get_key_value(id)?;
                let lost = |name: &Reference| sighting.had(name) && !image.tags.contains(name);
                names.iter().any(lost).then_some((id, container))
            };
            found.extend(self.images.iter().chain(&self.away.images).filter_map(had));
        }
        found
    }

    /// The ledger after one more survey. `shift` first moves all remembered dates forward (see
    /// [`crate::memory::clock::Clock::between`]), none of them past now.
    #[must_use]
    pub fn observe(&self, seen: &Inventory, reading: &ClockReading, shift: TimeDelta) -> Self {
        let now = seen.taken_at;
        let names = Names::of(seen.images.values());
        let in_use = users(seen);
        let mounted: BTreeSet<&ImageId> = self
            .mounted_by_lost_name(seen)
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        let moved = |at: DateTime<Utc>| at.checked_add_signed(shift).unwrap_or(now).min(now);
        let mut images: BTreeMap<ImageId, Sighting> = BTreeMap::new();
        for (id, image) in &seen.images {
            let mut sighting = self.known(image, now);
            sighting.each_date(moved);
            sighting
                .tags
                .extend(image.tags.iter().map(|tag| (tag.clone(), now)));
            // An image that was wanted at the last survey and is not now was wanted until some
            // moment in between. The engine keeps too few events to tell which, so the latest
            // possible moment counts.
            let tagged = !image.tags.is_empty();
            let used = in_use.contains_key(id) || mounted.contains(id);
            if sighting.tagged_then && !tagged {
                sighting.last_named = Some(now);
            }
            if sighting.used_then || used {
                sighting.last_used = Some(now);
            }
            (sighting.tagged_then, sighting.used_then) = (tagged, used);
            sighting.digests_then = digests_of(image);
            images.insert(id.clone(), sighting);
        }
        let then = LastNames::of(self);
        let last_survey = self.clock.as_ref().map(|clock| clock.wall);
        // The engine dated the event by the clock as it was before a jump.
        let when = |event: &Event| moved(event.at);
        for event in &seen.events {
            let text = event.image.raw();
            for id in names.resolve(text).into_iter().chain(then.resolve(text)) {
                let Some(sighting) = images.get_mut(id) else {
                    continue;
                };
                let at = when(event);
                // A tag that came and moved on between two surveys makes the image a rollback.
                if last_survey.is_none_or(|last| event.at > last)
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
                    EventKind::Used | EventKind::Ran => {
                        sighting.last_used = sighting.last_used.max(at);
                    }
                }
            }
        }
        for (id, at) in evidence::asked_by_digest(seen, &names, &then, when) {
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
        let mut uses = self.uses.clone();
        uses.shift(shift);
        let uses = uses.and(&seen.containers, &seen.events, &seen.images, now);
        forget::forget_names(&mut images, seen, forget::Limits::USUAL);
        let gone = forget::gone(self, &images, now);
        let led = |name: &Reference| Some((name.clone(), self.last_image(name)?));
        let gone_as = forget::newest(&gone, LED).filter_map(led).collect();
        Self {
            format: FORMAT,
            engine: seen.engine.key(),
            clock: Some(clock::remembered(self.clock.as_ref(), reading)),
            losses_unknown_since: None,
            jumped: self.jumped_by(shift, now),
            driver: seen.engine.driver.raw().to_owned(),
            images,
            away: self.away_from(seen, moved),
            causes_since: self.causes_since.clone(),
            held_locks: BTreeMap::new(),
            gone,
            gone_as,
            uses,
        }
    }
}

impl Ledger {
    /// What is known of an image that is here now.
    fn known(&self, image: &Image, now: DateTime<Utc>) -> Sighting {
        match (self.images.get(&image.id), self.away.images.get(&image.id)) {
            (Some(known), _) => known.clone(),
            // Whatever happened to it in the meantime is not known; somebody may have asked for
            // it by its digest.
            (None, Some(known)) => {
                let perhaps = image.tags.is_empty() && !image.digests.is_empty();
                Sighting {
                    first_seen: now,
                    asked_by_digest: known.asked_by_digest.max(perhaps.then_some(now)),
                    ..known.clone()
                }
            }
            (None, None) => Sighting::new(now),
        }
    }

    /// Images of the last survey, or else of an earlier one, that the engine may have again.
    fn away_from(&self, seen: &Inventory, moved: impl Fn(DateTime<Utc>) -> DateTime<Utc>) -> Away {
        let is_here = |id: &ImageId| seen.images.contains_key(id);
        let driver = seen.engine.driver.raw();
        let switched = !self.driver.is_empty() && self.driver != driver;
        let none_is_here = |images: &BTreeMap<ImageId, Sighting>| !images.keys().any(is_here);
        let mut away = if switched || none_is_here(&self.images) && !self.images.is_empty() {
            let before = if switched { &self.driver } else { driver };
            Away {
                driver: before.to_owned(),
                images: self.images.clone(),
            }
        } else if self.away.driver != driver || none_is_here(&self.away.images) {
            self.away.clone()
        } else {
            Away::default()
        };
        away.images.retain(|id, _| !is_here(id));
        for sighting in away.images.values_mut() {
            sighting.each_date(&moved);
        }
        away
    }

    fn jumped_by(&self, shift: TimeDelta, now: DateTime<Utc>) -> Option<Jumped> {
        if shift.is_zero() {
            return self.jumped.clone();
        }
        let before = self.jumped.as_ref().map_or(0, |before| before.milliseconds);
        Some(Jumped {
            seen_at: now,
            milliseconds: before.saturating_add(shift.num_milliseconds()),
        })
    }
}

/// The digests in its names except its id, which always means it.
fn digests_of(image: &Image) -> BTreeSet<String> {
    let digests = image.digests.iter().filter_map(Reference::digest);
    let others = digests.filter(|digest| *digest != image.id.as_str());
    others.map(str::to_owned).collect()
}
