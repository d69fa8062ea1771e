mod retain;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;
use crate::decide::plan::{KeepKind, KeepReason, Pressure, Target};
use crate::model::conditions::{Disk, Usage};
use crate::model::text::Untrusted;
use crate::model::{
    Bytes, Container, Event, EventKind, ImageId, Observed, ServiceImage, Spec, Store, Swarm,
};
use crate::policy::DigestPinned;
use crate::testing::{at, clock, digest, disk, id, image, inventory, pinned, tagged};

/// Ages of ten seconds, no rollbacks; the disk asks for space.
fn policy(more: &str) -> Policy {
    let text = format!("[age]\nmin_age = \"10s\"\n{more}");
    let text = if more.contains("[keep]") {
        text.replace("[keep]", "[keep]\nprevious = 0")
    } else {
        format!("{text}\n[keep]\nprevious = 0\n")
    };
    Policy::parse(&text, "test").unwrap()
}

/// A host seen `ago` seconds before, and its ledger.
struct Story {
    ledger: Ledger,
    now: i64,
}

impl Story {
    fn begins() -> Story {
        Story {
            ledger: Ledger::empty("e"),
            now: 0,
        }
    }

    /// This is what the host looks like at that second.
    fn survey(self, second: i64, host: &Inventory) -> Story {
        self.look_after_jump(0, second, host)
    }

    /// The clock jumped ahead by so many seconds since the last survey.
    fn look_after_jump(mut self, by: i64, second: i64, host: &Inventory) -> Story {
        let seen = Inventory {
            taken_at: at(second),
            ..host.clone()
        };
        self.ledger = self
            .ledger
            .observe(&seen, &clock(second, 0, "a"), TimeDelta::seconds(by));
        self.now = second;
        self
    }

    fn decide(&self, policy: &Policy, host: &Inventory) -> Plan {
        let seen = Inventory {
            taken_at: at(self.now),
            ..host.clone()
        };
        decide(policy, &seen, &self.ledger, Trust::OwnMemory)
    }
}

/// One survey with the tag on image 1 and one with it on image 9, with images and events in
/// between; then nothing for long. Which ones are rollbacks?
#[track_caller]
fn rollbacks_after(of: Store, came: &[Image], events: &[Event]) -> Vec<u64> {
    let mut first = inventory([tagged(1, "app:1")]);
    first.engine.store = of;
    let images = came.iter().cloned().chain([image(1), tagged(9, "app:1")]);
    let mut second = inventory(images);
    second.engine.store = of;
    second.events = events.to_vec();
    let quiet = Inventory {
        events: Vec::new(),
        ..second.clone()
    };
    let story = Story::begins()
        .survey(0, &first)
        .survey(100, &second)
        .survey(1000, &quiet);
    let one = Policy::parse("[age]\nmin_age = \"10s\"\ndigest_pinned = \"10s\"", "t").unwrap();
    let plan = story.decide(&one, &quiet);
    let is = |n: &u64| kinds(&plan, *n).contains(&"previous");
    let all: Vec<u64> = (1..=8).filter(|n| plan.entry(&id(*n)).is_some()).collect();
    for n in &all {
        let kept = plan.entry(&id(*n)).unwrap().verdict == Verdict::Keep;
        assert_eq!(kept, is(n), "{n}");
    }
    all.into_iter().filter(is).collect()
}

#[test]
fn of_two_loads_between_two_surveys_the_first_is_kept_as_a_rollback() {
    let load = |n| {
        event(
            EventKind::Loaded,
            id(n).as_str(),
            50 + i64::try_from(n).unwrap(),
        )
    };
    for store in [Store::Graphdriver, Store::Containerd] {
        let after = |images: &[Image], events: &[Event]| rollbacks_after(store, images, events);
        assert_eq!(after(&[image(2)], &[load(2), load(9)]), [1, 2], "{store}");
        // Neither got the tag: the stage of a build, and an image that was here before.
        assert_eq!(after(&[image(2)], &[load(9)]), [1], "{store}");
        assert_eq!(after(&[image(2)], &[load(2)]), [1], "{store}");
    }
}

#[test]
fn of_two_pulls_between_two_surveys_the_first_is_kept_as_a_rollback() {
    let pull = |name: &str, second| event(EventKind::Pulled, name, second);
    let twice = [pull("app:1", 50), pull("app:1", 60)];
    let after =
        |images: &[Image], events: &[Event]| rollbacks_after(Store::Containerd, images, events);
    assert_eq!(after(&[image(2)], &twice), [1, 2]);
    assert_eq!(
        after(&[image(2)], &twice[..1]),
        [1],
        "one pull moved it once"
    );
    let others = [pull("app:1", 50), pull("app:2", 60)];
    assert_eq!(after(&[image(2)], &others), [1]);
    // A graphdriver store keeps the digest of a pulled image.
    let after = |images: &[Image]| rollbacks_after(Store::Graphdriver, images, &twice);
    assert_eq!(after(&[pinned(2, "app")]), [1, 2]);
    assert_eq!(after(&[pinned(2, "other"), image(3)]), [1]);
}

#[test]
fn what_is_pulled_again_and_again_and_is_here_makes_no_new_image_a_rollback_of_it() {
    let poll = |second| event(EventKind::Pulled, "nginx:1", second);
    let of_containerd = |images: &[Image], events: &[Event]| {
        let mut host = inventory(images.iter().cloned());
        host.engine.store = Store::Containerd;
        host.events = events.to_vec();
        host
    };
    let nginx = tagged(5, "nginx:1");
    let built = [nginx.clone(), image(2)];
    let quiet = of_containerd(&built, &[]);
    let story = Story::begins()
        .survey(0, &of_containerd(&[nginx], &[]))
        .survey(100, &of_containerd(&built, &[poll(50), poll(60)]))
        .survey(1000, &quiet);
    let one = Policy::parse("[age]\nmin_age = \"10s\"", "t").unwrap();
    assert_eq!(kinds(&story.decide(&one, &quiet), 2), [""; 0]);
}

#[test]
fn a_rollback_that_is_no_more_than_possible_goes_when_the_tag_moves_again() {
    let load = |n| event(EventKind::Loaded, id(n).as_str(), 50);
    let mut second = inventory([image(1), image(2), tagged(3, "app:1")]);
    second.events = [2, 3].map(load).to_vec();
    let third = inventory([image(1), image(2), image(3), tagged(4, "app:1")]);
    let story = Story::begins()
        .survey(0, &inventory([tagged(1, "app:1")]))
        .survey(100, &second)
        .survey(200, &third)
        .survey(1000, &third);
    let one = Policy::parse("[age]\nmin_age = \"10s\"", "t").unwrap();
    let plan = story.decide(&one, &third);
    let left = [1, 2, 3].map(|n| kinds(&plan, n));
    assert_eq!(left, [vec![], vec![], vec!["previous"]]);
}

