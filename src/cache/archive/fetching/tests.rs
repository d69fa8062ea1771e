use super::*;
use crate::cache::promise::By;
use crate::cache::promise::baseline::Recorded;
use crate::testing::at;

fn promise(name: &str, digests: &[String]) -> Promise {
    let recorded = Recorded {
        at: at(0),
        id: None,
        digests: digests.to_vec(),
        pull_milliseconds: None,
    };
    Promise {
        recorded: Some(recorded),
        ..Promise::new(Wanted::Name(name.parse().unwrap()), By::Baseline)
    }
}

#[test]
fn a_recorded_digest_is_asked_for_in_place_of_its_tag_unless_tags_are_followed() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let asked = |name: &str, digests: &[String], follow| {
        let promise = promise(name, digests);
        let names = names(&promise, &name.parse().unwrap(), follow);
        names.iter().map(Reference::to_string).collect::<Vec<_>>()
    };
    let pinned = format!("r.example/app@{digest}");
    let known = [digest];
    assert_eq!(asked("r.example/app:1", &known, false), [pinned.as_str()]);
    assert_eq!(asked("r.example/app:1", &known, true), ["r.example/app:1"]);
    assert_eq!(asked("r.example/app:1", &[], false), ["r.example/app:1"]);
    let other = format!("r.example/app@sha256:{}", "b".repeat(64));
    assert_eq!(asked(&other, &known, false), [other.as_str()]);
}
