//! How a ledger forgets names that are gone. Names on which no decision depends go first, then
//! names whose fingerprints are enough, and fingerprints last. Each step can only make an image
//! younger, or make it a rollback that it is not, so forgetting never removes an image that
//! would have stayed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::memory::ledger::sighting::Sighting;
use crate::memory::ledger::stored::Ledger;
use crate::memory::ledger::uses::Uses;
use crate::model::reference::Reference;
use crate::model::{ImageId, Inventory};

#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Names over all images, the newest: 2 MB at most.
    pub(super) names: usize,
    /// Names that images may have had, over all images: 5 MB at most.
    perhaps: usize,
    /// Fingerprints over all images: 1.6 MB.
    pub(super) prints: usize,
    /// Names that no image here has, for verify-cache: 400 KB at most.
    gone: usize,
}

impl Limits {
    pub(super) const USUAL: Self = Self {
        names: 4_000,
        perhaps: 10_000,
        prints: 200_000,
        gone: 1000,
    };
}

/// Forgets names that images here no longer have, where they are too many.
pub(super) fn forget_names(
    images: &mut BTreeMap<ImageId, Sighting>,
    seen: &Inventory,
    limits: Limits,
) {
    let carried = |id: &ImageId, name: &Reference| {
        let image = seen.images.get(id);
        image.is_some_and(|image| image.tags.contains(name))
    };
    let mut lost: Vec<(DateTime<Utc>, &ImageId, &Reference)> = Vec::new();
    for (id, sighting) in &*images {
        let tags = sighting.tags.iter().filter(|(name, _)| !carried(id, name));
        lost.extend(tags.map(|(name, at)| (*at, id, name)));
    }
    if let Some(too_many) = lost.len().checked_sub(limits.names + 1) {
        lost.select_nth_unstable(too_many);
        let mut fading: BTreeMap<ImageId, BTreeSet<Reference>> = BTreeMap::new();
        for (_, id, name) in &lost[..=too_many] {
            let names = fading.entry((*id).clone()).or_default();
            names.insert((*name).clone());
        }
        for (id, names) in fading {
            if let Some(sighting) = images.get_mut(&id) {
                sighting.forget(|name| names.contains(name));
            }
        }
    }
    let perhaps: usize = images.values().map(|image| image.perhaps.len()).sum();
    if perhaps > limits.perhaps {
        images.values_mut().for_each(Sighting::forget_perhaps);
    }
    limit_prints(images, limits);
}

/// Images with the most fingerprints lose them first, which frees most memory. Such an image
/// counts as one that may have had any name.
fn limit_prints(images: &mut BTreeMap<ImageId, Sighting>, limits: Limits) {
    let mut all: usize = images
        .values()
        .map(|image| image.fingerprints.count())
        .sum();
    if all <= limits.prints {
        return;
    }
    let mut most: Vec<&mut Sighting> = images.values_mut().collect();
    most.sort_by_key(|image| std::cmp::Reverse(image.fingerprints.count()));
    for image in most {
        if all <= limits.prints {
            return;
        }
        all -= image.fingerprints.count();
        image.fingerprints.becomes_any();
    }
}

impl Ledger {
    /// Keeps only a fingerprint of every name, for a file that would otherwise be too
    /// long to be read again.
    #[must_use]
    pub fn without_names(mut self) -> Self {
        self.gone = BTreeMap::new();
        self.gone_as = BTreeMap::new();
        self.uses = Uses::default();
        for images in [&mut self.images, &mut self.away.images] {
            for sighting in images.values_mut() {
                sighting.forget(|_| true);
                sighting.forget_perhaps();
            }
            limit_prints(images, Limits::USUAL);
        }
        self
    }

    /// Joins two ledgers of one engine, of which one continued after the other, because an
    /// older secateur knew only its own file. The images are those of the newer one.
    #[must_use]
    pub fn joined_with(self, other: Self) -> Self {
        let survey = |ledger: &Self| ledger.clock.as_ref().map(|clock| clock.wall);
        let (mut newer, older) = if survey(&self) >= survey(&other) {
            (self, other)
        } else {
            (other, self)
        };
        for (id, sighting) in &mut newer.images {
            if let Some(before) = older.images.get(id) {
                sighting.join(before);
            }
        }
        newer.uses.join(&older.uses);
        newer
    }
}

/// The newest of the names that no image here has.
pub(super) fn gone(
    before: &Ledger,
    images: &BTreeMap<ImageId, Sighting>,
    now: DateTime<Utc>,
) -> BTreeMap<Reference, DateTime<Utc>> {
    let tags = images.values().flat_map(|sighting| &sighting.tags);
    let here: BTreeSet<&Reference> = tags
        .filter(|(_, at)| **at == now)
        .map(|(name, _)| name)
        .collect();
    let lost = before.images.values().flat_map(|sighting| &sighting.tags);
    let mut gone: BTreeMap<&Reference, DateTime<Utc>> = BTreeMap::new();
    for (name, at) in before.gone.iter().chain(lost) {
        if !here.contains(name) {
            let newest = gone.entry(name).or_insert(*at);
            *newest = (*newest).max(*at).min(now);
        }
    }
    let mut newest: Vec<_> = gone.into_iter().collect();
    newest.sort_by(|a, b| (b.1, b.0).cmp(&(a.1, a.0)));
    newest.truncate(Limits::USUAL.gone);
    let newest = newest.into_iter();
    newest.map(|(name, at)| (name.clone(), at)).collect()
}

