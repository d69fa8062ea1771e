//! The state of a promised image in one word, and since when, if ledger or baseline tell.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::cache::check::{Check, Kind, Status};
use crate::cache::checks::gone::{Past, since};
use crate::cache::promise::{Promise, Wanted};
use crate::model::kinds::kinds;
use crate::model::{Image, ImageId};

kinds! {
    /// Worst first.
    pub enum State {
        /// No image here has this name.
        Missing = "missing",
        /// It is here, but damaged. Only `--deep` finds this out.
        Damaged = "damaged",
        /// The name leads to another image than the promised one: here, or in its registry, which
        /// only `--registry` finds out.
        Stale = "stale",
        /// It is here, and may or may not be the promised image.
        Unknown = "unknown",
        Ready = "ready",
    }
}

/// The state, from the checks of this run. The time is the last one at which it was in another
/// state; for a ready image, the first at which it was here.
pub fn of(
    promise: &Promise,
    here: &BTreeMap<ImageId, Image>,
    checks: &[Check],
    past: &Past,
) -> (State, Option<DateTime<Utc>>) {
    let status = |kind| {
        let mut made = checks.iter().filter(|check| check.kind == kind);
        made.next().map(|check| check.status)
    };
    let Some(image) = promise.wanted.find(here) else {
        return (State::Missing, since(promise, past));
    };
    if status(Kind::Whole) == Some(Status::Broken) {
        return (State::Damaged, None);
    }
    match status(Kind::Present) {
        Some(Status::Broken | Status::Moved) => (State::Stale, promised_until(promise, past)),
        Some(Status::Unknown) => (State::Unknown, None),
        _ if status(Kind::Current) == Some(Status::Moved) => (State::Stale, None),
        Some(Status::Ok) | None => (State::Ready, here_since(promise, image, past)),
    }
}

/// The last time that the name led to the recorded image.
fn promised_until(promise: &Promise, past: &Past) -> Option<DateTime<Utc>> {
    let recorded = promise.recorded.as_ref()?;
    let sighting = recorded.id.as_ref().and_then(|id| past.ledger.sighting(id));
    let last = match &promise.wanted {
        Wanted::Name(name) => sighting.and_then(|seen| seen.tags.get(name)).copied(),
        Wanted::Id(_) => None,
    };
    last.max(Some(recorded.at))
}

fn here_since(promise: &Promise, image: &Image, past: &Past) -> Option<DateTime<Utc>> {
    let first = past.ledger.sighting(&image.id).map(|seen| seen.first_seen);
    // A ready image that was recorded is the recorded one.
    let recorded = promise.recorded.as_ref().map(|recorded| recorded.at);
    [first, recorded].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::checks::present;
    use crate::cache::promise::baseline::Baseline;
    use crate::cache::promise::{By, Sources, promises};
    use crate::memory::ledger::Ledger;
    use crate::policy::Policy;
    use crate::testing::{at, clock, image, inventory, tagged};
    use chrono::TimeDelta;

    /// The state of `app:1`, promised by the policy, seen from second 10 to 20 if `seen`, and
    /// recorded at 15 if `recorded`, with the images `now` at second 30.
    fn state(
        seen: bool,
        recorded: bool,
        now: Vec<Image>,
        more: &[(Kind, Status)],
    ) -> (State, Option<DateTime<Utc>>) {
        let before = inventory([tagged(1, "app:1")]);
        let mut ledger = Ledger::empty(&before.engine.key());
        for second in [10, 20] {
            let host = crate::model::Inventory {
                taken_at: at(second),
                ..before.clone()
            };
            if seen {
                ledger = ledger.observe(&host, &clock(second, 0, "a"), TimeDelta::zero());
            }
        }
        let baseline = Baseline::of(&before.engine, &before.images, at(15), None, &[].into());
        let text = "[age]\nmin_age = \"1d\"\n[cache]\nimages = [\"app:1\"]";
        let policy = Policy::parse(text, "test").unwrap();
        let sources = Sources {
            baseline: recorded.then_some(&baseline),
            ..Sources::of(&policy)
        };
        let here = inventory(now).images;
        let past = Past::new(ledger, &[]);
        let promise = promises(&sources, &here).unwrap().remove(0);
        assert_eq!(promise.by[0], By::Policy);
        let mut checks = vec![present::check(&promise, &here, &past, None)];
        let check = |(kind, status): &(Kind, Status)| Check::new(*kind, *status, "");
        checks.extend(more.iter().map(check));
        of(&promise, &here, &checks, &past)
    }

    #[test]
    fn each_state_has_its_moment_where_ledger_or_baseline_know_one() {
        let app = || vec![tagged(1, "app:1")];
        let moved = || vec![tagged(2, "app:1"), image(1)];
        let known = |state, second| (state, Some(at(second)));
        assert_eq!(state(false, false, app(), &[]), (State::Ready, None));
        assert_eq!(state(true, false, app(), &[]), known(State::Ready, 10));
        assert_eq!(state(false, true, app(), &[]), known(State::Ready, 15));
        assert_eq!(state(true, true, app(), &[]), known(State::Ready, 10));
        assert_eq!(state(false, false, vec![], &[]), (State::Missing, None));
        assert_eq!(state(true, false, vec![], &[]), known(State::Missing, 20));
        assert_eq!(state(false, true, vec![], &[]), known(State::Missing, 15));
        assert_eq!(state(false, true, moved(), &[]), known(State::Stale, 15));
        assert_eq!(state(true, true, moved(), &[]), known(State::Stale, 20));
        let gone_on = vec![tagged(2, "app:1")];
        assert_eq!(state(true, true, gone_on, &[]), known(State::Stale, 20));
        // Nobody recorded which image is promised.
        assert_eq!(state(true, false, moved(), &[]), (State::Ready, None));
        let upstream = [(Kind::Current, Status::Moved)];
        assert_eq!(state(true, true, app(), &upstream), (State::Stale, None));
        let damaged = [(Kind::Whole, Status::Broken), upstream[0]];
        assert_eq!(state(true, true, app(), &damaged), (State::Damaged, None));
        let mut odd = tagged(1, "app:1");
        odd.incomplete = Some("odd".to_owned().into());
        assert_eq!(state(true, true, vec![odd], &[]), (State::Unknown, None));
    }
}
