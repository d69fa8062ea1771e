//! One image under several names, and names of which no registry is asked.

use serde_json::{Value, json};

use super::{Host, line, says};
use crate::lab::image::Archive;
use crate::lab::{Kind, Registry, USER, base64url};

/// What was not asked of an image: check and reason.
#[track_caller]
fn not_asked(report: &Value, image: &str) -> Vec<(String, String)> {
    let line = line(report, image);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let parts = line["not_asked"].as_array().expect("not_asked");
    let parts = parts
        .iter()
        .map(|part| (text(&part["kind"]), text(&part["message"])));
    parts.collect()
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn each_name_of_an_image_is_asked_for_at_its_own_registry() {
    for kind in Kind::MAIN {
        let host = Host::new(kind);
        let other = Registry::start();
        let image = Archive::new().tag("x:1");
        host.registry.put("app:v1", &image);
        other.put("mirror/app:v1", &image);
        let names = [host.registry.name("app:v1"), other.name("mirror/app:v1")];
        host.pull(&names[0]);
        host.engine.pull(&names[1], Some(&other.auth_header()));
        assert_eq!(host.engine.id(&names[0]), host.engine.id(&names[1]));
        let registries = [&host.registry, &other];
        let log_in = |wrong: Option<usize>| {
            let auth = |n: usize| {
                let right = registries[n].password();
                let password = if wrong == Some(n) { "wrong" } else { right };
                json!({"auth": base64url(format!("{USER}:{password}").as_bytes())})
            };
            let [first, second] = registries.map(Registry::address);
            host.config(&json!({"auths": {first: auth(0), second: auth(1)}}));
        };
        let [first, second] = &names;
        // The engine's list names a digest in one repository alone, and not always the same.
        for (n, name) in names.iter().enumerate() {
            log_in(Some(n));
            let report = host.verify(1, &["--strict", first, second]);
            says(kind, &report, name, "authenticated", "broken", &["refuses"]);
            says(kind, &report, &names[1 - n], "authenticated", "ok", &[]);
        }
        log_in(None);
        // Recorded under both, too: another engine has nothing but digests to compare.
        let path = host.path("before.json");
        host.verify(0, &["--record", &path]);
        let report = host.verify(0, &["--redeploy", "--against", &path]);
        for name in &names {
            says(kind, &report, name, "present", "ok", &["as recorded"]);
            says(kind, &report, name, "authenticated", "ok", &[]);
            says(kind, &report, name, "current", "ok", &["same digest"]);
            says(kind, &report, name, "reused", "ok", &["no layer"]);
            assert_eq!(not_asked(&report, name), []);
        }
        let elsewhere = std::fs::read_to_string(&path).unwrap();
        let id = host.engine.info()["ID"].as_str().expect("an id").to_owned();
        std::fs::write(&path, elsewhere.replace(&id, "another")).unwrap();
        let report = host.verify(0, &["--against", &path]);
        for name in &names {
            says(kind, &report, name, "present", "ok", &["as recorded"]);
        }
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn what_no_registry_is_asked_about_is_said_with_the_reason() {
    for kind in Kind::MAIN {
        let host = Host::new(kind);
        let local = host.registry.name("built-here:v1");
        let id = host.engine.load(&Archive::new().tag(&local));
        let asked = |args: &[&str], wanted: &str| {
            let report = host.verify(0, &[&["--strict"], args].concat());
            let parts = not_asked(&report, wanted);
            let kinds: Vec<&str> = parts.iter().map(|(kind, _)| kind.as_str()).collect();
            let whys: Vec<&str> = parts.iter().map(|(_, why)| why.as_str()).collect();
            let text = host.run(args).ended(0).stdout;
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for why in &whys {
                assert!(words.contains(&format!("not asked: {why}")), "{text}");
            }
            (kinds.join(" "), whys.join(" "))
        };
        let (kinds, why) = asked(&["--registry", &id], &id);
        assert_eq!(kinds, "authenticated current", "{}", kind.name());
        assert!(why.contains("promised by id"), "{why}");
        assert_eq!(asked(&[&id], &id).0, "authenticated");
        // The containerd store makes up a digest for every name: there it is asked.
        if kind.containerd() {
            let report = host.verify(1, &["--registry", &local]);
            says(kind, &report, &local, "current", "broken", &["no such tag"]);
        } else {
            let (kinds, why) = asked(&["--registry", &local], &local);
            assert_eq!(kinds, "authenticated current", "{}", kind.name());
            assert!(why.contains("built, loaded or tagged here"), "{why}");
        }
    }
}

/// From API 1.54 on the containerd store tells it as well: of what it remembers, which is not
/// what was loaded.
#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_pulled_image_is_not_asked_for_by_a_name_that_it_was_given_here() {
    for kind in Kind::MAIN {
        let host = Host::new(kind);
        host.registry.put("app:v1", &Archive::new().tag("x:1"));
        host.registry.put("also:v1", &Archive::new().tag("y:1"));
        let pulled = ["app:v1", "also:v1"].map(|name| host.registry.name(name));
        let given = host.registry.name("given/here:v1");
        for name in &pulled {
            host.pull(name);
        }
        host.engine.tag(&pulled[0], &given);
        let known = !kind.containerd() || host.engine.api_version() >= 54;
        let report = host.verify(i32::from(!known), &["--registry", &pulled[0], &given]);
        says(kind, &report, &pulled[0], "current", "ok", &[]);
        if known {
            let parts = not_asked(&report, &given);
            let kinds: Vec<&str> = parts.iter().map(|(kind, _)| kind.as_str()).collect();
            assert_eq!(kinds, ["authenticated", "current"], "{}", kind.name());
        } else {
            says(kind, &report, &given, "current", "broken", &["no such tag"]);
        }
        // Where it was pushed it is asked for again.
        host.engine.push(&given, &host.registry.auth_header());
        let report = host.verify(0, &["--registry", &given]);
        let of_digest: &[&str] = &["same digest"];
        says(kind, &report, &given, "current", "ok", of_digest);
    }
}
