//! On which days each name ran here. No removal depends on it; verify-cache promises by it
//! (`cache.recent`).

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Days as Span, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::model::names::Names;
use crate::model::reference::{Reference, read_as_id};
use crate::model::{Container, Event, EventKind, Image, ImageId};

/// Names that are remembered, the most recently used: 400 KB at most.
const MOST: usize = 1000;

/// States of a running container.
const RUNS: [&str; 4] = ["running", "paused", "restarting", "stopping"];

/// The days on which each name ran.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uses(BTreeMap<Reference, Days>);

/// How a name was used within some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    pub name: Reference,
    /// On how many days.
    pub days: u32,
    pub last: NaiveDate,
}

impl Uses {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what runs now and what ran by the events. `here`: the images that the containers
    /// were listed with.
    #[must_use]
    pub fn and(
        mut self,
        containers: &[Container],
        events: &[Event],
        here: &BTreeMap<ImageId, Image>,
        now: DateTime<Utc>,
    ) -> Self {
        let names = Names::of(here.values());
        for container in containers {
            if RUNS.contains(&container.state.raw()) {
                let mounts = container.image_mounts.iter();
                for text in std::iter::once(&container.image).chain(mounts) {
                    self.used(text.raw(), now, &names, here);
                }
            }
        }
        for event in events {
            match event.what {
                EventKind::Ran => {
                    self.used(event.image.raw(), event.at.min(now), &names, here);
                }
                EventKind::Named | EventKind::Pulled | EventKind::Loaded | EventKind::Used => {}
            }
        }
        self.settle(now);
        self
    }

    /// Names used within this time: those used on most days first, then the last used, then by
    /// name.
    pub fn within(&self, time: TimeDelta, now: DateTime<Utc>) -> Vec<Use> {
        let first = now.checked_sub_signed(time);
        let first = first.map_or(NaiveDate::MIN, |first| first.date_naive());
        let mut found: Vec<Use> = self
            .0
            .iter()
            .map(|(name, days)| Use {
                name: name.clone(),
                days: days.since(first),
                last: days.last,
            })
            .filter(|used| used.days > 0)
            .collect();
        found.sort_by(|a, b| (b.days, b.last, &a.name).cmp(&(a.days, a.last, &b.name)));
        found
    }

    /// Moves all dates forward, after a jump of the clock.
    pub(super) fn shift(&mut self, by: TimeDelta) {
        let days = u64::try_from(by.num_days()).unwrap_or(0);
        for used in self.0.values_mut() {
            let moved = used.last.checked_add_days(Span::new(days));
            used.last = moved.unwrap_or(used.last);
        }
    }

    pub(super) fn join(&mut self, other: &Self) {
        for (name, days) in &other.0 {
            let mine = self.0.entry(name.clone()).or_insert(*days);
            mine.join(*days);
        }
    }

    fn used(
        &mut self,
        text: &str,
        at: DateTime<Utc>,
        names: &Names<'_>,
        here: &BTreeMap<ImageId, Image>,
    ) {
        for name in names_of(text, names, here) {
            let day = Days::of(at.date_naive());
            self.0.entry(name).or_insert(day).join(day);
        }
    }

    /// Counts days in the future as today, and drops old days and names beyond [`MOST`].
    fn settle(&mut self, now: DateTime<Utc>) {
        let today = now.date_naive();
        self.0.values_mut().for_each(|days| days.until(today));
        self.0
            .retain(|_, days| (today - days.last).num_days() < i64::from(u128::BITS));
        if self.0.len() > MOST {
            let mut all: Vec<_> = self.0.iter().collect();
            all.sort_by_key(|(name, days)| {
                let count = days.bits.count_ones();
                std::cmp::Reverse((days.last, count, std::cmp::Reverse(*name)))
            });
            let kept = all.into_iter().take(MOST);
            self.0 = kept.map(|(name, days)| (name.clone(), *days)).collect();
        }
    }
}

