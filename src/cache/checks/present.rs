//! Whether a promised image is here, under its name and as it was recorded.
//! Decides from the engine's list alone; what became of a missing one is told
//! by [`crate::cache::checks::gone`].

use std::collections::BTreeMap;

use crate::model::{Image, ImageId, Incomplete};

use crate::cache::checks::gone::{Past, story};
use crate::cache::promise::{Promise, digests_in};
use crate::cache::{Check, Kind, Status};

/// The answer for one promise.
pub fn judge(promise: &Promise, here: &BTreeMap<ImageId, Image>, past: &Past) -> Check {
    let check = |status, message: String| Check::new(Kind::Present, status, message);
    let Some(image) = promise.wanted.find(here) else {
        return check(Status::Broken, story(promise, past));
    };
    // Its labels are for keep rules; they say nothing of its content.
    if let Some(Incomplete::Odd(why)) = &image.incomplete {
        return check(
            Status::Unknown,
            format!("its content may not be here: {why}"),
        );
    }
    let Some(recorded) = &promise.recorded else {
        return check(Status::Ok, format!("image {}", image.id.short()));
    };
    let crate::cache::promise::Wanted::Name(name) = &promise.wanted else {
        return check(Status::Ok, format!("image {}", image.id.short()));
    };
    let known = digests_in(image, &name.repository());
    let same_id = recorded.id.as_ref().is_some_and(|id| *id == image.id);
    let same_digest = recorded.digests.iter().any(|digest| known.contains(digest));
    if recorded.id.is_none() && recorded.digests.is_empty() {
        let why = "it was recorded on another engine or store without a digest: whether it is the same image cannot be told";
        return check(Status::Unknown, why.into());
    }
    if same_id || same_digest {
        return check(
            Status::Ok,
            format!("image {}, as recorded", image.id.short()),
        );
    }
    let old_is_here = |image: &Image| {
        let digests = digests_in(image, &name.repository());
        recorded.id.as_ref() == Some(&image.id)
            || recorded
                .digests
                .iter()
                .any(|digest| digests.contains(digest))
    };
    let was = recorded.id.as_ref().map(|id| id.short().to_owned());
    let was = was.or_else(|| {
        recorded
            .digests
            .first()
            .map(|digest| crate::cache::checks::current::short(digest).to_owned())
    });
    let was = was.unwrap_or_default();
    if here.values().any(old_is_here) {
        return check(
            Status::Moved,
            format!(
                "the name leads to image {} now; the recorded one, {was}, is still here",
                image.id.short()
            ),
        );
    }
    check(
        Status::Broken,
        format!(
            "the recorded image {was} is {}; the name leads to image {} now",
            story(promise, past),
            image.id.short()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::promise::baseline::Baseline;
    use crate::cache::promise::promises;
    use crate::memory::ledger::Ledger;
    use crate::testing::{at, image, inventory, tagged};

    fn judged(before: Vec<Image>, now: Vec<Image>) -> Vec<Status> {
        let (before, now) = (inventory(before), inventory(now));
        let baseline = Baseline::of(&before.engine, &before.images, at(0), None, &[].into());
        let policy = crate::policy::Policy::parse("[age]\nmin_age = \"1d\"", "test").unwrap();
        let past = Past {
            ledger: Ledger::empty("E"),
            journal: vec![],
        };
        let promises = promises(&[], &policy, Some(&baseline), &now.images).unwrap();
        promises
            .iter()
            .map(|promise| judge(promise, &now.images, &past).status)
            .collect()
    }

    #[test]
    fn what_is_as_recorded_is_ok_and_what_is_gone_is_broken() {
        assert_eq!(
            judged(vec![tagged(1, "app:1")], vec![tagged(1, "app:1")]),
            [Status::Ok]
        );
        assert_eq!(judged(vec![tagged(1, "app:1")], vec![]), [Status::Broken]);
        assert_eq!(
            judged(vec![tagged(1, "app:1")], vec![image(1)]),
            [Status::Broken],
            "its name is gone"
        );
    }

    #[test]
    fn a_tag_that_went_on_is_moved_while_the_old_image_is_here() {
        let now = vec![tagged(2, "app:1"), image(1)];
        assert_eq!(judged(vec![tagged(1, "app:1")], now), [Status::Moved]);
        assert_eq!(
            judged(vec![tagged(1, "app:1")], vec![tagged(2, "app:1")]),
            [Status::Broken]
        );
    }

    #[test]
    fn more_labels_than_are_read_are_no_lack_of_content() {
        let mut many = tagged(1, "app:1");
        many.incomplete = Some(Incomplete::MoreLabels);
        assert_eq!(judged(vec![tagged(1, "app:1")], vec![many]), [Status::Ok]);
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
        let policy = crate::policy::Policy::parse("[age]\nmin_age = \"1d\"", "test").unwrap();
        let past = Past {
            ledger: Ledger::empty("E"),
            journal: vec![],
        };
        let promises = promises(&[], &policy, Some(&baseline), &now.images).unwrap();
        let check = judge(&promises[0], &now.images, &past);
        assert_eq!(check.status, Status::Unknown, "{}", check.message);
    }

    #[test]
    fn what_the_engine_lists_oddly_is_unknown() {
        let mut odd = tagged(1, "app:1");
        odd.incomplete = Some(Incomplete::Odd("the engine lists it as sha256:x".into()));
        assert_eq!(
            judged(vec![tagged(1, "app:1")], vec![odd]),
            [Status::Unknown]
        );
    }
}
