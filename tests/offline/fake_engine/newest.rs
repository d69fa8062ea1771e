//! Engines of 29: what they tell that others do not, and what they no longer tell.

use serde_json::{Value, json};

use super::Host;
use crate::fake::Fake;
use crate::fake::world::{World, text};
use crate::support::{EAGER, Secateur, reasons, refusals};

/// Each with the recording of the same host on an older engine.
const PAIRS: [(&str, &str); 2] = [
    ("28.5 overlay2", "29.7 overlay2"),
    ("28.5 containerd", "29.7 containerd"),
];

/// What becomes of each image, and why, whatever its id.
fn verdicts(kind: &str) -> Vec<(String, String, Vec<String>)> {
    let plan = Host::of(kind).secateur.plan();
    let images = plan["images"].as_array().expect("images");
    let mut all: Vec<_> = images
        .iter()
        .map(|image| {
            let why = reasons(&plan, &text(image, "id"));
            (text(image, "class"), text(image, "verdict"), why)
        })
        .collect();
    all.sort();
    all
}

#[test]
fn the_same_host_gets_the_same_verdicts_on_29() {
    for (older, newer) in PAIRS {
        let older = verdicts(older);
        assert!(older.iter().any(|(_, verdict, _)| verdict == "remove"));
        assert_eq!(verdicts(newer), older, "{newer}");
    }
}

#[test]
fn an_engine_of_29_is_spoken_to_by_what_both_know() {
    for (_, kind) in PAIRS {
        for (newest, lowest, spoken) in [
            ("1.52", "1.44", "1.52"),
            ("1.53", "1.44", "1.53"),
            ("1.54", "1.40", "1.54"),
            ("1.56", "1.40", "1.55"),
            ("1.99", "1.44", "1.55"),
        ] {
            let host = Host::of(kind);
            host.fake.world(|world| {
                world.version["ApiVersion"] = json!(newest);
                world.version["MinAPIVersion"] = json!(lowest);
            });
            let file = host.secateur.dir().join("host.json");
            let path = file.to_str().expect("UTF-8");
            host.secateur
                .run(&["plan", "--save-inventory", path])
                .ended(0);
            let saved = std::fs::read(&file).expect("the host");
            let saved: Value = serde_json::from_slice(&saved).expect("JSON");
            assert_eq!(saved["inventory"]["engine"]["api"], spoken, "{kind}");
            let litter = host.litter();
            assert_eq!(
                host.secateur.prune(0)["result"],
                "pruned",
                "{kind} {newest}"
            );
            host.is_whole_but_for(&litter);
        }
    }
}

#[test]
fn a_build_is_seen_on_29_though_its_record_is_listed_only_where_that_is_asked_for() {
    for (_, kind) in PAIRS {
        let records = json!([{"ID": "x", "InUse": true}, {"ID": "y"}]);
        for usage in [
            json!({"Items": records, "TotalCount": 2}),
            json!({"ActiveCount": 1, "TotalCount": 2}),
        ] {
            let host = Host::of(kind);
            host.fake
                .world(|world| world.build_cache = json!({"BuildCacheUsage": usage}));
            let outcome = host.secateur.prune(75);
            assert_eq!(refusals(&outcome), ["build"], "{kind}: {usage}");
            host.is_whole_but_for(&[]);
        }
    }
}

/// Gives `job:1` these manifests.
fn with_manifests(world: &mut World, manifests: Value) {
    let tagged = |image: &&mut Value| {
        let tag = image["RepoTags"][0].as_str();
        tag.is_some_and(|tag| tag == "job:1")
    };
    let image = world.images.iter_mut().find(tagged).expect("job:1");
    image["Manifests"] = manifests;
}

fn manifest(architecture: &str, available: bool, content: u64) -> Value {
    json!({
        "Kind": "image", "Available": available, "ID": "sha256:x",
        "Size": {"Content": content, "Total": content},
        "ImageData": {
            "Platform": {"os": "linux", "architecture": architecture},
            "Size": {"Unpacked": 0},
        },
    })
}

/// `present` of `job:1`: status and message.
fn present(host: &Host) -> (String, String) {
    let run = host.run(&["verify-cache", "job:1", "--format", "json"]);
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let checks = report["images"][0]["checks"].as_array().expect("checks");
    let check = checks.iter().find(|check| check["kind"] == "present");
    let check = check.expect("present");
    (text(check, "status"), text(check, "message"))
}

#[test]
fn what_a_store_lacks_of_the_platform_is_told_without_an_export() {
    let one = |architecture, available, content| manifest(architecture, available, content);
    for (manifests, status, words) in [
        (json!([one("amd64", true, 9)]), "ok", ""),
        (
            json!([one("amd64", false, 0), one("arm64", true, 9)]),
            "unknown",
            "only linux/arm64 is here",
        ),
        (
            json!([one("amd64", false, 5), one("arm64", true, 9)]),
            "unknown",
            "not all of linux/amd64 is here",
        ),
        (
            json!([one("amd64", false, 0), one("arm64", false, 0)]),
            "unknown",
            "nothing of linux/amd64 is here",
        ),
        (json!([one("arm64", true, 9)]), "ok", ""),
        (Value::Null, "ok", ""),
        // Called experimental: what is no such list is not known.
        (json!("none"), "ok", ""),
        (json!([{"Kind": 7}]), "ok", ""),
    ] {
        let host = Host::of("29.7 containerd");
        host.fake
            .world(|world| with_manifests(world, manifests.clone()));
        let (seen, message) = present(&host);
        assert_eq!(seen, status, "{manifests}: {message}");
        assert!(message.contains(words), "{manifests}: {message}");
        let exported = host.fake.seen().iter().any(|path| path.contains("/get"));
        assert!(!exported, "{:?}", host.fake.seen());
    }
}

/// Where it tells what images share of both sizes, a plan needs no more.
#[test]
fn a_plan_asks_the_newest_engine_for_no_manifests() {
    for (kind, asks) in [("28.5 containerd", true), ("29.7 containerd", false)] {
        let fake = Fake::new(kind);
        Secateur::at(&fake.host(), EAGER).plan();
        let seen = fake.seen();
        let asked = seen.iter().any(|request| request.contains("manifests=1"));
        assert_eq!(asked, asks, "{kind}: {seen:?}");
    }
}
