use chrono::TimeDelta;

use crate::memory::clock::Clock;
use crate::memory::ledger::sighting::{PERHAPS, Sighting};
use crate::memory::ledger::stored::{Ledger, Unusable};
use crate::model::reference::Reference;
use crate::model::text::Untrusted;
use crate::model::{Container, Event, EventKind, Inventory};
use crate::testing::{at, clock, digest, id, image, inventory, json_of, pinned, tagged};

fn survey(ledger: &Ledger, seen: &Inventory) -> Ledger {
    ledger.observe(seen, &clock(0, 0, "a"), TimeDelta::zero())
}

#[test]
fn a_tag_whose_image_is_gone_was_not_that_of_an_earlier_image_that_is_here() {
    let at_second = |second, images: &[crate::model::Image]| Inventory {
        taken_at: at(second),
        ..inventory(images.to_vec())
    };
    let tag: Reference = "app:1".parse().unwrap();
    let mut ledger = Ledger::empty("e");
    let was = |ledger: &Ledger| ledger.last_image(&tag).map(|was| was.id);
    for (second, images, led) in [
        (0, vec![tagged(1, "app:1")], Some(id(1))),
        (10, vec![image(1), tagged(2, "app:1")], Some(id(2))),
        (20, vec![image(1)], Some(id(2))),
        (30, vec![image(1)], Some(id(2))),
        (40, vec![image(1), tagged(3, "app:1")], Some(id(3))),
        (50, vec![image(1)], Some(id(3))),
    ] {
        ledger = survey(&ledger, &at_second(second, &images));
        assert_eq!(was(&ledger), led, "{second}");
    }
    // An older ledger remembers when the tag was lost, but not by which image.
    ledger.gone_as.clear();
    assert_eq!(was(&ledger), None);
}

#[test]
fn what_was_known_of_images_that_were_all_away_comes_back_with_them_and_their_ages_begin_anew() {
    let at_second = |second, images: &[crate::model::Image]| Inventory {
        taken_at: at(second),
        ..inventory(images.to_vec())
    };
    let tag: Reference = "app:1".parse().unwrap();
    let before = [tagged(1, "app:1"), image(2)];
    let mut ledger = survey(&Ledger::empty("e"), &at_second(0, &before));
    for second in [10, 20] {
        ledger = survey(&ledger, &at_second(second, &[tagged(3, "app:1")]));
        assert_eq!(ledger.sighting(&id(1)), None);
    }
    let back = survey(&ledger, &at_second(30, &[image(1), tagged(2, "app:1")]));
    let seen = back.sighting(&id(1)).unwrap();
    assert_eq!(
        (seen.tags.get(&tag), seen.first_seen),
        (Some(&at(0)), at(30))
    );
    assert_eq!(seen.asked_by_digest, None);
    let pinned = survey(&ledger, &at_second(30, &[pinned(1, "app")]));
    let seen = pinned.sighting(&id(1)).unwrap();
    assert_eq!(seen.asked_by_digest, Some(at(30)), "who knows");
    // One that goes alone is new when it comes back.
    let alone = survey(&back, &at_second(40, &[image(1)]));
    let again = survey(&alone, &at_second(50, &[image(1), image(2)]));
    assert_eq!(again.sighting(&id(2)).unwrap().first_seen, at(50));
    assert!(
        again.away.images.keys().eq([&id(3)]),
        "of the others, all are away"
    );
}

#[test]
fn what_another_driver_had_is_remembered_until_that_is_back_whatever_both_have() {
    let under = |driver: &str, images: &[crate::model::Image]| {
        let mut seen = inventory(images.to_vec());
        seen.engine.driver = Untrusted::new(driver);
        seen
    };
    let tag: Reference = "app:1".parse().unwrap();
    let both = tagged(9, "base:1");
    let has_lost = |ledger: &Ledger| {
        let back = survey(ledger, &under("overlay2", &[image(1), both.clone()]));
        !back.sighting(&id(1)).unwrap().tags.contains_key(&tag)
    };
    let before = [tagged(1, "app:1"), both.clone()];
    let before = survey(&Ledger::empty("e"), &under("overlay2", &before));
    let mut ledger = survey(&before, &under("vfs", std::slice::from_ref(&both)));
    assert!(!has_lost(&ledger));
    ledger = survey(&ledger, &under("vfs", &[image(2), both.clone()]));
    ledger = survey(&ledger, &under("vfs", &[image(3), both.clone()]));
    assert!(!has_lost(&ledger));
    // Under the same driver it was removed.
    let removed = survey(&before, &under("overlay2", std::slice::from_ref(&both)));
    assert!(has_lost(&removed));
    // Once that driver is back, what it has not is nowhere.
    ledger = survey(&ledger, &under("overlay2", std::slice::from_ref(&both)));
    ledger = survey(&ledger, &under("overlay2", std::slice::from_ref(&both)));
    assert!(has_lost(&ledger));
}