/// The names under which a container's image may be asked for again. Where it was named by an
/// id, or its name leads to another image now, those are the image's tags; its digests may be
/// pruned, because nobody asked by them.
fn names_of(text: &str, names: &Names<'_>, here: &BTreeMap<ImageId, Image>) -> Vec<Reference> {
    let images: Vec<&Image> = names
        .resolve(text)
        .into_iter()
        .filter_map(|id| here.get(id))
        .collect();
    let name = text.parse::<Reference>().ok();
    let name = name.filter(|name| read_as_id(text).is_none() && !name.is_ours());
    if let Some(name) = name {
        let is_its = |image: &&Image| image.tags.contains(&name) || name.is_digest();
        let may_be_id = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if images.iter().any(is_its) || (images.is_empty() && !may_be_id) {
            return vec![name];
        }
    }
    let tags = images.into_iter().flat_map(|image| &image.tags);
    tags.cloned().collect()
}

/// Some of the 128 days that end with `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Days {
    last: NaiveDate,
    /// The lowest bit is `last`, the next one the day before. Never 0.
    bits: u128,
}

impl Days {
    fn of(day: NaiveDate) -> Self {
        Self { last: day, bits: 1 }
    }

    fn join(&mut self, other: Self) {
        let (newer, older) = if self.last >= other.last {
            (*self, other)
        } else {
            (other, *self)
        };
        let between = newer.last.num_days_from_ce() - older.last.num_days_from_ce();
        let older = older.bits.checked_shl(between.unsigned_abs()).unwrap_or(0);
        *self = Self {
            last: newer.last,
            bits: newer.bits | older,
        };
    }

    /// Days in the future came from a wrong clock, and count as today.
    fn until(&mut self, today: NaiveDate) {
        let over = self.last.num_days_from_ce() - today.num_days_from_ce();
        if over > 0 {
            let before = self.bits.checked_shr(over.unsigned_abs()).unwrap_or(0);
            *self = Self {
                last: today,
                bits: before | 1,
            };
        }
    }

    /// How many of them are `first` or later.
    fn since(self, first: NaiveDate) -> u32 {
        let days = self.last.num_days_from_ce() - first.num_days_from_ce() + 1;
        match u32::try_from(days) {
            Err(_) | Ok(0) => 0,
            Ok(days) if days >= u128::BITS => self.bits.count_ones(),
            Ok(days) => (self.bits & ((1 << days) - 1)).count_ones(),
        }
    }
}

impl From<Days> for String {
    fn from(days: Days) -> Self {
        format!("{} {:x}", days.last, days.bits)
    }
}

