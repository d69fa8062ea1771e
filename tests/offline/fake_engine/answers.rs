//! What an engine says, where it makes no sense, contradicts itself, or is not
//! what secateur knows; and what Swarm wants.

use serde_json::{Value, json};

use super::{Host, KIND, KINDS};
use crate::fake::fault::Fault;
use crate::fake::world::{World, text};
use crate::support::{EAGER, ids, image, patient, reasons, refusals, verdicts};

/// A change to an answer, and the path of the answer.
type Change = (&'static str, &'static str, fn(&mut Value));

/// Each is in a field that a decision rests on.
const NONSENSE: &[Change] = &[
    ("/version", "no API version", |v| drop_key(v, "ApiVersion")),
    ("/version", "an API version that is none", |v| {
        v["ApiVersion"] = json!("one");
    }),
    ("/version", "an API version from before", |v| {
        v["ApiVersion"] = json!("1.12");
    }),
    ("/version", "an API version that is a number", |v| {
        v["ApiVersion"] = json!(1.51);
    }),
    ("/version", "only later API versions", |v| {
        v["MinAPIVersion"] = json!("1.99");
    }),
    ("/info", "no id", |v| drop_key(v, "ID")),
    ("/info", "an empty id", |v| v["ID"] = json!("")),
    ("/info", "an id that is a number", |v| v["ID"] = json!(7)),
    ("/info", "no data root", |v| drop_key(v, "DockerRootDir")),
    ("/info", "no count of containers", |v| {
        drop_key(v, "Containers");
    }),
    ("/info", "no count of images", |v| v["Images"] = Value::Null),
    ("/info", "a count below zero", |v| {
        v["Containers"] = json!(-1);
    }),
    ("/info", "a count that is text", |v| {
        v["Images"] = json!("9");
    }),
    ("/info", "a count beyond all numbers", |v| {
        v["Images"] = json!(1e300);
    }),
    ("/info", "a swarm that is text", |v| {
        v["Swarm"] = json!("active");
    }),
    ("/info", "a swarm state that is not known", |v| {
        v["Swarm"]["LocalNodeState"] = json!("maybe");
    }),
    ("/images/json", "an object", |v| {
        *v = json!({"Images": v.clone()});
    }),
    ("/images/json", "an entry that is none", |v| {
        v[0] = Value::Null;
    }),
    ("/images/json", "an image without id", |v| {
        drop_key(&mut v[0], "Id");
    }),
    ("/images/json", "an id that is a number", |v| {
        v[0]["Id"] = json!(7);
    }),
    ("/images/json", "an id that is a path", |v| {
        v[0]["Id"] = json!("../containers/x");
    }),
    ("/images/json", "an id that is a query", |v| {
        v[0]["Id"] = json!("a?force=1");
    }),
    ("/images/json", "an id that is too short", |v| {
        v[0]["Id"] = json!("sha256:0123456789ab");
    }),
    ("/images/json", "no tags, not even null", |v| {
        drop_key(&mut v[0], "RepoTags");
    }),
    ("/images/json", "tags that are text", |v| {
        v[0]["RepoTags"] = json!("app:1");
    }),
    ("/images/json", "a tag that is a number", |v| {
        v[0]["RepoTags"] = json!([1]);
    }),
    ("/images/json", "no digests, not even null", |v| {
        drop_key(&mut v[0], "RepoDigests");
    }),
    ("/images/json", "digests that are an object", |v| {
        v[0]["RepoDigests"] = json!({});
    }),
    ("/images/json", "a parent that is a path", |v| {
        v[0]["ParentId"] = json!("../x");
    }),
    ("/images/json", "labels that are a list", |v| {
        v[0]["Labels"] = json!([["a", "b"]]);
    }),
    ("/images/json", "a date that is text", |v| {
        v[0]["Created"] = json!("yesterday");
    }),
    ("/images/json", "a date beyond all numbers", |v| {
        v[0]["Created"] = json!(1e30);
    }),
    ("/images/json", "a size beyond all numbers", |v| {
        v[0]["Size"] = json!(u64::MAX);
    }),
    ("/images/json", "an image twice", |v| {
        let first = v[0].clone();
        list(v).push(first);
    }),
    ("/images/json", "no image, while some are counted", |v| {
        list(v).clear();
    }),
    ("/images/json", "null, while some are counted", |v| {
        *v = Value::Null;
    }),
    (
        "/containers/json",
        "no container, while some are counted",
        |v| list(v).clear(),
    ),
    ("/containers/json", "null, while some are counted", |v| {
        *v = Value::Null;
    }),
    ("/containers/json", "a container without id", |v| {
        drop_key(&mut v[0], "Id");
    }),
    ("/containers/json", "a container of no image", |v| {
        drop_key(&mut v[0], "Image");
        drop_key(&mut v[0], "ImageID");
    }),
    ("/containers/json", "an image id that is a path", |v| {
        v[0]["ImageID"] = json!("../x");
    }),
    ("/containers/json", "an image id that is a number", |v| {
        v[0]["ImageID"] = json!(7);
    }),
    ("/containers/json", "an image that is a list", |v| {
        v[0]["Image"] = json!(["a"]);
    }),
    ("/containers/json", "mounts that are text", |v| {
        v[0]["Mounts"] = json!("all");
    }),
    ("/containers/json", "a mount that is a list", |v| {
        v[0]["Mounts"] = json!([["image"]]);
    }),
    (
        "/containers/json",
        "a kind of mount that is a number",
        |v| v[0]["Mounts"] = json!([{"Type": 7}]),
    ),
    ("/services", "null", |v| *v = Value::Null),
    ("/tasks", "null", |v| *v = Value::Null),
    ("/services", "a service without id", |v| {
        drop_key(&mut v[0], "ID");
    }),
    ("/services", "a service without spec", |v| {
        drop_key(&mut v[0], "Spec");
    }),
    ("/services", "an image that is a number", |v| {
        v[0]["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] = json!(7);
    }),
    ("/services", "a previous spec that is text", |v| {
        v[0]["PreviousSpec"] = json!("the last");
    }),
    ("/services", "an update that is text", |v| {
        v[0]["UpdateStatus"] = json!("updating");
    }),
    ("/tasks", "a task without id", |v| drop_key(&mut v[0], "ID")),
    ("/tasks", "a state that is a number", |v| {
        v[0]["Status"]["State"] = json!(7);
    }),
    ("/tasks", "a spec that is a list", |v| {
        v[0]["Spec"] = json!([1]);
    }),
    ("/system/df", "build records that are an object", |v| {
        v["BuildCache"] = json!({});
    }),
    ("/system/df", "a build in use, perhaps", |v| {
        v["BuildCache"] = json!([{"ID": "x", "InUse": "perhaps"}]);
    }),
    ("/events", "a time that is text", |v| {
        v["timeNano"] = json!("now");
    }),
    ("/events", "an actor that is text", |v| {
        v["Actor"] = json!("me");
    }),
];

/// A change, and what it is.
type Named = (&'static str, fn(&mut Value));

/// What happens to a host, and what it is.
type Happening = (&'static str, Box<dyn Fn(&mut World)>);

fn drop_key(value: &mut Value, key: &str) {
    let map = value.as_object_mut().expect("an object");
    map.remove(key)
        .unwrap_or_else(|| panic!("there was no {key}"));
}

fn list(value: &mut Value) -> &mut Vec<Value> {
    value.as_array_mut().expect("a list")
}

#[test]
fn an_answer_that_makes_no_sense_ends_the_run_with_69() {
    for (path, what, change) in NONSENSE {
        for command in ["plan", "prune"] {
            let host = Host::of(KIND);
            if *path == "/events" {
                // The fake changes whole answers: one event is one.
                host.fake.world(|world| {
                    world.events.retain(|event| event["Type"] == "container");
                    world.events.truncate(1);
                });
            }
            host.asks_for(path);
            host.fake.fault("GET", path, Fault::json(*change));
            let ran = host.run(&[command]);
            assert_eq!(ran.code, 69, "{command}, {path}: {what}: {ran:?}");
            assert_eq!(host.fake.changes(), [""; 0], "{path}: {what}");
            host.is_whole_but_for(&[]);
        }
    }
}

#[test]
fn keys_that_stand_there_twice_end_the_run_with_69() {
    let twice = |text: &str| format!("[{text}]").into_bytes();
    let id = format!("sha256:{:064x}", 1);
    for (path, body) in [
        (
            "/images/json",
            twice(&format!(
                r#"{{"Id":"{id}","RepoTags":["a:1"],"RepoTags":[],"RepoDigests":[]}}"#
            )),
        ),
        (
            "/containers/json",
            twice(&format!(r#"{{"Id":"c","ImageID":"{id}","ImageID":""}}"#)),
        ),
        (
            "/services",
            twice(r#"{"ID":"s","Spec":{"Name":"a"},"Spec":{}}"#),
        ),
        (
            "/system/df",
            br#"{"BuildCache":[{"InUse":true}],"BuildCache":[]}"#.to_vec(),
        ),
    ] {
        let host = Host::of(KIND);
        host.fake.fault("GET", path, Fault::Body(body));
        let ran = host.run(&["prune"]);
        assert_eq!(ran.code, 69, "{path}: {ran:?}");
        assert!(ran.stderr.contains("duplicate field"), "{path}: {ran:?}");
        assert_eq!(host.fake.changes(), [""; 0]);
    }
}

/// Changes that an engine may make, and that are nobody's business.
const HARMLESS: &[Change] = &[
    ("/version", "more", |v| {
        v["New"] = json!({"a": [1, {"b": null}]});
    }),
    ("/info", "more", |v| v["New"] = json!(1e300)),
    ("/info", "less", |v| drop_key(v, "RegistryConfig")),
    ("/images/json", "more", |v| v[0]["New"] = json!([[[[]]]])),
    ("/containers/json", "more", |v| {
        v[0]["New"] = json!("\u{202e}");
    }),
    ("/containers/json", "a state that is new", |v| {
        v[0]["State"] = json!("hibernating");
    }),
    ("/containers/json", "ports of another kind", |v| {
        v[0]["Ports"] = json!({"80": "81"});
    }),
    ("/services", "more", |v| v[0]["Spec"]["New"] = json!(true)),
    ("/tasks", "more", |v| v[0]["New"] = json!(-1)),
    ("/system/df", "more", |v| v["New"] = json!([])),
    ("/system/df", "null, which is none", |v| {
        v["BuildCache"] = Value::Null;
    }),
    ("/images/sha256:", "more", |v| v["New"] = json!({})),
];

#[test]
fn fields_that_are_new_or_not_needed_change_nothing() {
    let usual = verdicts(&Host::of(KIND).secateur.plan());
    for (path, what, change) in HARMLESS {
        let host = Host::of(KIND);
        host.asks_for(path);
        host.fake.fault("GET", path, Fault::json(*change));
        assert_eq!(verdicts(&host.secateur.plan()), usual, "{path}: {what}");
    }
}

#[test]
fn an_image_that_cannot_be_looked_at_is_kept_and_the_others_go() {
    let looks: &[Named] = &[
        ("another image", |v| {
            v["Id"] = json!(format!("sha256:{:064x}", 1));
        }),
        ("no id", |v| drop_key(v, "Id")),
        ("no names, not even null", |v| {
            drop_key(v, "RepoTags");
            drop_key(v, "RepoDigests");
        }),
        ("tags that are a number", |v| v["RepoTags"] = json!(7)),
        ("a tag that is a path", |v| {
            v["RepoTags"] = json!(["../containers/x"]);
        }),
        ("a tag since", |v| {
            v["RepoTags"] = json!(["somebody/has:it"]);
        }),
        ("a tag time that is a number", |v| {
            v["Metadata"]["LastTagTime"] = json!(7);
        }),
        ("a tag time that is none", |v| {
            v["Metadata"]["LastTagTime"] = json!("yesterday");
        }),
        ("a tag time in the future", |v| {
            v["Metadata"]["LastTagTime"] = json!("2999-01-01T00:00:00Z");
        }),
        ("an empty list", |v| *v = json!([])),
    ];
    for (what, change) in looks {
        let host = Host::of(KIND);
        let litter = host.litter();
        let path = format!("/images/{}/json", litter[0]);
        host.fake.fault("GET", &path, Fault::json(*change));
        let ran = host.run(&["prune", "--format", "json"]);
        assert!([0, 1].contains(&ran.code), "{what}: {ran:?}");
        host.is_whole_but_for(&litter[1..]);
        let changes = host.fake.changes();
        assert!(
            !changes.iter().any(|line| line.contains(&litter[0])),
            "{what}: {changes:?}"
        );
    }
}

#[test]
fn a_name_that_is_no_name_reaches_no_url_and_keeps_its_image() {
    for bad in [
        "../containers/x",
        "a?force=1",
        "a#b",
        "a b",
        "/etc/passwd",
        "a/../../b:1",
        "A:1",
        "a:1\r\nX: y",
        "a%2e%2e:1",
        "",
        "\u{0}",
        "\u{202e}a:1",
        "-a:1",
    ] {
        for key in ["RepoTags", "RepoDigests"] {
            let host = Host::of(KIND);
            let litter = host.litter();
            host.fake
                .world(|world| world.image(&litter[0])[key] = json!([bad]));
            let plan = host.secateur.plan();
            assert_eq!(reasons(&plan, &litter[0]), ["incomplete"], "{key} {bad:?}");
            assert_eq!(host.run(&["prune"]).code, 0, "{key} {bad:?}");
            assert_eq!(host.gone(&litter), litter[1..], "{key} {bad:?}");
            for line in host.fake.seen() {
                let path = line.split(' ').nth(1).expect("a path");
                let path = path.split('?').next().expect("a path");
                let known = [
                    "/version",
                    "/_ping",
                    "/info",
                    "/services",
                    "/tasks",
                    "/system/df",
                    "/events",
                    "/images/json",
                    "/containers/json",
                ];
                let harmless = path
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"/:.%_-".contains(&b));
                let an_image = path.starts_with("/images/sha256:")
                    || path.starts_with("/images/secateur.invalid");
                assert!(
                    known.contains(&path) || (harmless && an_image && !path.contains("..")),
                    "{line}"
                );
            }
        }
    }
}

#[test]
fn a_list_that_contradicts_the_counts_is_asked_for_once_more() {
    for path in ["/images/json", "/containers/json"] {
        // Empty once: what it lists then is what is there.
        let host = Host::of(KIND);
        let litter = host.litter();
        host.fake
            .fault_at("GET", path, 1, Fault::json(|v| list(v).clear()));
        let ran = host.run(&["prune"]);
        assert_eq!(ran.code, 0, "{path}: {ran:?}");
        host.is_whole_but_for(&litter);
        // Empty twice: refused, and said so in the report.
        let host = Host::of(KIND);
        host.fake
            .fault("GET", path, Fault::json(|v| list(v).clear()));
        let ran = host.run(&["prune", "--format", "json"]);
        assert_eq!(ran.code, 69, "{path}: {ran:?}");
        let outcome: Value = serde_json::from_str(&ran.stdout).expect("a report");
        assert_eq!(refusals(&outcome), ["engine-inconsistent"]);
        let asked = host.fake.seen();
        let asked = asked.iter().filter(|line| line.contains(path)).count();
        assert_eq!(asked, 2, "{path}");
        // So it is where the second count is missing: that is no zero.
        let host = Host::of(KIND);
        host.fake
            .fault("GET", path, Fault::json(|v| list(v).clear()));
        let uncounted = Fault::json(|v| {
            drop_key(v, "Images");
            drop_key(v, "Containers");
        });
        host.fake.fault_at("GET", "/info", 2, uncounted);
        let ran = host.run(&["prune"]);
        assert_eq!(ran.code, 69, "{path}: {ran:?}");
        host.is_whole_but_for(&[]);
        // To the other commands it is no answer.
        for args in [&["plan"][..], &["verify-cache", "app:latest"]] {
            if path == "/containers/json" && args[0] != "plan" {
                continue; // it asks for no containers
            }
            let ran = host.run(args);
            assert_eq!((ran.code, &*ran.stdout), (69, ""), "{path}: {ran:?}");
        }
        host.is_whole_but_for(&[]);
    }
}

#[test]
fn a_list_that_is_not_found_while_an_image_goes_is_asked_for_three_times() {
    let gone = || Fault::Status(404, "content digest sha256:35: not found");
    for path in ["/images/json", "/containers/json"] {
        // The images that go beside two of them are away for the third.
        let host = Host::of(KIND);
        let litter = host.litter();
        for number in [1, 2] {
            host.fake.fault_at("GET", path, number, gone());
        }
        let ran = host.run(&["prune"]);
        assert_eq!(
            (ran.code, host.fake.faults_met()),
            (0, 2),
            "{path}: {ran:?}"
        );
        host.is_whole_but_for(&litter);
        // An engine that never finds it has an image that is broken: it says which.
        let host = Host::of(KIND);
        host.fake.fault("GET", path, gone());
        let ran = host.run(&["prune"]);
        assert_eq!(
            (ran.code, host.fake.faults_met()),
            (69, 3),
            "{path}: {ran:?}"
        );
        let why = "asked 3 times, the engine answered 404: content digest sha256:35: not found";
        assert!(ran.stderr.contains(why), "{path}: {}", ran.stderr);
        host.is_whole_but_for(&[]);
    }
}

#[test]
fn sizes_and_dates_at_their_ends_overflow_nothing() {
    for (size, created) in [
        (i64::MAX, i64::MAX),
        (i64::MIN, i64::MIN),
        (-1, -62_135_596_800),
        (0, 0),
    ] {
        let host = Host::of(KIND);
        host.fake.fault(
            "GET",
            "/images/json",
            Fault::json(move |images| {
                for image in list(images) {
                    image["Size"] = json!(size);
                    image["SharedSize"] = json!(size);
                    image["Created"] = json!(created);
                }
            }),
        );
        for args in [
            &["plan"][..],
            &["plan", "-v"],
            &["plan", "--format", "json"],
            &["prune"],
        ] {
            let ran = host.run(args);
            assert_eq!(ran.code, 0, "{size} {created}: {ran:?}");
        }
        let litter = Host::of(KIND).litter();
        let young = created == i64::MAX;
        let gone = if young { &[][..] } else { &litter };
        host.is_whole_but_for(gone);
    }
}

#[test]
fn a_store_that_is_not_known_is_only_looked_at() {
    let unknown: &[Named] = &[
        ("a driver that is new", |info| {
            info["Driver"] = json!("novelfs");
        }),
        ("no driver", |info| info["Driver"] = json!("")),
        ("a driver that is a path", |info| {
            info["Driver"] = json!("../../etc");
        }),
        ("a snapshotter of another kind", |info| {
            info["Driver"] = json!("stargz");
            info["DriverStatus"] = json!([["driver-type", "io.newstore.v1"]]);
        }),
    ];
    for (what, change) in unknown {
        let host = Host::of(KIND);
        host.fake.world(|world| change(&mut world.info));
        for _ in 0..2 {
            let ran = host.run(&["prune"]);
            assert!([0, 75].contains(&ran.code), "{what}: {ran:?}");
        }
        let ran = host.run(&["plan", "--format", "json"]);
        assert_eq!(ran.code, 0, "{what}: {ran:?}");
        let plan: Value = serde_json::from_str(&ran.stdout).expect("a plan");
        assert_eq!(plan["summary"]["remove"], 0, "{what}");
        assert_eq!(host.fake.changes(), [""; 0], "{what}");
    }
}

#[test]
fn a_name_that_was_left_over_stays_on_an_engine_that_is_only_looked_at() {
    let host = Host::of(KIND);
    let known = host.fake.world(|world| {
        let names = |image: &Value| image["RepoTags"].as_array().map_or(0, Vec::len);
        let tagged = world.images.iter_mut().find(|image| names(image) > 0);
        let tags = tagged.expect("a tagged image")["RepoTags"].as_array_mut();
        let ours = "secateur.invalid/remove:0123456789ab";
        tags.expect("a list").push(json!(ours));
        std::mem::replace(&mut world.info["Driver"], json!("novelfs"))
    });
    // Nothing else is to speak against it.
    let policy = format!("{}\n[guard]\npulls = \"best-effort\"\n", patient());
    host.secateur.policy(&policy);
    host.secateur.prune(0);
    assert_eq!(host.fake.changes(), [""; 0]);
    // On one that is known it goes, though nothing else is to be done.
    host.fake.world(|world| world.info["Driver"] = known);
    host.secateur.prune(0);
    assert_eq!(host.fake.names_of_ours(), [""; 0]);
    host.is_whole_but_for(&[]);
}

#[test]
fn podman_is_only_looked_at() {
    let host = Host::of(KIND);
    // Nothing but the store is to speak against a removal.
    let policy = format!("{EAGER}\n[guard]\npulls = \"best-effort\"\n");
    host.secateur.policy(&policy);
    // As 4.3 and 5.8 answer: ids without `sha256:`, null for no names.
    host.fake.world(|world| {
        world.version["Components"][0]["Name"] = json!("Podman Engine");
        world.version["ApiVersion"] = json!("1.41");
        world.info["Driver"] = json!("overlay");
        world.info["Swarm"] = json!({"LocalNodeState": "inactive"});
        for image in &mut world.images {
            image["Id"] = json!(text(image, "Id").trim_start_matches("sha256:"));
            for key in ["RepoTags", "RepoDigests"] {
                if image[key] == json!([]) {
                    image[key] = Value::Null;
                }
            }
        }
        for container in &mut world.containers {
            container["ImageID"] = json!(text(container, "ImageID").trim_start_matches("sha256:"));
        }
    });
    let plan = host.secateur.plan();
    assert_eq!(plan["engine"]["store"], "podman");
    assert_eq!(plan["summary"]["remove"], 0);
    for _ in 0..2 {
        assert_eq!(host.secateur.prune(0)["result"], "nothing");
    }
    // Also when everything is old enough.
    host.secateur.until_old();
    assert_eq!(host.secateur.plan()["summary"]["remove"], 0);
    assert_eq!(host.secateur.prune(0)["result"], "nothing");
    assert_eq!(host.fake.changes(), [""; 0]);
}

#[test]
fn a_store_that_was_switched_begins_anew_and_switched_back_goes_on() {
    let host = Host::of(KIND);
    let litter = host.litter();
    assert_eq!(
        image(&host.secateur.plan(), &litter[0])["verdict"],
        "remove"
    );
    host.fake.world(|world| {
        world.info["Driver"] = json!("overlayfs");
        world.info["DriverStatus"] = json!([["driver-type", "io.containerd.snapshotter.v1"]]);
    });
    let plan = host.secateur.plan();
    assert_eq!(plan["engine"]["store"], "containerd");
    for id in &litter {
        assert!(
            reasons(&plan, id).contains(&"first-seen".to_owned()),
            "{plan:#}"
        );
    }
    assert_eq!(host.secateur.prune(0)["removed"], json!([]));
    assert_eq!(host.fake.changes(), [""; 0]);
    // And back: what was remembered of this store.
    let recorded = Host::of(KIND).fake.world(|world| world.info.clone());
    host.fake.world(|world| {
        for key in ["Driver", "DriverStatus"] {
            world.info[key] = recorded[key].clone();
        }
    });
    assert_eq!(ids(&host.secateur.prune(0), "removed"), litter);
}

#[test]
fn an_engine_that_was_upgraded_is_seen_and_its_ages_go_on() {
    let host = Host::of(KIND);
    host.fake.world(|world| {
        world.version["Version"] = json!("29.3.0");
        world.info["ServerVersion"] = json!("29.3.0");
        world.version["ApiVersion"] = json!("1.54");
        world.version["MinAPIVersion"] = json!("1.40");
    });
    let plan = host.secateur.plan();
    assert_eq!(plan["engine"]["version"], "29.3.0");
    assert_eq!(
        ids(&host.secateur.prune(0), "removed"),
        Host::of(KIND).litter()
    );
}

#[test]
fn an_untroubled_prune_takes_the_litter_and_nothing_else() {
    for kind in KINDS {
        let host = Host::of(kind);
        let litter = host.litter();
        assert!(litter.len() > 1, "{kind}");
        let outcome = host.secateur.prune(0);
        assert_eq!(ids(&outcome, "removed"), litter, "{kind}: {outcome:#}");
        host.is_whole_but_for(&litter);
        assert!(host.fake.names_of_ours().is_empty(), "{kind}");
    }
}

/// The service's specs and its tasks name nothing but what the test says.
fn service(host: &Host, current: &str, previous: &str, task: &str) {
    host.fake.world(|world| {
        world.containers.clear();
        let name = |spec: &mut Value, image: &str| spec["ContainerSpec"]["Image"] = json!(image);
        name(&mut world.services[0]["Spec"]["TaskTemplate"], current);
        name(
            &mut world.services[0]["PreviousSpec"]["TaskTemplate"],
            previous,
        );
        world.tasks.truncate(1);
        name(&mut world.tasks[0]["Spec"], task);
    });
}

#[test]
fn what_a_service_wants_wanted_or_had_one_of_its_tasks_do_stays() {
    for place in 0..3 {
        let host = Host::of(KIND);
        let litter = host.litter();
        let mut named = ["site:2"; 3];
        named[place] = &litter[0];
        service(&host, named[0], named[1], named[2]);
        let plan = host.secateur.plan();
        let why = reasons(&plan, &litter[0]);
        assert!(why.contains(&"service".to_owned()), "{named:?}: {why:?}");
        assert_eq!(ids(&host.secateur.prune(0), "removed"), litter[1..]);
    }
}

/// What of a service or of its tasks shows a deploy under way.
fn deploys() -> Vec<Happening> {
    let mut all: Vec<Happening> = Vec::new();
    for state in ["updating", "rollback_started", "in a way that is new"] {
        all.push((
            state,
            Box::new(move |world| {
                world.services[0]["UpdateStatus"]["State"] = json!(state);
            }),
        ));
    }
    for state in [
        "new",
        "allocated",
        "pending",
        "assigned",
        "accepted",
        "preparing",
        "hatching",
    ] {
        all.push((
            state,
            Box::new(move |world| world.tasks[0]["Status"]["State"] = json!(state)),
        ));
    }
    for state in ["pending", "error", "locked"] {
        all.push((
            state,
            Box::new(move |world| world.info["Swarm"]["LocalNodeState"] = json!(state)),
        ));
    }
    all
}

#[test]
fn a_deploy_under_way_refuses_the_run() {
    for (what, begin) in deploys() {
        let host = Host::of(KIND);
        host.fake.world(|world| begin(world));
        assert_eq!(refusals(&host.secateur.plan()), ["deploy"], "{what}");
        assert_eq!(refusals(&host.secateur.prune(75)), ["deploy"], "{what}");
        assert_eq!(host.fake.changes(), [""; 0], "{what}");
        // What is no answer about deploys is none that there are none.
        if what == "updating" {
            host.fake.fault(
                "GET",
                "/services",
                Fault::Status(503, "This node is not a swarm manager."),
            );
            assert_eq!(host.run(&["prune"]).code, 69);
        }
    }
}

/// A prune that takes what may go, and says this of a service.
#[track_caller]
fn goes_on(host: &Host, note: Option<&str>, what: &str) {
    let litter = host.litter();
    let outcome = host.secateur.prune(0);
    assert_eq!(ids(&outcome, "removed"), litter, "{what}");
    let notes = outcome["notes"].to_string();
    match note {
        Some(note) => assert!(notes.contains(note), "{what}: {notes}"),
        None => assert!(!notes.contains("service"), "{what}: {notes}"),
    }
}

#[test]
fn what_can_never_move_and_what_has_its_image_here_is_no_deploy() {
    for state in ["paused", "rollback_paused"] {
        let host = Host::of(KIND);
        host.fake
            .world(|world| world.services[0]["UpdateStatus"]["State"] = json!(state));
        goes_on(&host, Some(&format!("update is {state}")), state);
    }
    for state in ["ready", "starting"] {
        let host = Host::of(KIND);
        host.fake
            .world(|world| world.tasks[0]["Status"]["State"] = json!(state));
        goes_on(&host, None, state);
    }
    // An update whose last tasks fit on no node.
    let host = Host::of(KIND);
    host.fake.world(|world| {
        world.services[0]["UpdateStatus"]["State"] = json!("updating");
        let task = &mut world.tasks[0];
        task["Status"] = json!({"State": "pending", "Err": "no suitable node"});
        task["DesiredState"] = json!("running");
        drop_key(task, "NodeID");
    });
    goes_on(&host, Some("Swarm finds no node"), "no node");
}

#[test]
fn a_task_that_no_node_takes_holds_nothing_up_and_its_image_stays() {
    let host = Host::of(KIND);
    let litter = host.litter();
    service(&host, "site:2", "site:2", &litter[0]);
    host.fake.world(|world| {
        world.tasks[0]["Status"]["State"] = json!("pending");
        drop_key(&mut world.tasks[0], "NodeID");
    });
    assert_eq!(ids(&host.secateur.prune(0), "removed"), litter[1..]);
}

#[test]
fn the_tasks_of_a_whole_cluster_do_not_end_the_run() {
    let host = Host::of(KIND);
    let litter = host.litter();
    host.fake.world(|world| {
        let mut task = world.tasks[0].clone();
        task["NodeID"] = json!("another");
        task["Status"]["State"] = json!("preparing");
        for number in 0..20_000 {
            task["ID"] = json!(format!("{number:025}"));
            world.tasks.push(task.clone());
        }
    });
    // A plan reads them once.
    let plan = host.secateur.plan();
    for id in &litter {
        assert_eq!(image(&plan, id)["verdict"], "remove", "{plan:#}");
    }
}

#[test]
fn a_deploy_that_begins_between_two_removals_stops_the_run() {
    // The plan asks once; then each removal does.
    let host = Host::of(KIND);
    let litter = host.litter();
    let preparing = |tasks: &mut Value| tasks[0]["Status"]["State"] = json!("preparing");
    host.fake
        .fault_at("GET", "/tasks", 3, Fault::json(preparing));
    let outcome = host.secateur.prune(75);
    assert_eq!(outcome["result"], "stopped");
    assert_eq!(refusals(&outcome), ["deploy"]);
    assert_eq!(ids(&outcome, "removed"), litter[..1]);
    host.is_whole_but_for(&litter[..1]);
}

#[test]
fn a_build_that_begins_between_two_removals_stops_the_run() {
    let host = Host::of(KIND);
    let litter = host.litter();
    let building = |usage: &mut Value| usage["BuildCache"] = json!([{"ID": "x", "InUse": true}]);
    host.fake
        .fault_at("GET", "/system/df", 3, Fault::json(building));
    let outcome = host.secateur.prune(75);
    assert_eq!(refusals(&outcome), ["build"]);
    host.is_whole_but_for(&litter[..1]);
}