#[test]
fn what_the_containerd_store_dates_last_is_a_rollback_and_takes_no_others_place() {
    // Image 1 had the tag, lost it, and had it again between the last two surveys.
    let host = |n: u64, lost: Option<i64>| {
        let mut images: Vec<_> = (1..n).map(image).collect();
        images.push(tagged(n, "app:1"));
        let mut host = inventory(images);
        host.engine.store = Store::Containerd;
        if let Some(first) = host.images.get_mut(&id(1)) {
            first.last_tag_time = lost.map(|second| Observed::Known(Some(at(second))));
        }
        host
    };
    let one = Policy::parse("[age]\nmin_age = \"10s\"", "t").unwrap();
    // The engine's dates do not move along when the clock jumps ahead.
    for jump in [0, 60, 100_000] {
        let story = Story::begins()
            .survey(0, &host(1, None))
            .survey(100, &host(2, None))
            .survey(200, &host(3, None))
            .look_after_jump(jump, 300 + jump, &host(3, None))
            .survey(1000 + jump, &host(3, None));
        let plan = story.decide(&one, &host(3, Some(150)));
        let both = [1, 2].map(|n| kinds(&plan, n));
        assert_eq!(both, [["previous"]; 2], "{jump}");
        let plan = story.decide(&one, &host(3, Some(50)));
        let second = [1, 2].map(|n| kinds(&plan, n));
        assert_eq!(second, [vec![], vec!["previous"]], "{jump}");
    }
}

#[test]
fn an_image_is_needed_when_one_is_built_on_it_and_after_that_one_went() {
    let chain = |n: u64, parent: u64| Image {
        parent: Some(id(parent)),
        ..image(n)
    };
    let stages = inventory([image(1), chain(2, 1)]);
    let built = inventory([image(1), chain(2, 1), chain(3, 2)]);
    let story = Story::begins()
        .survey(0, &stages)
        .survey(100, &stages)
        .survey(200, &built)
        .survey(205, &stages);
    let plan = story.decide(&policy(""), &stages);
    assert_eq!(kinds(&plan, 2), ["too-young"]);
    let unneeded = plan.entry(&id(2)).unwrap().unneeded.unwrap();
    let newest = (unneeded.since, unneeded.evidence);
    assert_eq!(newest, (at(200), crate::decide::plan::Evidence::BuiltOn));
    let at_last = story.ledger.sighting(&id(1)).unwrap().built_on;
    assert_eq!(at_last, Some(at(200)), "the stage below it, too");
    let story = story.survey(210, &stages);
    let plan = story.decide(&policy(""), &stages);
    assert_eq!(plan.entry(&id(2)).unwrap().verdict, Verdict::Remove);
}

/// Seen first at second 0 and decided at second 100.
fn old(policy: &Policy, host: &Inventory) -> Plan {
    Story::begins()
        .survey(0, host)
        .survey(100, host)
        .decide(policy, host)
}

fn kinds(plan: &Plan, n: u64) -> Vec<&'static str> {
    plan.entry(&id(n))
        .unwrap()
        .reasons
        .iter()
        .map(|reason| reason.kind().name())
        .collect()
}

fn container(image: &str) -> Container {
    Container {
        id: Untrusted::new("c"),
        name: Untrusted::new("web"),
        image: Untrusted::new(image),
        image_ids: vec![],
        state: Untrusted::new("exited"),
        image_mounts: vec![],
    }
}

fn service(image: &str, spec: Spec) -> Swarm {
    let images = vec![ServiceImage {
        service: Untrusted::new("web"),
        spec,
        image: Untrusted::new(image),
    }];
    Swarm::Manager {
        images,
        under_way: vec![],
    }
}

#[test]
fn an_untagged_image_goes_when_it_is_old_and_not_a_moment_before() {
    let host = inventory([image(1)]);
    let ready = |second| {
        let story = Story::begins().survey(0, &host).survey(second, &host);
        story
            .decide(&policy(""), &host)
            .entry(&id(1))
            .unwrap()
            .verdict
    };
    assert_eq!(ready(9), Verdict::Keep);
    assert_eq!(ready(10), Verdict::Remove);
}

#[test]
fn nothing_goes_on_the_first_survey_however_old_its_dates() {
    let mut ancient = image(1);
    ancient.dates.created = Some(at(-1_000_000));
    let host = inventory([ancient]);
    let plan = Story::begins().survey(0, &host).decide(&policy(""), &host);
    assert_eq!(kinds(&plan, 1), ["first-seen"]);
}

#[test]
fn without_a_ledger_nothing_goes() {
    let host = inventory([image(1), pinned(2, "app")]);
    let plan = decide(&policy(""), &host, &Ledger::empty("e"), Trust::OwnMemory);
    assert_eq!(plan.removals().len(), 0);
}

#[test]
fn each_date_can_make_an_image_younger_and_none_older() {
    for young in [at(95), at(100), at(1_000_000)] {
        let mut host = inventory([image(1)]);
        let image = host.images.get_mut(&id(1)).unwrap();
        image.dates.created = Some(young);
        assert_eq!(
            kinds(&old(&policy(""), &host), 1),
            ["too-young"],
            "created {young}"
        );
        let image = host.images.get_mut(&id(1)).unwrap();
        image.dates = crate::model::Dates {
            stored: Some(young),
            created: Some(at(-9)),
        };
        assert_eq!(
            kinds(&old(&policy(""), &host), 1),
            ["too-young"],
            "stored {young}"
        );
        let image = host.images.get_mut(&id(1)).unwrap();
        image.dates.stored = None;
        image.last_tag_time = Some(Observed::Known(Some(young)));
        assert_eq!(
            kinds(&old(&policy(""), &host), 1),
            ["too-young"],
            "tagged {young}"
        );
    }
}

#[test]
fn a_tag_time_of_our_own_making_does_not_count() {
    let mut left = image(1);
    left.ours
        .insert(crate::model::reference::Reference::ours(&id(1)));
    left.last_tag_time = Some(Observed::Known(Some(at(95))));
    for until in [95, 96] {
        left.ours_until = Some(at(until));
        let plan = old(&policy(""), &inventory([left.clone()]));
        assert_eq!(plan.removals().len(), 1, "{until}");
    }
    left.ours_until = Some(at(94));
    assert_eq!(
        kinds(&old(&policy(""), &inventory([left])), 1),
        ["too-young"]
    );
}

#[test]
fn the_age_counts_from_the_last_moment_with_a_tag_and_the_last_use() {
    let before = inventory([tagged(1, "app:1")]);
    let host = inventory([image(1)]);
    let story = Story::begins()
        .survey(0, &before)
        .survey(50, &before)
        .survey(59, &host);
    assert_eq!(kinds(&story.decide(&policy(""), &host), 1), ["too-young"]);
    // It may have lost the tag only just before second 59.
    let story = story.survey(68, &host);
    assert_eq!(kinds(&story.decide(&policy(""), &host), 1), ["too-young"]);
    let story = story.survey(69, &host);
    assert_eq!(story.decide(&policy(""), &host).removals().len(), 1);

    let mut used = host.clone();
    used.containers.push(container(id(1).as_str()));
    let story = Story::begins()
        .survey(0, &host)
        .survey(50, &used)
        .survey(59, &host)
        .survey(68, &host);
    assert_eq!(kinds(&story.decide(&policy(""), &host), 1), ["too-young"]);
    let story = story.survey(69, &host);
    assert_eq!(story.decide(&policy(""), &host).removals().len(), 1);
}

