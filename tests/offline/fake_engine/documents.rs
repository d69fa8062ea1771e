//! Every document of plan, prune and verify-cache is as its schema in config/ says, from hosts
//! of every kind, and the schemas are strict enough to find a field that is not as it was.

use std::fs;

use serde_json::{Value, json};

use super::{Host, KIND, KINDS};
use crate::support::schema::{check, held_against};

fn schema(name: &str) -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config");
    let text = fs::read_to_string(format!("{path}/{name}.schema.json")).expect("a schema");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn every_document_of_every_kind_of_host_is_as_its_schema_says() {
    for kind in KINDS {
        let host = Host::of(kind);
        let saved = host.secateur.dir().join("host.json");
        let path = saved.to_str().expect("UTF-8");
        // `json` holds each against its schema.
        let plan = ["plan", "--format", "json", "--save-inventory", path];
        let plan = host.secateur.run(&plan).ended(0).json();
        assert_eq!(plan["schema"], "secateur/plan/1");
        let saved = fs::read_to_string(&saved).expect("a saved host");
        check(&serde_json::from_str(&saved).expect("JSON"));
        let cache = ["verify-cache", "gone:1", "--format", "json"];
        let cache = host.secateur.run(&cache).ended(1).json();
        assert_eq!(cache["schema"], "secateur/cache/2");
        let outcome = host.secateur.prune(0);
        assert_eq!(outcome["schema"], "secateur/outcome/2");
        assert!(!outcome["removed"].as_array().expect("a list").is_empty());
        // So does this.
        assert!(!host.secateur.journal().is_empty());
    }
}

#[test]
fn a_field_with_another_name_or_form_is_not_as_its_schema_says() {
    let host = Host::of(KIND);
    let outcome = host.secateur.prune(0);
    let record = host.secateur.journal().remove(0);
    let (outcomes, journal) = (schema("outcome"), schema("journal"));
    assert_eq!(held_against(&outcomes, &outcome), Ok(()));
    let with = |document: &Value, place: &str, value: Value| {
        let mut changed = document.clone();
        *changed.pointer_mut(place).expect(place) = value;
        changed
    };
    let first = &outcome["removed"][0];
    let mut renamed = first.clone();
    renamed["bytes"] = json!(1);
    let mut lacks = first.clone();
    lacks.as_object_mut().expect("an object").remove("evidence");
    for (place, value) in [
        ("/schema", json!("secateur/outcome/1")),
        ("/removed/0", renamed),
        ("/removed/0", lacks),
        ("/removed/0/evidence", json!({"by": "a date"})),
        ("/removed/0/id", json!("0123456789ab")),
        ("/removed/0/names", json!(["app:1"])),
        ("/removed/0/reclaimable_bytes_at_least", json!(-1)),
        ("/disk_before/free_bytes", json!("12 B")),
    ] {
        let changed = with(&outcome, place, value);
        assert!(held_against(&outcomes, &changed).is_err(), "{place}");
    }
    assert_eq!(held_against(&journal, &record), Ok(()));
    for (place, value) in [
        ("/event", json!("guess")),
        ("/reclaimable_bytes_at_least", json!(null)),
    ] {
        let changed = with(&record, place, value);
        assert!(held_against(&journal, &changed).is_err(), "{place}");
    }
}