impl TryFrom<String> for Days {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let read = || {
            let (last, bits) = text.split_once(' ')?;
            let bits = u128::from_str_radix(bits, 16).ok()?;
            let last = last.parse().ok()?;
            (bits > 0).then_some(Self { last, bits })
        };
        read().ok_or_else(|| "no date and days before it, in hex".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::text::Untrusted;
    use crate::testing::{at, digest, id, inventory, pinned, tagged};

    const DAY: i64 = 86_400;

    fn container(image: &str, state: &str) -> Container {
        Container {
            id: Untrusted::new("c"),
            name: Untrusted::new("web"),
            image: Untrusted::new(image),
            image_ids: Vec::new(),
            state: Untrusted::new(state),
            image_mounts: Vec::new(),
        }
    }

    fn ran(image: &str, second: i64) -> Event {
        Event {
            at: at(second),
            image: Untrusted::new(image),
            what: EventKind::Ran,
            tag: None,
        }
    }

    /// Names with their days within so many days before `at(now)`.
    fn within(uses: &Uses, days: i64, now: i64) -> Vec<(String, u32)> {
        let found = uses.within(TimeDelta::days(days), at(now)).into_iter();
        found.map(|it| (it.name.familiar(), it.days)).collect()
    }

    fn named(name: &str, days: u32) -> (String, u32) {
        (name.to_owned(), days)
    }

    #[test]
    fn what_runs_counts_by_days_and_most_days_come_first() {
        let here = inventory([tagged(1, "app:1"), tagged(2, "db:1")]).images;
        let mut uses = Uses::default();
        for day in 0..20 {
            let mut running = vec![container("app:1", "running"), container("web:9", "exited")];
            if day % 3 == 0 {
                running.push(container("db:1", "paused"));
            }
            // Twice on the same day is once.
            for hour in [0, 3600] {
                uses = uses.and(&running, &[], &here, at(day * DAY + hour));
            }
        }
        let now = 19 * DAY;
        assert_eq!(
            within(&uses, 100, now),
            [named("app:1", 20), named("db:1", 7)]
        );
        assert_eq!(within(&uses, 1, now), [named("app:1", 2), named("db:1", 1)]);
        assert_eq!(within(&uses, 1, now + DAY), [named("app:1", 1)]);
        assert_eq!(within(&uses, 1, now + 2 * DAY), []);
        let text = serde_json::to_string(&uses).unwrap();
        assert_eq!(serde_json::from_str::<Uses>(&text).unwrap(), uses);
        assert!(text.len() < 150, "{text}");
    }

    #[test]
    fn events_fill_the_gaps_and_only_those_of_a_run_do() {
        let here = inventory([tagged(1, "app:1")]).images;
        let made = Event {
            what: EventKind::Used,
            ..ran("made:1", 0)
        };
        let events = [
            ran("app:1", 0),
            ran("gone:1", -DAY),
            made,
            ran("app:1", 5 * DAY),
        ];
        let uses = Uses::default().and(&[], &events, &here, at(DAY));
        // A date in the future counts as now.
        assert_eq!(
            within(&uses, 9, DAY),
            [named("app:1", 2), named("gone:1", 1)]
        );
    }

    #[test]
    fn an_id_means_the_tags_of_its_image_and_a_digest_only_itself() {
        let here = inventory([tagged(1, "app:1"), pinned(2, "r.example/db")]).images;
        let names = |text: &str| {
            let events = [ran(text, 0)];
            within(&Uses::default().and(&[], &events, &here, at(0)), 1, 0)
        };
        assert_eq!(names(id(1).as_str()), [named("app:1", 1)]);
        assert_eq!(names(id(1).short()), [named("app:1", 1)]);
        assert_eq!(names(id(2).as_str()), []);
        assert_eq!(names("0123"), [], "gone, and perhaps no name");
        let pin = digest("r.example/db", 1002);
        assert_eq!(names(&pin.to_string()), [named(&pin.familiar(), 1)]);
        assert_eq!(names("secateur.invalid/remove:0123456789ab"), []);
    }

    #[test]
    fn the_names_used_last_are_remembered_and_those_of_long_ago_are_not() {
        let name = |n: usize| format!("app:{n:05}");
        let events: Vec<Event> = (0..MOST + 10)
            .map(|n| ran(&name(n), i64::try_from(n).unwrap() * 3600))
            .collect();
        let now = at(i64::try_from(MOST + 10).unwrap() * 3600);
        let uses = Uses::default().and(&[], &events, &BTreeMap::new(), now);
        assert_eq!(uses.0.len(), MOST);
        assert!(uses.0.contains_key(&name(MOST + 9).parse().unwrap()));
        // Those of the first day, on which 16 ran.
        let first = (0..16).filter(|n| uses.0.contains_key(&name(*n).parse().unwrap()));
        assert_eq!(first.count(), 6);
        let later = uses.and(&[], &[], &BTreeMap::new(), now + TimeDelta::days(128));
        assert!(later.is_empty());
    }

    #[test]
    fn a_clock_that_is_set_loses_no_day_of_use_and_makes_none_of_the_future() {
        let here = inventory([tagged(1, "app:1")]).images;
        let running = [container("app:1", "running")];
        let mut uses = Uses::default().and(&running, &[], &here, at(0));
        uses.shift(TimeDelta::days(3650));
        let uses = uses.and(&[], &[], &here, at(3650 * DAY));
        assert_eq!(within(&uses, 1, 3650 * DAY), [named("app:1", 1)]);
        let back = uses.and(&[], &[], &here, at(0));
        let last = back.within(TimeDelta::days(1), at(0)).remove(0).last;
        assert_eq!(last, at(0).date_naive());
    }

    #[test]
    fn two_memories_join_and_what_is_no_list_of_days_does_not_read() {
        let here = BTreeMap::new();
        let one = Uses::default().and(&[], &[ran("a:1", 0), ran("b:1", 0)], &here, at(0));
        let mut other = Uses::default().and(&[], &[ran("a:1", DAY)], &here, at(DAY));
        other.join(&one);
        assert_eq!(within(&other, 9, DAY), [named("a:1", 2), named("b:1", 1)]);
        for text in [
            "",
            "2026-11-29",
            "2026-11-29 0",
            "2026-11-29 x",
            "2026-13-01 1",
        ] {
            Days::try_from(text.to_owned()).unwrap_err();
        }
    }
}