#[test]
fn a_digest_only_image_is_pinned_until_memory_saw_its_tag_move() {
    let host = inventory([pinned(1, "app")]);
    let plan = old(&policy(""), &host);
    assert_eq!(plan.entry(&id(1)).unwrap().class, Class::DigestPinned);
    assert_eq!(kinds(&plan, 1), ["digest-pinned"]);

    let mut before = pinned(1, "app");
    before.tags.insert("app:1".parse().unwrap());
    let moved = inventory([pinned(1, "app"), tagged(2, "app:1")]);
    let story = Story::begins()
        .survey(0, &inventory([before.clone()]))
        .survey(90, &moved)
        .survey(100, &moved);
    let plan = story.decide(&policy(""), &moved);
    assert_eq!(plan.entry(&id(1)).unwrap().class, Class::Superseded);
    assert_eq!(plan.removals().len(), 1);

    // No image has its tag now: whoever untagged it may still know the digest.
    let untagged = inventory([pinned(1, "app")]);
    let story = Story::begins()
        .survey(0, &inventory([before]))
        .survey(90, &untagged)
        .survey(100, &untagged);
    assert_eq!(
        kinds(&story.decide(&policy(""), &untagged), 1),
        ["digest-pinned"]
    );
}

/// Its tag has moved to image 2, and `asked` is what one survey in between showed.
fn pinned_beside_a_tag(asked: impl Fn(&mut Inventory)) -> Plan {
    let mut before = pinned(1, "app");
    before.tags.insert("app:1".parse().unwrap());
    let first = inventory([before]);
    let mut shown = first.clone();
    shown.taken_at = at(10);
    asked(&mut shown);
    let moved = inventory([pinned(1, "app"), tagged(2, "app:1")]);
    let story = Story::begins()
        .survey(0, &first)
        .survey(10, &shown)
        .survey(20, &moved)
        .survey(1000, &moved);
    story.decide(&policy(""), &moved)
}

/// Images 1, 2, 3 and 4 are `app:1` one after the other, and image 9 loses so many
/// other names afterwards. Which ones are kept as rollbacks?
fn rollbacks_beside_lost_names(many: usize) -> Vec<u64> {
    let host = |carries: u64, more: usize| {
        let mut host = inventory((1..=4).chain([9]).map(image));
        let name = "app:1".parse().unwrap();
        host.images.get_mut(&id(carries)).unwrap().tags.insert(name);
        let more = (0..more).map(|n| format!("job:{n}").parse().unwrap());
        host.images.get_mut(&id(9)).unwrap().tags.extend(more);
        host
    };
    let mut story = Story::begins();
    for (second, carries) in (0..).zip([1, 1, 2, 2, 3, 3, 4]) {
        story = story.survey(second, &host(carries, 0));
    }
    let after = host(4, 0);
    let story = story
        .survey(10, &host(4, many))
        .survey(11, &after)
        .survey(1000, &after);
    let one = Policy {
        previous: 1,
        ..policy("")
    };
    let plan = story.decide(&one, &after);
    let kept = |n: &u64| kinds(&plan, *n).contains(&"previous");
    (1..=4).filter(kept).collect()
}

#[test]
fn a_name_that_is_forgotten_keeps_no_image_that_others_are_known_to_have_followed() {
    assert_eq!(rollbacks_beside_lost_names(0), [3]);
    // The ledger remembers the newest 4000 in full: what image 1 was is forgotten.
    assert_eq!(rollbacks_beside_lost_names(3998), [3]);
    // Nothing is known of those that came before.
    assert_eq!(rollbacks_beside_lost_names(4000), [1, 2, 3]);
}

fn event(what: EventKind, text: &str, second: i64) -> Event {
    Event {
        at: at(second),
        image: Untrusted::new(text),
        what,
        tag: None,
    }
}

#[test]
fn an_image_that_was_asked_for_by_digest_once_stays_pinned_when_its_tag_moves_on() {
    let name = digest("app", 1001);
    let both = format!("app:1@{}", name.digest().unwrap());
    let other = format!("app:1@{}", digest("app", 7).digest().unwrap());
    let by_event = |what, text: &str| {
        let text = text.to_owned();
        pinned_beside_a_tag(move |host| host.events.push(event(what, &text, 5)))
    };
    let by_container = |text: &str| {
        let text = text.to_owned();
        pinned_beside_a_tag(move |host| host.containers.push(container(&text)))
    };
    let by_mount = |text: &str| {
        let mount = Untrusted::new(text);
        pinned_beside_a_tag(move |host| {
            let mut mounting = container("base:1");
            mounting.image_mounts.push(mount.clone());
            host.containers.push(mounting);
        })
    };
    let by_service = |text: &str, spec| {
        let text = text.to_owned();
        pinned_beside_a_tag(move |host| host.at_work.swarm = service(&text, spec))
    };
    for text in [name.to_string(), both] {
        for plan in [
            by_event(EventKind::Pulled, &text),
            by_event(EventKind::Used, &text),
            by_container(&text),
            by_mount(&text),
            by_service(&text, Spec::Current),
            by_service(&text, Spec::Previous),
            by_service(&text, Spec::Task),
        ] {
            let entry = plan.entry(&id(1)).unwrap();
            assert_eq!(entry.class, Class::DigestPinned, "{text}");
            assert_eq!(kinds(&plan, 1), ["digest-pinned"], "{text}");
        }
    }
    // A pull by tag leaves a digest reference, too; and a bare id is nobody's name.
    let bare = name.digest().unwrap().to_owned();
    for text in ["app:1".to_owned(), id(1).to_string(), bare, other] {
        for plan in [
            by_event(EventKind::Pulled, &text),
            by_event(EventKind::Used, &text),
            by_container(&text),
            by_mount(&text),
            by_service(&text, Spec::Current),
        ] {
            let entry = plan.entry(&id(1)).unwrap();
            assert_eq!(entry.class, Class::Superseded, "{text}");
            assert_eq!(entry.verdict, Verdict::Remove, "{text}");
        }
    }
    // Who drops a digest does not ask for it.
    let dropped = by_event(EventKind::Named, &name.to_string());
    assert_eq!(dropped.entry(&id(1)).unwrap().class, Class::Superseded);
}

#[test]
fn a_digest_that_leads_to_another_image_by_now_pinned_the_one_that_it_led_to() {
    let name = digest("app", 7);
    let mut used = container(&name.to_string());
    used.image_ids = vec![id(1)];
    let with = |n| {
        let mut image = image(n);
        image.digests.insert(name.clone());
        image
    };
    // One index, pulled for one platform and then for another.
    let before = inventory([with(1)]);
    let mut moved = inventory([image(1), with(2)]);
    moved.containers.push(used);
    let after = inventory([image(1), with(2)]);
    let story = Story::begins()
        .survey(0, &before)
        .survey(10, &moved)
        .survey(20, &after)
        .survey(1000, &after);
    let plan = story.decide(&policy(""), &after);
    assert_eq!(kinds(&plan, 1), ["digest-pinned"]);
    assert_eq!(kinds(&plan, 2), ["digest-pinned"]);
}