#[test]
fn the_first_survey_and_the_last_tag_are_remembered() {
    let mut host = inventory([tagged(1, "app:1")]);
    let first = survey(&Ledger::empty("e"), &host);
    host.taken_at = at(10);
    let tagless = inventory([image(1)]);
    let second = survey(
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
fn what_was_wanted_at_the_last_survey_was_so_up_to_this_one_and_no_longer() {
    let mut wanted = inventory([tagged(1, "app:1"), image(2)]);
    wanted.containers.push(Container {
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
    let ledger = survey(&Ledger::empty("e"), &wanted);
    for seconds in [100, 200] {
        let after = survey(&survey(&ledger, &later(100)), &later(seconds));
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
    let first = survey(&Ledger::empty("e"), &at_moment(0, vec![tagged(1, "app:1")]));
    assert_eq!(first.gone(&tag), None);
    let second = survey(&first, &at_moment(10, vec![]));
    let third = survey(&second, &at_moment(20, vec![]));
    assert_eq!(
        (second.gone(&tag), third.gone(&tag)),
        (Some(at(0)), Some(at(0)))
    );
    let back = survey(&third, &at_moment(30, vec![tagged(2, "app:1")]));
    assert_eq!(back.gone(&tag), None);
}

#[test]
fn a_digest_that_went_since_the_last_survey_still_names_its_image_in_events() {
    let mut pulled = image(1);
    let name = digest("app", 7);
    pulled.digests.insert(name.clone());
    let before = survey(&Ledger::empty("e"), &inventory([pulled]));
    let used = Event {
        at: at(50),
        image: Untrusted::new(name.to_string()),
        what: EventKind::Used,
        tag: None,
    };
    let with = |second, events| Inventory {
        taken_at: at(second),
        events,
        ..inventory([image(1)])
    };
    let after = survey(&before, &with(100, vec![used.clone()]));
    let seen = after.sighting(&id(1)).unwrap();
    assert_eq!(
        (seen.last_used, seen.asked_by_digest),
        (Some(at(50)), Some(at(50)))
    );
    let later = survey(&before, &with(100, vec![]));
    let later = survey(&later, &with(200, vec![used]));
    assert_eq!(later.sighting(&id(1)).unwrap().last_used, None);
}

#[test]
fn a_tag_that_came_and_moved_on_between_two_surveys_is_remembered() {
    let first = survey(&Ledger::empty("e"), &inventory([tagged(1, "app:1")]));
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
    let second = survey(&first, &host);
    let tag = "app:1".parse().unwrap();
    let last = |n| second.sighting(&id(n)).unwrap().tags.get(&tag).copied();
    assert_eq!(last(1), Some(at(0)));
    assert_eq!(last(2), Some(at(50)), "the newer rollback");
}

#[test]
fn a_jump_of_the_clock_makes_no_event_older() {
    let ledger = survey(&Ledger::empty("e"), &inventory([image(1)]));
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
fn an_image_that_was_gone_for_one_survey_is_new_again() {
    let host = inventory([image(1)]);
    let gone = Inventory {
        taken_at: at(10),
        ..inventory([])
    };
    let back = Inventory {
        taken_at: at(20),
        ..inventory([image(1)])
    };
    let ledger = survey(&survey(&survey(&Ledger::empty("e"), &host), &gone), &back);
    assert_eq!(ledger.sighting(&id(1)).unwrap().first_seen, at(20));
}

#[test]
fn an_event_for_a_name_that_moved_counts_for_the_image_that_carried_it() {
    let ledger = survey(&Ledger::empty("e"), &inventory([tagged(1, "app:1")]));
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
    let after = survey(&ledger, &moved);
    assert_eq!(after.sighting(&id(1)).unwrap().last_used, Some(at(50)));
    assert_eq!(after.sighting(&id(2)).unwrap().last_used, Some(at(50)));
}

#[test]
fn a_service_that_names_its_tag_every_hour_keeps_no_image_that_lost_it_long_ago() {
    let first = inventory([tagged(1, "app:1")]);
    let mut ledger = survey(&Ledger::empty("e"), &first);
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
        ledger = survey(&ledger, &host);
    }
    let used = |n| ledger.sighting(&id(n)).unwrap().last_used;
    assert_eq!(used(1), Some(at(3600 - 60)));
    assert_eq!(used(2), Some(at(49 * 3600 - 60)));
}

#[test]
fn what_a_container_mounts_by_a_name_that_moved_is_in_use() {
    let ledger = survey(&Ledger::empty("e"), &inventory([tagged(1, "app:1")]));
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
    let found: Vec<_> = ledger.mounted_by_lost_name(&moved);
    assert_eq!(found, [(&id(1), &moved.containers[0])]);
    let after = survey(&ledger, &moved);
    assert_eq!(after.sighting(&id(1)).unwrap().last_used, Some(at(100)));
    assert_eq!(after.sighting(&id(3)).unwrap().last_used, None);
}

#[test]
fn a_shift_makes_every_date_younger_and_none_lies_in_the_future() {
    let ledger = survey(&Ledger::empty("e"), &inventory([tagged(1, "app:1")]));
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
    let ledger = survey(&Ledger::empty("e"), &inventory([tagged(1, "app:1")]));
    let key = inventory([]).engine.key();
    let bytes = json_of(&ledger);
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
    /// However the wall clock is set, and however long the host slept: an age that is believed
    /// has really passed. Only a clock that was a little late is tolerated, at each survey.
    #[test]
    fn no_jump_of_the_clock_adds_age(
        steps in proptest::collection::vec((0..1_000_000_u64, jump()), 1..20),
    ) {
        let mut ledger = Ledger::empty("e");
        let (mut passed, mut set, mut jumped) = (0_u64, 0_i64, false);
        for (surveys, (wait, jump)) in (0_i64..).zip(steps) {
            // Nobody had seen it before the first survey.
            passed += if surveys == 0 { 0 } else { wait };
            set += jump;
            jumped |= jump != 0 && surveys > 0;
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
                proptest::prop_assert!(age.num_seconds() <= true_age + 300 * surveys);
            }
            if !jumped && wall > 0 {
                proptest::prop_assert_eq!(age.num_seconds(), true_age, "and none is lost");
            }
        }
    }
}

/// Seconds by which somebody sets the clock: mostly 0.
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
    let ledger = survey(&Ledger::empty("e"), &inventory([tagged(1, "app:1")]));
    let key = inventory([]).engine.key();
    let bytes = json_of(&ledger);
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
        let tags = (0..=PERHAPS).map(|n| format!("{name}:{n:03}"));
        new.tags = tags.map(|tag| tag.parse().unwrap()).collect();
        Inventory {
            taken_at: at(second),
            events: vec![load(1), load(2)],
            ..inventory([image(1), new])
        }
    };
    let first = survey(&Ledger::empty("e"), &with("app", 100));
    let names = |ledger: &Ledger, name: &str| {
        let perhaps = &ledger.sighting(&id(1)).unwrap().perhaps;
        let is = |tag: &&Reference| tag.path().ends_with(name);
        perhaps.keys().filter(is).count()
    };
    assert_eq!(names(&first, "app"), PERHAPS);
    let second = survey(&first, &with("web", 200));
    assert_eq!(names(&second, "app"), 0);
    assert_eq!(names(&second, "web"), PERHAPS);
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
    let since = ledger.causes_since().get("deploy-lock flock /l").copied();
    assert_eq!(since, "2026-03-01T00:00:00Z".parse().ok());
    let bytes = json_of(&ledger);
    assert_eq!(Ledger::from_json(&bytes, "e"), Ok(ledger));
}

#[test]
fn days_of_use_are_remembered_and_a_ledger_of_before_is_taken_over() {
    let mut host = inventory([tagged(1, "app:1")]);
    host.events = vec![Event {
        at: at(0),
        image: Untrusted::new("app:1"),
        what: EventKind::Ran,
        tag: None,
    }];
    let key = host.engine.key();
    let ledger = Ledger::empty(&key).observe(&host, &clock(0, 0, "a"), TimeDelta::zero());
    let days = |ledger: &Ledger| {
        let used = ledger.uses().within(TimeDelta::days(1), at(0)).into_iter();
        used.map(|used| (used.name.familiar(), used.days))
            .collect::<Vec<_>>()
    };
    assert_eq!(days(&ledger), [("app:1".to_owned(), 1)]);
    let read = Ledger::from_json(&json_of(&ledger), &key).unwrap();
    assert_eq!(read, ledger);
    // Written without the field, and without a checksum.
    let mut old: serde_json::Value = serde_json::from_slice(&json_of(&ledger)).unwrap();
    let fields = old.as_object_mut().unwrap();
    assert!(fields.remove("uses").is_some() && fields.remove("sum").is_some());
    let old = Ledger::from_json(old.to_string().as_bytes(), &key).unwrap();
    assert_eq!(days(&old), []);
    assert_eq!(old.sighting(&id(1)), ledger.sighting(&id(1)));
    assert_eq!(
        days(&old.clone().joined_with(ledger.clone())),
        days(&ledger)
    );
    assert_eq!(days(&ledger.without_names()), []);
}

#[test]
fn a_ledger_keeps_the_keys_that_other_versions_read() {
    let ledger = survey(&Ledger::empty("e"), &inventory([tagged(1, "app:1")]))
        .with_causes_since([("pull /x".to_owned(), at(0))].into())
        .without_names();
    let json = String::from_utf8(json_of(&ledger)).unwrap();
    for key in [r#""standing":"#, r#""faded":"#] {
        assert!(json.contains(key), "{key} {json}");
    }
}