/// The `most` newest of these names, newest first.
pub(super) fn newest(
    gone: &BTreeMap<Reference, DateTime<Utc>>,
    most: usize,
) -> impl Iterator<Item = &Reference> {
    let mut all: Vec<_> = gone.iter().map(|(name, at)| (*at, name)).collect();
    all.sort_unstable_by(|a, b| b.cmp(a));
    all.into_iter().take(most).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Image;
    use crate::testing::{at, id, image, inventory, tagged};
    use proptest::prelude::*;

    const TIGHT: Limits = Limits {
        names: 3,
        perhaps: 3,
        prints: 4,
        gone: 3,
    };

    fn seen(image: &Image) -> Inventory {
        inventory([image.clone()])
    }

    fn names(sighting: &Sighting) -> Vec<String> {
        sighting.tags.keys().map(Reference::familiar).collect()
    }

    #[test]
    fn of_the_names_that_were_lost_the_newest_are_remembered_and_of_the_others_fingerprints() {
        let here = tagged(1, "always:here");
        let mut sighting = Sighting::new(at(0));
        let lost = (1..=5).map(|n| (format!("app:{n}").parse().unwrap(), at(n)));
        sighting.tags.extend(lost);
        sighting.tags.insert("always:here".parse().unwrap(), at(-1));
        let before = sighting.clone();
        let mut images = [(id(1), sighting)].into();
        forget_names(&mut images, &seen(&here), TIGHT);
        let after = &images[&id(1)];
        assert_eq!(names(after), ["always:here", "app:3", "app:4", "app:5"]);
        assert!(before.tags.keys().all(|name| after.had(name)));
        assert!(!after.had(&"app:6".parse().unwrap()));
        assert_eq!(after.last_named, Some(at(2)));
    }

    #[test]
    fn an_image_with_too_many_fingerprints_may_have_had_any_name() {
        let mut images = BTreeMap::new();
        for (n, count) in [(1, 2), (2, 5), (3, 2)] {
            let mut sighting = Sighting::new(at(0));
            for m in 0..count {
                sighting
                    .fingerprints
                    .add([&format!("app:{n}-{m}").parse().unwrap()]);
            }
            images.insert(id(n), sighting);
        }
        forget_names(&mut images, &inventory([]), TIGHT);
        let any: Vec<_> = images
            .values()
            .map(|image| image.fingerprints.is_any())
            .collect();
        assert_eq!(any, [false, true, false]);
    }

    fn history() -> impl Strategy<Value = Vec<Vec<(u64, u8)>>> {
        let survey = proptest::collection::vec((0_u64..4, 0_u8..12), 0..8);
        proptest::collection::vec(survey, 1..10)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]
        /// Whatever is forgotten, and when: an image still had each of its names, and was last
        /// wanted no earlier.
        #[test]
        fn forgetting_names_makes_no_image_older_and_loses_no_rollback(surveys in history()) {
            let (mut whole, mut short) = (BTreeMap::new(), BTreeMap::new());
            for (now, survey) in (0_i64..).zip(surveys) {
                let mut host = inventory((0..4).map(image));
                for (n, tag) in survey {
                    let name: Reference = format!("app:{tag}").parse().unwrap();
                    for image in host.images.values_mut() {
                        image.tags.remove(&name);
                    }
                    host.images.get_mut(&id(n)).unwrap().tags.insert(name);
                }
                for images in [&mut whole, &mut short] {
                    for (id, image) in &host.images {
                        let new = || Sighting::new(at(now));
                        let sighting = images.entry(id.clone()).or_insert_with(new);
                        let tags = image.tags.iter().map(|tag| (tag.clone(), at(now)));
                        sighting.tags.extend(tags);
                    }
                }
                forget_names(&mut short, &host, TIGHT);
                let counted: usize = short.values().map(|image| image.fingerprints.count()).sum();
                prop_assert!(counted <= TIGHT.prints);
                for (id, whole) in &whole {
                    let (whole, short): (&Sighting, &Sighting) = (whole, &short[id]);
                    prop_assert!(whole.tags.keys().all(|name| short.had(name)));
                    prop_assert!(short.last_tagged() >= whole.last_tagged());
                    let lost = short.tags.keys().filter(|tag| !host.images[id].tags.contains(*tag));
                    prop_assert!(lost.count() <= TIGHT.names);
                }
            }
        }
    }
}