#[test]
fn what_was_asked_for_by_digest_is_pinned_on_the_containerd_store_and_may_go_by_its_age() {
    let mut host = inventory([image(1), image(2)]);
    host.engine.store = Store::Containerd;
    let mut used = host.clone();
    used.containers.push(container(&format!("app@{}", id(1))));
    let story = Story::begins()
        .survey(0, &used)
        .survey(10, &host)
        .survey(1000, &host);
    let plan = story.decide(&policy(""), &host);
    assert_eq!(kinds(&plan, 1), ["digest-pinned"]);
    assert_eq!(kinds(&plan, 2), [""; 0]);
    let short = Policy {
        digest_pinned: DigestPinned::After(Duration::from_secs(900)),
        ..policy("")
    };
    assert_eq!(kinds(&story.decide(&short, &host), 1), [""; 0]);
}

#[test]
fn a_digest_pinned_image_has_an_age_of_its_own() {
    let host = inventory([pinned(1, "app"), image(2)]);
    let longer = Policy::parse("[age]\nmin_age = \"5s\"\ndigest_pinned = \"90d\"", "t").unwrap();
    let plan = old(&longer, &host);
    assert_eq!(kinds(&plan, 1), ["too-young"]);
    assert_eq!(plan.entry(&id(2)).unwrap().verdict, Verdict::Remove);
}

#[test]
fn a_digest_that_is_to_be_kept_is_kept_where_it_is_the_images_id() {
    let host = inventory([image(1), image(2)]);
    let text = format!(
        "[age]\nmin_age = \"5s\"\n[keep]\nimages = [\"acme/app@{}\"]",
        id(1)
    );
    let plan = old(&Policy::parse(&text, "t").unwrap(), &host);
    assert_eq!(kinds(&plan, 1), ["keep-image"]);
    assert_eq!(plan.entry(&id(2)).unwrap().verdict, Verdict::Remove);
}

/// This host keeps a digest reference that is old enough to go, and nothing else.
#[track_caller]
fn keeps_digests(change: impl FnOnce(&mut Inventory)) {
    let mut host = inventory([pinned(1, "app"), image(2)]);
    change(&mut host);
    let short = Policy::parse("[age]\nmin_age = \"5s\"\ndigest_pinned = \"5s\"", "t").unwrap();
    let plan = old(&short, &host);
    assert_eq!(kinds(&plan, 1), ["digest-pinned"]);
    assert_eq!(plan.entry(&id(2)).unwrap().verdict, Verdict::Remove);
}

#[test]
fn a_worker_keeps_what_a_service_may_have_pulled_by_digest() {
    keeps_digests(|host| host.at_work.swarm = Swarm::Worker);
}

#[test]
fn podman_keeps_every_digest_reference() {
    let mut host = inventory([pinned(1, "app")]);
    host.engine.store = Store::Podman;
    let short = Policy::parse("[age]\nmin_age = \"5s\"\ndigest_pinned = \"5s\"", "t").unwrap();
    assert!(kinds(&old(&short, &host), 1).contains(&"digest-pinned"));
}

#[test]
fn the_containerd_store_keeps_a_digest_reference_that_could_not_be_put_back() {
    let unknown = Observed::Unknown("no descriptor".into());
    for restorable in [Some(unknown), None] {
        keeps_digests(|host| {
            host.engine.store = Store::Containerd;
            let image = host.images.get_mut(&id(1)).unwrap();
            image.last_tag_time = Some(Observed::Known(None));
            image.restorable = restorable;
        });
    }
}

