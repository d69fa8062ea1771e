//! Whether the engine lists a promised image under its name, and as it was recorded.

use std::collections::BTreeMap;

use crate::model::{Image, ImageId, Incomplete};

use crate::cache::check::{Check, Kind, Status};
use crate::cache::checks::current::short;
use crate::cache::checks::gone::{Past, describe};
use crate::cache::checks::whole::verdict::only_for;
use crate::cache::promise::{Promise, Wanted};
use crate::engine::{Completeness, Platform, StoredContent};

/// What is missing of an image that the engine lists. Texts are fit to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lacks {
    /// Everything of the platform that a deploy would use; another platform is complete.
    Platform(String),
    /// A part of that platform, or all of it while no other platform is complete either. The
    /// image cannot run, and was not pulled for another platform.
    Part(String),
}

impl Lacks {
    /// `wanted`: the platform that the engine pulls by default. An image that was never made for
    /// it lacks nothing: it runs by emulation.
    pub fn of(held: &StoredContent, wanted: &Platform) -> Option<Self> {
        match held.completeness(wanted)? {
            Completeness::All => None,
            Completeness::Part => Some(Self::Part(format!("not all of {wanted} is here"))),
            Completeness::Nothing => {
                let here: Vec<String> = held.whole().map(Platform::to_string).collect();
                Some(if here.is_empty() {
                    Self::Part(format!("nothing of {wanted} is here"))
                } else {
                    Self::Platform(only_for(&here.join(", "), &wanted.to_string()))
                })
            }
        }
    }
}

/// `lacks`: what the promised image lacks.
pub fn check(
    promise: &Promise,
    here: &BTreeMap<ImageId, Image>,
    past: &Past,
    lacks: Option<Lacks>,
) -> Check {
    let check = by_name(promise, here, past);
    match lacks {
        Some(Lacks::Platform(why) | Lacks::Part(why)) if check.status == Status::Ok => {
            let message = format!("{}; {why}", check.message);
            Check::new(Kind::Present, Status::Unknown, message)
        }
        _ => check,
    }
}

fn by_name(promise: &Promise, here: &BTreeMap<ImageId, Image>, past: &Past) -> Check {
    let answer = |status, message: String| Check::new(Kind::Present, status, message);
    let Some(image) = promise.wanted.find(here) else {
        return answer(Status::Broken, describe(promise, past));
    };
    // Only keep rules need labels: an image without some of its labels still has all of its
    // content.
    if let Some(Incomplete::Odd(why)) = &image.incomplete {
        return answer(
            Status::Unknown,
            format!("its content may not be here: {why}"),
        );
    }
    let (Some(recorded), Wanted::Name(name)) = (&promise.recorded, &promise.wanted) else {
        return answer(Status::Ok, format!("image {}", image.id.short()));
    };
    let was = match (&recorded.id, recorded.digests.first()) {
        (Some(id), _) => id.short(),
        (None, Some(digest)) => short(digest),
        (None, None) => {
            let why = "it was recorded on another engine or store without a digest: whether it is the same image cannot be told";
            return answer(Status::Unknown, why.into());
        }
    };
    let repository = name.repository();
    let is_recorded = |image: &Image| recorded.matches(image, &repository);
    if is_recorded(image) {
        return answer(
            Status::Ok,
            format!("image {}, as recorded", image.id.short()),
        );
    }
    if here.values().any(is_recorded) {
        return answer(
            Status::Moved,
            format!(
                "the name leads to image {} now; the recorded one, {was}, is still here",
                image.id.short()
            ),
        );
    }
    answer(
        Status::Broken,
        format!(
            "the recorded image {was} is {}; the name leads to image {} now",
            describe(promise, past),
            image.id.short()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::promise::baseline::Baseline;
    use crate::cache::promise::{Sources, promises};
    use crate::memory::ledger::Ledger;
    use crate::model::Inventory;
    use crate::testing::{at, image, inventory, tagged};

    fn statuses(before: Vec<Image>, now: Vec<Image>) -> Vec<Status> {
        let (before, now) = (inventory(before), inventory(now));
        let baseline = Baseline::of(&before.engine, &before.images, at(0), None, &[].into());
        let checks = checks(&baseline, &now).into_iter();
        checks.map(|check| check.status).collect()
    }

    /// The checks of all promises of this baseline.
    fn checks(baseline: &Baseline, now: &Inventory) -> Vec<Check> {
        let policy = crate::policy::Policy::parse("[age]\nmin_age = \"1d\"", "test").unwrap();
        let past = Past::new(Ledger::empty("E"), &[]);
        let sources = Sources {
            baseline: Some(baseline),
            ..Sources::of(&policy)
        };
        let promises = promises(&sources, &now.images).unwrap();
        let promises = promises.iter();
        promises
            .map(|promise| check(promise, &now.images, &past, None))
            .collect()
    }

    #[test]
    fn what_is_as_recorded_is_ok_and_what_is_gone_is_broken() {
        assert_eq!(
            statuses(vec![tagged(1, "app:1")], vec![tagged(1, "app:1")]),
            [Status::Ok]
        );
        assert_eq!(statuses(vec![tagged(1, "app:1")], vec![]), [Status::Broken]);
        assert_eq!(
            statuses(vec![tagged(1, "app:1")], vec![image(1)]),
            [Status::Broken],
            "its name is gone"
        );
    }

    #[test]
    fn a_tag_that_went_on_is_moved_while_the_old_image_is_here() {
        let now = vec![tagged(2, "app:1"), image(1)];
        assert_eq!(statuses(vec![tagged(1, "app:1")], now), [Status::Moved]);
        assert_eq!(
            statuses(vec![tagged(1, "app:1")], vec![tagged(2, "app:1")]),
            [Status::Broken]
        );
    }

    #[test]
    fn more_labels_than_are_read_are_no_lack_of_content() {
        let mut many = tagged(1, "app:1");
        many.incomplete = Some(Incomplete::MoreLabels);
        assert_eq!(statuses(vec![tagged(1, "app:1")], vec![many]), [Status::Ok]);
    }

    #[test]
    fn what_was_recorded_elsewhere_without_a_digest_cannot_be_compared() {
        let (before, now) = (
            inventory([tagged(1, "app:1")]),
            inventory([tagged(1, "app:1")]),
        );
        let mut elsewhere = now.engine.clone();
        elsewhere.id = crate::model::text::Untrusted::new("another");
        let baseline = Baseline::of(&elsewhere, &before.images, at(0), None, &[].into());
        let (baseline, note) = baseline.for_engine(&now.engine);
        assert!(note.is_some());
        let check = &checks(&baseline, &now)[0];
        assert_eq!(check.status, Status::Unknown, "{}", check.message);
    }

    #[test]
    fn what_the_engine_lists_oddly_is_unknown() {
        let mut odd = tagged(1, "app:1");
        odd.incomplete = Some(Incomplete::Odd("the engine lists it as sha256:x".into()));
        assert_eq!(
            statuses(vec![tagged(1, "app:1")], vec![odd]),
            [Status::Unknown]
        );
    }
}
