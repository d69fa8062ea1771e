//! What verify-cache promises, by whom, and what is said of lists that are wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::{Host, KIND};
use crate::support::{EAGER, Ran};

/// The promises of this policy, with these lists.
fn verify(host: &Host, cache: &str, lists: &[(&str, &[u8])]) -> Ran {
    let dir = host.secateur.dir().join("cache.d");
    fs::create_dir_all(&dir).expect("a folder");
    for (name, content) in lists {
        fs::write(dir.join(name), content).expect("a list");
    }
    let cache = cache.replace("DIR", &dir.display().to_string());
    host.secateur.policy(&format!("{EAGER}[cache]\n{cache}\n"));
    host.secateur.run(&["verify-cache", "--format", "json"])
}

/// The promised images, each with its state and who promised it.
fn promised(report: &Value) -> Vec<(String, String, Value)> {
    let images = report["images"].as_array().expect("images").iter();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let mut found: Vec<_> = images
        .map(|image| {
            let by = image["promised_by"].clone();
            (text(&image["image"]), text(&image["state"]), by)
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[test]
fn lists_and_recent_use_promise_images_beside_the_policy_and_each_says_so() {
    for kind in ["20.10 overlay2", KIND] {
        let host = Host::of(kind);
        let cache = "images = [\"app\"]\nlists = [\"DIR/*.list\"]\nrecent = \"14d\"\nnever = [\"*:pr-*\", \"job:*\"]";
        let lists: [(&str, &[u8]); 2] = [
            (
                "10-base.list",
                b"# base\napp:latest\n127.0.0.1:1/absent:1 # not here\n",
            ),
            ("20-site.list", b"\nsite:2\n"),
        ];
        let report = verify(&host, cache, &lists).ended(1).json();
        let file = |name: &str| host.secateur.dir().join("cache.d").join(name);
        let list =
            |name: &str, line: usize| json!({"kind": "list", "file": file(name), "line": line});
        let mut seen = promised(&report);
        // How many days those are depends on the hour.
        for (name, _, by) in seen.iter_mut().filter(|it| it.0.contains("site")) {
            let recent = by.as_array_mut().expect("a list").pop().expect("recent");
            assert_eq!(recent["kind"], "recent", "{kind}: {name} {recent}");
            let days = recent["days_of_use"].as_u64();
            assert!(days >= Some(1), "{kind}: {name} {recent}");
        }
        let image = |name: &str, state: &str, by| (name.to_owned(), state.to_owned(), by);
        assert_eq!(
            seen,
            [
                image(
                    "127.0.0.1:1/absent:1",
                    "missing",
                    json!([list("10-base.list", 3)])
                ),
                image(
                    "docker.io/library/app:latest",
                    "ready",
                    json!([{"kind": "policy"}, list("10-base.list", 2)])
                ),
                image("docker.io/library/site:1", "ready", json!([])),
                image(
                    "docker.io/library/site:2",
                    "ready",
                    json!([list("20-site.list", 2)])
                ),
            ],
            "{kind}: the events show that site:1 ran; job:1 was only created"
        );
    }
}

#[test]
fn a_list_that_is_wrong_ends_the_run_before_the_engine_is_asked() {
    let host = Host::of(KIND);
    let lists = "lists = [\"DIR/*.list\"]\nnever = [\"*:pr-*\"]";
    let before = host.fake.seen().len();
    for (content, said) in [
        (
            &b"app\napp:1\nredis:*\n"[..],
            "a.list, line 3: `redis:*` is no image name",
        ),
        (b"app\n\xc3\x28\n", "a.list, line 2: it is not UTF-8"),
        (
            b"app:pr-1\n",
            "a.list, line 1: it has \"app:pr-1\", and cache.never has \"*:pr-*\"",
        ),
    ] {
        let ran = verify(&host, lists, &[("a.list", content)]).ended(78);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
    let list = host.secateur.dir().join("cache.d/a.list");
    let ran = verify(&host, "lists = [\"DIR/b.list\"]", &[]).ended(78);
    assert!(
        ran.stderr.contains("b.list: it is not there"),
        "{}",
        ran.stderr
    );
    fs::write(&list, "app").expect("a list");
    fs::set_permissions(&list, fs::Permissions::from_mode(0o666)).expect("its mode");
    let ran = verify(&host, lists, &[]).ended(77);
    assert!(ran.stderr.contains("chmod go-w"), "{}", ran.stderr);
    fs::rename(&list, list.with_extension("old")).expect("it is there");
    make_fifo(&list);
    let ran = verify(&host, lists, &[]).ended(77);
    assert!(ran.stderr.contains("it is a FIFO"), "{}", ran.stderr);
    assert_eq!(host.fake.seen().len(), before, "nothing was asked");
    // Prune goes by no list.
    host.secateur.prune(0);
}

fn make_fifo(path: &std::path::Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.expect("mkfifo").success());
}

#[test]
fn ten_thousand_names_are_checked_and_a_pattern_without_a_file_is_noted() {
    let host = Host::of(KIND);
    let names = (0..10_000).map(|n| format!("127.0.0.1:1/app:{n}"));
    let names = names.collect::<Vec<_>>().join("\n");
    let lists = "lists = [\"DIR/*.list\", \"DIR/*.none\"]";
    let report = verify(&host, lists, &[("a.list", names.as_bytes())])
        .ended(1)
        .json();
    assert_eq!(report["summary"]["images"], 10_000);
    assert_eq!(report["summary"]["broken"], 10_000);
    let notes = report["notes"].to_string();
    assert!(notes.contains("cache.d/*.none"), "{notes}");
}

#[test]
fn room_is_told_in_numbers_and_breaks_the_promise_where_the_policy_says_so() {
    let host = Host::of(KIND);
    let report = |room: &str| {
        host.secateur.policy(&format!(
            "{EAGER}[cache]\nimages = [\"app\"]\n[room]\n{room}\n"
        ));
        host.secateur.run(&["verify-cache", "--format", "json"])
    };
    // However full the disk of these tests is.
    let crit = report("warn_percent = 0\ncrit_percent = 0").ended(1).json();
    assert_eq!(crit["result"], "broken");
    assert_eq!(crit["room"]["status"], "broken", "{crit:#}");
    assert_eq!(crit["room"]["level"], "crit");
    assert_eq!(crit["images"][0]["state"], "ready");
    let text = host.secateur.run(&["verify-cache"]).ended(1).stdout;
    // The data of the fake lies below /tmp, which does not last.
    assert!(
        text.ends_with("broken: 1 of 1 image, no room; 1 asked of no registry\n"),
        "{text}"
    );
    let warn = report("warn_percent = 0\ncrit_percent = 100").json();
    assert_eq!(warn["room"]["level"], "warn", "{warn:#}");
    assert_eq!(warn["room"]["status"], "ok");
    let room = &warn["room"];
    assert!(room["used_percent"].as_f64() > Some(0.0), "{room:#}");
    assert!(room["free_bytes"].as_u64() > Some(0), "{room:#}");
    assert_eq!(room["largest"]["image"], "docker.io/library/app:latest");
    let kinds = warn["images"][0]["checks"].as_array().expect("checks");
    assert!(
        !kinds.iter().any(|check| check["kind"] == "room"),
        "it is about no image"
    );
}