#[test]
fn the_containerd_store_lets_digest_references_go_by_the_age_of_what_is_pinned() {
    let text = "[age]\nmin_age = \"5s\"\ndigest_pinned = \"200s\"\n[keep]\nprevious = 0";
    let policy = Policy::parse(text, "t").unwrap();
    let restorable = |image: Image| Image {
        last_tag_time: Some(Observed::Known(None)),
        restorable: Some(Observed::Known(())),
        ..image
    };
    for (store, superseded) in [
        (Store::Graphdriver, &[id(2)][..]),
        // A pull by tag leaves no digest reference there.
        (Store::Containerd, &[]),
    ] {
        let host = |images: [Image; 3]| {
            let mut host = inventory(images.map(restorable));
            host.engine.store = store;
            host
        };
        let with_tag = Image {
            tags: ["app:1".parse().unwrap()].into(),
            ..pinned(2, "app")
        };
        let before = host([pinned(1, "app"), with_tag, image(3)]);
        let after = host([pinned(1, "app"), pinned(2, "app"), tagged(3, "app:1")]);
        let goes = |age| {
            let story = Story::begins().survey(0, &before).survey(1, &after);
            let plan = story.survey(age, &after).decide(&policy, &after);
            let free = plan.entries().iter();
            let free = free.filter(|entry| entry.verdict != Verdict::Keep);
            free.map(|entry| entry.image.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(goes(5), [], "{store}");
        assert_eq!(goes(100), superseded, "{store}");
        assert_eq!(goes(300), [id(1), id(2)], "{store}");
    }
}

#[test]
fn rollbacks_are_kept_newest_first_and_ties_stay_together() {
    let moved = |n: u64| {
        let images = (1..n).map(image).chain([tagged(n, "app:1")]);
        inventory(images)
    };
    let story = (1..=4_u32).fold(Story::begins(), |story, n| {
        story.survey(i64::from(n), &moved(n.into()))
    });
    let host = moved(4);
    let story = story.survey(100, &host);
    let kept = |previous: u32| {
        let text = format!("[age]\nmin_age = \"10s\"\n[keep]\nprevious = {previous}");
        let plan = story.decide(&Policy::parse(&text, "t").unwrap(), &host);
        (1..=3)
            .filter(|n| kinds(&plan, *n) == ["previous"])
            .collect::<Vec<_>>()
    };
    assert_eq!(kept(0), [] as [u64; 0]);
    assert_eq!(kept(1), [3]);
    assert_eq!(kept(2), [2, 3]);

    // Two images that carried one tag at the same last survey share a rank.
    let both = inventory([tagged(1, "a:1"), tagged(2, "b:1")]);
    let mut one = both.clone();
    one.images
        .get_mut(&id(2))
        .unwrap()
        .tags
        .insert("a:1".parse().unwrap());
    let after = inventory([image(1), image(2), tagged(3, "a:1"), tagged(4, "b:1")]);
    let story = Story::begins()
        .survey(0, &one)
        .survey(90, &after)
        .survey(100, &after);
    let policy = Policy::parse("[age]\nmin_age = \"10s\"", "t").unwrap();
    let plan = story.decide(&policy, &after);
    assert_eq!((kinds(&plan, 1).len(), kinds(&plan, 2).len()), (1, 2));
}

#[test]
fn engine_dates_count_for_untagged_images_alone_and_only_when_asked() {
    let mut untagged = image(1);
    untagged.dates.created = Some(at(-100));
    untagged.dates.stored = Some(at(-100));
    let mut unreadable = image(4);
    unreadable.dates.created = Some(at(-100));
    let mut digest_only = pinned(2, "app");
    digest_only.dates.created = Some(at(-100));
    let host = inventory([untagged, digest_only, image(3), unreadable]);
    let ledger = Story::begins().survey(0, &host).ledger;
    let short = Policy::parse("[age]\nmin_age = \"10s\"\ndigest_pinned = \"10s\"", "t").unwrap();
    let plan = decide(&short, &host, &ledger, Trust::EngineDates);
    assert_eq!(plan.entry(&id(1)).unwrap().verdict, Verdict::Remove);
    assert_eq!(kinds(&plan, 2), ["first-seen"]);
    assert_eq!(kinds(&plan, 3)[0], "age-unknown");
    assert_eq!(
        kinds(&plan, 4),
        ["age-unknown"],
        "less evidence removes no more"
    );
    assert_eq!(
        decide(&short, &host, &ledger, Trust::OwnMemory)
            .removals()
            .len(),
        0
    );
}

/// One host on which every reason is there.
fn every_reason() -> Plan {
    let mut labelled = image(6);
    labelled.labels = [("keep".into(), Untrusted::new("yes"))].into();
    let mut child = image(5);
    child.parent = Some(id(4));
    let mut odd = image(12);
    odd.incomplete = Some("odd".to_owned().into());
    let mut unknown = image(13);
    unknown.last_tag_time = Some(Observed::Unknown("unreadable".into()));
    let mut young = image(11);
    young.dates.created = Some(at(99));
    let mut rollback = pinned(7, "roll");
    rollback.tags.insert("roll:1".parse().unwrap());
    let mut before = inventory([
        tagged(1, "app:1"),
        image(2),
        image(3),
        image(4),
        child,
        labelled,
        rollback,
        pinned(8, "kept.example/app"),
        pinned(9, "pinned"),
        pinned(14, "wanted"),
        young,
        odd,
        unknown,
    ]);
    before.containers.push(container(id(2).short()));
    let mut mounting = container("app:1");
    mounting.image_mounts.push(Untrusted::new(id(3).as_str()));
    before.containers.push(mounting);
    before.at_work.swarm = service(&digest("wanted", 1014).to_string(), Spec::Previous);
    let mut host = before.clone();
    host.images.get_mut(&id(7)).unwrap().tags.clear();
    host.images.insert(id(20), tagged(20, "roll:1"));
    host.images.insert(id(10), image(10));
    let story = Story::begins().survey(0, &before).survey(100, &host);
    let text =
        "[age]\nmin_age = \"10s\"\n[keep]\nimages = [\"kept.example/*\"]\nlabels = [\"keep=yes\"]";
    story.decide(&Policy::parse(text, "t").unwrap(), &host)
}

#[test]
fn every_kind_of_keep_reason_is_produced() {
    let plan = every_reason();
    for (n, kind) in [
        (1, "tagged"),
        (2, "in-use"),
        (3, "image-mount"),
        (4, "parent"),
        (6, "keep-label"),
        (7, "previous"),
        (8, "keep-image"),
        (9, "digest-pinned"),
        (10, "first-seen"),
        (11, "too-young"),
        (12, "incomplete"),
        (13, "age-unknown"),
        (14, "service"),
    ] {
        assert!(
            kinds(&plan, n).contains(&kind),
            "image {n}: {:?}",
            kinds(&plan, n)
        );
    }
    let seen: BTreeSet<_> = plan
        .entries()
        .iter()
        .flat_map(|entry| &entry.reasons)
        .map(KeepReason::kind)
        .collect();
    let missing: Vec<_> = KeepKind::ALL
        .iter()
        .filter(|kind| !seen.contains(*kind))
        .collect();
    assert!(missing.is_empty(), "no test makes {missing:?}");
}

#[test]
fn all_reasons_of_an_image_are_collected_not_the_first() {
    let plan = every_reason();
    assert_eq!(kinds(&plan, 1), ["tagged", "in-use", "too-young"]);
    assert_eq!(kinds(&plan, 14), ["service", "digest-pinned", "too-young"]);
}

#[test]
fn what_swarm_wants_and_cannot_be_read_keeps_everything() {
    let mut host = inventory([image(1)]);
    host.at_work.swarm = Swarm::Unreadable("locked".into());
    assert_eq!(kinds(&old(&policy(""), &host), 1), ["incomplete"]);
}

#[test]
fn podman_and_old_containerd_stores_are_only_looked_at() {
    let mut host = inventory([image(1)]);
    host.engine.store = Store::Podman;
    assert_eq!(kinds(&old(&policy(""), &host), 1), ["incomplete"]);
    host.engine.store = Store::Containerd;
    host.engine.version = Untrusted::new("24.0.9");
    assert_eq!(kinds(&old(&policy(""), &host), 1), ["incomplete"]);
    host.engine.version = Untrusted::new("25.0.0");
    assert_eq!(old(&policy(""), &host).removals().len(), 1);
}

#[test]
fn the_disk_decides_how_many_go_and_the_oldest_go_first() {
    let story = Story::begins()
        .survey(0, &inventory([image(3)]))
        .survey(1, &inventory([image(3), image(1)]))
        .survey(2, &inventory([image(3), image(1), image(2)]));
    let host = |used| {
        let mut host = inventory([image(3), image(1), image(2)]);
        for image in host.images.values_mut() {
            image.size = Observed::Known(Bytes(10));
        }
        Inventory {
            disk: Observed::Known(disk(used)),
            ..host
        }
    };
    let story = story.survey(100, &host(90));
    let goes = |used, policy: &Policy| {
        let plan = story.decide(policy, &host(used));
        plan.removals()
            .map(|entry| entry.image.id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        goes(85, &policy("")),
        [],
        "at the threshold nothing need go"
    );
    assert_eq!(
        goes(86, &policy("")),
        [id(3), id(1)],
        "86 to 75 wants 11, and each frees 10"
    );
    assert_eq!(goes(100, &policy("")), [id(3), id(1), id(2)]);
    assert_eq!(
        goes(100, &policy("[limits]\nmax_images = 2")),
        [id(3), id(1)]
    );
    assert_eq!(
        goes(
            1,
            &policy("[disk]\nstart_above_percent = 0\nstop_below_percent = 0")
        )
        .len(),
        3,
        "0 is always"
    );
    let unknown = Inventory {
        disk: Observed::Unknown("no".into()),
        ..host(90)
    };
    let goes = |text: &str| story.decide(&policy(text), &unknown).removals().len();
    assert_eq!(
        goes("[disk]\nstart_above_percent = 0\nstop_below_percent = 0"),
        3,
        "every candidate goes, whatever the disk says"
    );
    assert_eq!(
        goes("[disk]\nstart_above_percent = 1\nstop_below_percent = 0"),
        0,
        "a disk that cannot be measured asks for nothing"
    );
}

#[test]
fn a_disk_that_does_not_tell_how_full_it_is_has_no_room_by_that() {
    let gib = |n: u64| n << 30;
    let host = |driver| {
        let mut host = inventory([image(1), image(2)]);
        host.engine.driver = Untrusted::new(driver);
        // As measured on the folder of an almost full pool.
        let bytes = Usage {
            used: 128 << 10,
            available: gib(65),
        };
        host.disk = Observed::Known(Disk { bytes, ..disk(0) });
        host
    };
    let decide = |driver, text: &str| {
        let host = host(driver);
        let story = Story::begins().survey(0, &host).survey(100, &host);
        let plan = story.decide(&policy(text), &host);
        (plan.pressure().clone(), plan.removals().len())
    };
    let cannot_tell = |driver, text| {
        let (pressure, gone) = decide(driver, text);
        let Pressure::Unknown(why) = pressure else {
            panic!("{driver}: {pressure:?}");
        };
        assert_eq!(gone, 0);
        assert!(why.contains("disk.min_free"), "{why}");
    };
    cannot_tell("zfs", "");
    cannot_tell("devicemapper", "");
    cannot_tell("devicemapper", "[disk]\nmin_free = \"66GiB\"");
    let (pressure, gone) = decide("zfs", "[disk]\nmin_free = \"66GiB\"");
    let wanted = Some(Bytes(gib(1)));
    assert!(
        matches!(&pressure, Pressure::Asked { wanted: seen, .. } if *seen == wanted),
        "{pressure:?}"
    );
    assert_eq!(gone, 2);
    let (pressure, gone) = decide("zfs", "[disk]\nmin_free = \"65GiB\"");
    assert!(
        matches!(&pressure, Pressure::Room { why } if why.contains("disk.min_free")),
        "{pressure:?}"
    );
    assert_eq!(gone, 0);
    for driver in ["zfs", "devicemapper"] {
        let whatever = "[disk]\nstart_above_percent = 0\nstop_below_percent = 0";
        assert_eq!(decide(driver, whatever).1, 2, "{driver}");
    }
    assert!(matches!(decide("overlay2", "").0, Pressure::Room { .. }));
}

#[test]
fn an_image_that_the_engine_does_not_let_go_keeps_no_other_here() {
    let host = |resists| {
        let mut host = inventory([image(1), image(2)]);
        for image in host.images.values_mut() {
            image.size = Observed::Known(Bytes(20));
        }
        host.images.get_mut(&id(1)).unwrap().resists = resists;
        Inventory {
            disk: Observed::Known(disk(90)),
            ..host
        }
    };
    let goes = |resists| {
        let story = Story::begins()
            .survey(0, &host(resists))
            .survey(100, &host(resists));
        let plan = story.decide(&policy(""), &host(resists));
        plan.removals()
            .map(|entry| entry.image.id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(goes(false), [id(1)], "90 to 75 wants 15, and each frees 20");
    assert_eq!(goes(true), [id(2)], "nothing is expected of the other");
}

#[test]
fn inodes_count_as_bytes_do() {
    let full = Usage {
        used: 90,
        available: 10,
    };
    let empty = Usage {
        used: 10,
        available: 90,
    };
    let limits = policy("").disk;
    let disk = |bytes, inodes| crate::model::conditions::Disk {
        path: "/".into(),
        bytes,
        inodes,
    };
    assert!(matches!(
        pressure(&limits, &disk(empty, Some(full))),
        Pressure::Asked { wanted: None, .. }
    ));
    assert!(matches!(
        pressure(&limits, &disk(empty, Some(empty))),
        Pressure::Room { .. }
    ));
    assert!(matches!(
        pressure(&limits, &disk(empty, None)),
        Pressure::Room { .. }
    ));
    let until = until(&pressure(&limits, &disk(full, Some(full))));
    assert!(!until.is_reached(&disk(empty, Some(full))));
    assert!(until.is_reached(&disk(empty, Some(empty))));
}

fn until(pressure: &Pressure) -> Target {
    match pressure {
        Pressure::Asked { until, .. } => *until,
        Pressure::Room { .. } | Pressure::Unknown(_) => panic!("{pressure:?}"),
    }
}

/// What a disk with so many bytes used of 100 is asked for, and with how many used
/// the run stops.
fn asked(text: &str, used: u64) -> (Option<Bytes>, Option<u64>) {
    let limits = policy(&format!("[disk]\n{text}")).disk;
    let pressure = pressure(&limits, &disk(used));
    let until = until(&pressure);
    let stops = (0..=used).rev().find(|used| until.is_reached(&disk(*used)));
    let Pressure::Asked { wanted, .. } = pressure else {
        unreachable!("it has an end");
    };
    (wanted, stops)
}

#[test]
fn a_run_ends_when_what_started_it_is_mended_and_goes_no_further() {
    let percent = "start_above_percent = 80\nstop_below_percent = 50";
    let both = format!("{percent}\nmin_free = \"40B\"");
    let room = policy(&format!("[disk]\n{both}")).disk;
    assert!(matches!(pressure(&room, &disk(60)), Pressure::Room { .. }));
    assert_eq!(asked(percent, 81), (Some(Bytes(31)), Some(50)));
    assert_eq!(
        asked(&both, 61),
        (Some(Bytes(1)), Some(60)),
        "min_free alone"
    );
    assert_eq!(asked(&both, 81), (Some(Bytes(31)), Some(50)));
    let much = format!("{percent}\nmin_free = \"70B\"");
    assert_eq!(asked(&much, 81), (Some(Bytes(51)), Some(30)), "both");
    let little = format!("{percent}\nmin_free = \"10B\"");
    assert_eq!(asked(&little, 81), (Some(Bytes(31)), Some(50)));
    let all = "start_above_percent = 80\nstop_below_percent = 0\nmin_free = \"40B\"";
    assert_eq!(asked(all, 81), (None, None));
    assert_eq!(asked(all, 61), (Some(Bytes(1)), Some(60)));
    let always = "start_above_percent = 0\nstop_below_percent = 0\nmin_free = \"40B\"";
    assert_eq!(asked(always, 61), (None, None));
}

#[test]
fn all_that_asks_for_space_is_named() {
    let limits = policy("[disk]\nmin_free = \"40B\"").disk;
    let why = |used| match pressure(&limits, &disk(used)) {
        Pressure::Asked { why, .. } => ["start_above_percent", "min_free"].map(|k| why.contains(k)),
        other => panic!("{other:?}"),
    };
    assert_eq!(why(61), [false, true]);
    assert_eq!(why(86), [true, true]);
}

#[test]
fn few_inodes_do_not_hold_up_the_end_of_a_run_that_min_free_started() {
    let limits = policy("[disk]\nmin_free = \"40B\"").disk;
    let inodes = Usage {
        used: 80,
        available: 20,
    };
    let disk = |used| Disk {
        inodes: Some(inodes),
        ..disk(used)
    };
    let until = until(&pressure(&limits, &disk(61)));
    assert!(!until.is_reached(&disk(61)) && until.is_reached(&disk(60)));
}

/// Names of `[[retain]]` rules, in full.
const RETAINED: [&str; 4] = [
    "[\"docker.io/library/app:1\"]",
    "[\"docker.io/library/app:*\"]",
    "[\"docker.io/library/app:0\", \"docker.io/library/app:2\"]",
    "[\"docker.io/library/db:*\"]",
];

/// A host and its story, drawn at random: few names, so that they meet.
fn hosts() -> impl Strategy<Value = (Vec<Inventory>, Policy)> {
    let one = (0..6u64, any::<[bool; 6]>(), 0..3i64).prop_map(|(n, flags, name)| {
        let [tag, pin, used, label, young, parent] = flags;
        let mut image = image(n);
        if tag {
            image.tags.insert(format!("app:{name}").parse().unwrap());
        }
        if pin {
            image.digests.insert(digest("app", n));
        }
        if label {
            image.labels = [("keep".into(), Untrusted::new("x"))].into();
        }
        image.dates.created = young.then(|| at(1_000));
        image.parent = parent.then(|| id((n + 1) % 6));
        (image, used)
    });
    let survey = prop::collection::vec(one, 0..6).prop_map(|images| {
        let mut host = inventory(images.iter().map(|(image, _)| image.clone()));
        let used = images.iter().filter(|(_, used)| *used);
        host.containers = used
            .map(|(image, _)| container(image.id.as_str()))
            .collect();
        // A tag is on one image at a time.
        let mut seen = BTreeSet::new();
        for image in host.images.values_mut() {
            image.tags.retain(|tag| seen.insert(tag.clone()));
        }
        host
    });
    let rules = prop::collection::vec((0..RETAINED.len(), 0..20u64, 0..20u64, 0..3u32), 0..3);
    let policy = (1..30u64, 0..3u32, any::<bool>(), any::<bool>(), rules).prop_map(|(age, previous, keep, labels, rules)| {
        let pinned = if keep { "keep".to_owned() } else { format!("{}s", age + 3) };
        let labels = if labels { "[\"keep\"]" } else { "[]" };
        let mut text = format!(
            "[age]\nmin_age = \"{age}s\"\ndigest_pinned = \"{pinned}\"\n[keep]\nprevious = {previous}\nlabels = {labels}\n\
             [disk]\nstart_above_percent = 0\nstop_below_percent = 0\n[limits]\nmax_images = 1000\n"
        );
        for (names, longer, pinned, more) in rules {
            let pinned = if keep || pinned == 0 { "keep".to_owned() } else { format!("{}s", age + 2 + pinned) };
            let _ = write!(
                text,
                "[[retain]]\nimages = {}\nmin_age = \"{}s\"\nprevious = {}\ndigest_pinned = \"{pinned}\"\n",
                RETAINED[names], age + longer, previous + more
            );
        }
        Policy::parse(&text, "t").unwrap()
    });
    (prop::collection::vec(survey, 1..6), policy)
}

/// A naive implementation of `[[retain]]` for an image with these names: the longest of all.
fn longest(policy: &Policy, names: &BTreeSet<String>) -> (Duration, usize, DigestPinned) {
    let rules: Vec<_> = policy
        .retain
        .iter()
        .filter(|rule| {
            let mut patterns = rule.images.iter().map(|pattern| &*pattern.text);
            patterns.any(|text| match text.strip_suffix(":*") {
                Some(repository) => names.iter().any(|name| {
                    name.starts_with(&format!("{repository}:"))
                        || name.starts_with(&format!("{repository}@"))
                }),
                None => names.contains(text),
            })
        })
        .collect();
    let min_ages = rules.iter().filter_map(|rule| rule.min_age);
    let min_age = min_ages.fold(policy.min_age, Duration::max);
    let previous = rules.iter().filter_map(|rule| rule.previous);
    let previous = previous.fold(policy.previous, usize::max);
    let pinned = rules.iter().filter_map(|rule| rule.digest_pinned);
    let mut pinned: Vec<_> = pinned.chain([policy.digest_pinned]).collect();
    pinned.sort_by_key(|pinned| match pinned {
        DigestPinned::Keep => Duration::MAX,
        DigestPinned::After(age) => *age,
    });
    (min_age, previous, *pinned.last().unwrap())
}

/// Whether an image that is new at survey `n` is built on this one. Parents are drawn at random,
/// so they may go round in a circle.
fn is_built_on(surveys: &[Inventory], n: usize, id: &ImageId) -> bool {
    let images = &surveys[n].images;
    let parent = |image: &&Image| images.get(image.parent.as_ref()?);
    let mut new = images.values();
    n > 0
        && new.any(|new| {
            let mut chain = std::iter::successors(parent(&new), parent).take(images.len());
            !surveys[n - 1].images.contains_key(&new.id) && chain.any(|parent| parent.id == *id)
        })
}

/// The last survey before survey `n` that found images of which none has been here since: an
/// engine that comes back with them has not lost them.
fn away(surveys: &[Inventory], n: usize) -> Option<usize> {
    (1..=n).fold(None, |away, n| {
        let all_away = |m: &usize| {
            let mut then = surveys[*m].images.keys().peekable();
            then.peek().is_some() && !then.any(|id| surveys[n].images.contains_key(id))
        };
        [Some(n - 1), away].into_iter().flatten().find(all_away)
    })
}

/// The surveys, in order, by which the names of an image are known at survey `until`.
fn known(surveys: &[Inventory], id: &ImageId, until: usize) -> Vec<usize> {
    let here = |n: &usize| surveys[*n].images.contains_key(id);
    let stay = (0..=until).rev().take_while(here).count();
    let first = until + 1 - stay;
    let before = first.checked_sub(1).and_then(|n| away(surveys, n));
    let before = before.filter(here).map(|n| known(surveys, id, n));
    before.into_iter().flatten().chain(first..=until).collect()
}

/// Whether it came back with digest references alone: who knows who asked for it in between.
fn came_back(surveys: &[Inventory], id: &ImageId) -> bool {
    let known = known(surveys, id, surveys.len() - 1);
    known.windows(2).any(|two| {
        let back = &surveys[two[1]].images[id];
        two[0] + 1 < two[1] && back.tags.is_empty() && !back.digests.is_empty()
    })
}

/// A second, naive implementation of the rules.
fn naive(policy: &Policy, surveys: &[Inventory], step: i64) -> BTreeSet<ImageId> {
    let last = surveys.len() - 1;
    let here = |n: usize, image: &ImageId| surveys[n].images.get(image);
    let used = |n: usize, image: &ImageId| {
        surveys[n]
            .containers
            .iter()
            .any(|c| c.image.raw() == image.as_str())
    };
    let second = |n: usize| i64::try_from(n).unwrap() * step;
    let now = second(last);
    let may_go = |image: &Image| {
        let is_here = |n: &usize| here(*n, &image.id).is_some();
        let first = last + 1 - (0..=last).rev().take_while(is_here).count();
        let known = known(surveys, &image.id, last);
        let known = known.iter().map(|n| here(*n, &image.id).unwrap());
        let tags_then: BTreeSet<_> = known.flat_map(|image| &image.tags).collect();
        let carried_now: BTreeSet<_> = surveys[last]
            .images
            .values()
            .flat_map(|i| &i.tags)
            .collect();
        let moved = tags_then.iter().any(|tag| carried_now.contains(*tag));
        // There a pull by tag leaves no digest reference.
        let moved = moved && surveys[last].engine.store != Store::Containerd;
        let is_pinned = !image.digests.is_empty() && !moved || came_back(surveys, &image.id);
        let names: BTreeSet<String> = tags_then
            .iter()
            .copied()
            .chain(&image.digests)
            .map(ToString::to_string)
            .collect();
        let (min_age, previous, pinned) = longest(policy, &names);
        let age = match (is_pinned, pinned) {
            (true, DigestPinned::Keep) => return false,
            (true, DigestPinned::After(age)) => min_age.max(age),
            (false, _) => min_age,
        };
        // Also the survey that finds it unwanted for the first time: it was
        // wanted up to some moment before.
        let has_tag = |n: usize| !here(n, &image.id).unwrap().tags.is_empty();
        let wanted_at = (first..=last)
            .filter(|&n| {
                let before = |wanted: &dyn Fn(usize) -> bool| n > first && wanted(n - 1);
                n == first
                    || has_tag(n)
                    || before(&has_tag)
                    || used(n, &image.id)
                    || before(&|n| used(n, &image.id))
                    || is_built_on(surveys, n, &image.id)
            })
            .max()
            .unwrap();
        let created = image
            .dates
            .created
            .map_or(i64::MIN, |at| (at - crate::testing::at(0)).num_seconds());
        let unneeded = now - second(wanted_at).max(created);
        let is_rollback = tags_then.iter().any(|tag| {
            let seen_with = |other: &ImageId| {
                let mut known = self::known(surveys, other, last).into_iter().rev();
                known.find(|n| here(*n, other).unwrap().tags.contains(*tag))
            };
            let before: Vec<_> = surveys[last]
                .images
                .values()
                .filter(|i| !i.tags.contains(*tag))
                .collect();
            let mut moments: Vec<_> = before.iter().filter_map(|i| seen_with(&i.id)).collect();
            moments.sort_unstable();
            moments.dedup();
            let newer =
                seen_with(&image.id).map(|mine| moments.iter().filter(|m| **m > mine).count());
            carried_now.contains(*tag) && newer.is_some_and(|newer| newer < previous)
        });
        image.tags.is_empty()
            && !used(last, &image.id)
            && !surveys[last]
                .images
                .values()
                .any(|i| i.parent.as_ref() == Some(&image.id))
            && (image.labels.get("keep").is_none() || policy.keep_labels.is_empty())
            && !is_rollback
            && first < last
            && unneeded >= i64::try_from(age.as_secs()).unwrap()
    };
    surveys[last]
        .images
        .values()
        .filter(|image| may_go(image))
        .map(|image| image.id.clone())
        .collect()
}

fn removed(policy: &Policy, surveys: &[Inventory], step: i64) -> (Plan, Story) {
    let story = surveys
        .iter()
        .enumerate()
        .fold(Story::begins(), |story, (n, survey)| {
            story.survey(i64::try_from(n).unwrap() * step, survey)
        });
    (story.decide(policy, surveys.last().unwrap()), story)
}

fn ids(plan: &Plan) -> BTreeSet<ImageId> {
    plan.removals()
        .map(|entry| entry.image.id.clone())
        .collect()
}

proptest! {
    // PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_plan_is_what_a_naive_reading_of_the_policy_gives((surveys, policy) in hosts(), step in 1..20i64) {
        let (plan, _) = removed(&policy, &surveys, step);
        prop_assert_eq!(ids(&plan), naive(&policy, &surveys, step));
    }

    #[test]
    fn every_image_is_in_the_plan_once_and_every_kept_one_has_a_reason((surveys, policy) in hosts(), step in 1..20i64) {
        let (plan, _) = removed(&policy, &surveys, step);
        let here: Vec<_> = surveys.last().unwrap().images.keys().cloned().collect();
        let listed: Vec<_> = plan.entries().iter().map(|entry| entry.image.id.clone()).collect();
        prop_assert_eq!(listed, here);
        for entry in plan.entries() {
            prop_assert_eq!(entry.verdict == Verdict::Keep, !entry.reasons.is_empty());
        }
    }

    #[test]
    fn less_knowledge_never_removes_more((surveys, policy) in hosts(), step in 1..20i64) {
        let (_, story) = removed(&policy, &surveys, step);
        let now = Inventory { taken_at: at(story.now), ..surveys.last().unwrap().clone() };
        let empty = decide(&policy, &now, &Ledger::empty("e"), Trust::OwnMemory);
        prop_assert_eq!(ids(&empty), BTreeSet::new());
        // Forgetting the first surveys makes an image younger. What it also
        // forgets is which images are rollbacks, and that a digest reference once
        // had a tag: as one that is pinned it stays for as long, or longer; and which names
        // it had, by which a rule meant it. And that it was asked for by digest, which shows only
        // where the reference comes while the image is known: without it the image is pinned for
        // as long as it has the reference.
        let policy = Policy { previous: 0, retain: Vec::new(), ..policy };
        let (plan, story) = removed(&policy, &surveys, step);
        let (fewer, half) = removed(&policy, &surveys[surveys.len() / 2..], step);
        let asked = |story: &Story, id: &ImageId| {
            let seen = story.ledger.sighting(id);
            seen.is_some_and(|seen| seen.asked_by_digest.is_some())
        };
        let forgot = |id: &ImageId| asked(&story, id) && !asked(&half, id);
        let fewer: BTreeSet<_> = ids(&fewer).into_iter().filter(|id| !forgot(id)).collect();
        prop_assert!(fewer.is_subset(&ids(&plan)));
    }

    #[test]
    fn protecting_an_image_never_removes_another((surveys, policy) in hosts(), step in 1..20i64, n in 0..6u64) {
        let (plan, _) = removed(&policy, &surveys, step);
        let mut used = surveys.clone();
        used.last_mut().unwrap().containers.push(container(id(n).as_str()));
        let (kept, _) = removed(&policy, &used, step);
        let mut expected = ids(&plan);
        expected.remove(&id(n));
        prop_assert_eq!(ids(&kept), expected);
    }

    #[test]
    fn a_longer_age_never_removes_more((surveys, policy) in hosts(), step in 1..20i64, more in 1..30u64) {
        let (plan, _) = removed(&policy, &surveys, step);
        let longer = Policy { min_age: policy.min_age + Duration::from_secs(more), ..policy };
        let (fewer, _) = removed(&longer, &surveys, step);
        prop_assert!(ids(&fewer).is_subset(&ids(&plan)));
    }

    #[test]
    fn one_more_rule_never_removes_more((surveys, policy) in hosts(), (_, other) in hosts(), step in 1..20i64) {
        let none = Policy { retain: Vec::new(), ..policy.clone() };
        let mut more = policy.clone();
        more.retain.extend(other.retain);
        let [none, some, more] = [none, policy, more].map(|policy| ids(&removed(&policy, &surveys, step).0));
        prop_assert!(some.is_subset(&none));
        prop_assert!(more.is_subset(&some));
    }
}

#[test]
fn what_other_settings_would_let_go_is_counted_and_nothing_that_goes_anyway() {
    let mut old = image(2);
    old.dates.created = Some(at(-1000));
    old.dates.stored = Some(at(-1000));
    let host = inventory([tagged(1, "app:1"), old, pinned(3, "app")]);
    let story = Story::begins().survey(0, &host);
    let policy = Policy::parse("[age]\nmin_age = \"5s\"", "t").unwrap();
    let told = |story: &Story| {
        let plan = story.decide(&policy, &host);
        let seen = Inventory {
            taken_at: at(story.now),
            ..host.clone()
        };
        let told = alternatives(&policy, &seen, &story.ledger, &plan);
        told.iter()
            .map(|it| (it.setting, it.images))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(&story), [(Setting::EngineDates, 1)]);
    let later = story.survey(100, &host);
    assert_eq!(told(&later), [(Setting::DigestPinned, 1)]);
}
