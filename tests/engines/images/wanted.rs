//! Who asked for an image, what had a tag before, and what builds use, on live engines.

use serde_json::json;

use crate::lab::image::Archive;
use crate::lab::{Engine, Kind, Registry};
use crate::support::{EAGER, Secateur, image, keeping, patient, reasons, unpinned};

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_that_was_asked_for_by_tag_and_digest_is_cache_when_the_tag_has_moved_on() {
    let registry = Registry::start();
    let auth = registry.auth_header();
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let secateur = Secateur::at(&engine.host(), &keeping("previous = 0"));
        let put = |name: &str| {
            registry.put(name, &Archive::new().noise(1000));
            engine.pull(&registry.name(name), Some(&auth));
            engine.id(&registry.name(name))
        };
        let names = ["pulled:1", "run:1", "neither:1"];
        let [pulled, run, neither] = names.map(put);
        secateur.prune(0);
        engine.pull(&registry.pinned("pulled:1"), Some(&auth));
        let container =
            engine.create_container(&registry.pinned("run:1"), &["/nothing"], &json!({}));
        secateur.prune(0);
        engine.remove_container(&container);
        for name in names {
            put(name);
        }
        secateur.prune(0);
        secateur.until_removable(&neither);
        for id in [&pulled, &run] {
            secateur.until_kept_by(id, &["digest-pinned"]);
            let plan = secateur.plan();
            assert_eq!(
                image(&plan, id)["class"],
                "digest-pinned",
                "{}",
                kind.name()
            );
        }
        secateur.prune_takes(&engine, &[&neither], &[&pulled, &run]);

        // With an age of their own they go.
        secateur.policy(&format!("{}[keep]\nprevious = 0\n", unpinned()));
        secateur.until_removable(&run);
        secateur.prune_takes(&engine, &[&pulled, &run], &[]);
    }
}

/// Makes an image in one of the ways that an engine has, and gives it this tag.
fn comes(engine: &Engine, way: &str, tag: &str) -> String {
    let unique = crate::lab::image::unique();
    match way {
        "load" => engine.load(&Archive::new().noise(1000).tag(tag)),
        "import" => engine.import(tag, &crate::lab::image::tar(&[("a", unique.as_bytes())])),
        "commit" => {
            let container = engine.create_container("base:1", &["/nothing"], &json!({}));
            let change = json!({"Labels": {"unique": unique}});
            let path = format!("/commit?container={container}&repo={tag}");
            engine.api("POST", &path, Some(&change)).ok("commit");
            engine.remove_container(&container);
            engine.id(tag)
        }
        "build" => engine.build(tag, &format!("FROM base:1\nLABEL unique={unique}")),
        "tag" => {
            let id = engine.load(&Archive::new().noise(1000));
            engine.tag(&id, tag);
            id
        }
        _ => unreachable!("{way}"),
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn however_a_tag_moved_twice_between_two_runs_the_image_before_is_a_rollback() {
    const WAYS: [&str; 5] = ["load", "import", "commit", "build", "tag"];
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        engine.load(&Archive::new().noise(1000).tag("base:1"));
        let secateur = Secateur::at(&engine.host(), &keeping("previous = 0"));
        let come = |way: &&str| comes(&engine, way, &format!("by-{way}:1"));
        let first: Vec<String> = WAYS.iter().map(come).collect();
        secateur.look();
        let second: Vec<String> = WAYS.iter().map(come).collect();
        let third: Vec<String> = WAYS.iter().map(come).collect();
        // Of a load no event tells the tag: it may have been any of those that moved.
        let kept_as_rollbacks = |ids: &[String]| {
            let plan = secateur.plan();
            let only_so = |id: &String| reasons(&plan, id).iter().all(|why| why == "previous");
            let kept = |id: &String| image(&plan, id)["verdict"] == "keep" && only_so(id);
            ids.iter().map(kept).collect::<Vec<_>>()
        };
        secateur.look();
        secateur.until_old();
        assert_eq!(
            kept_as_rollbacks(&second),
            [false; WAYS.len()],
            "{}",
            kind.name()
        );
        secateur.policy(&keeping("previous = 1"));
        assert_eq!(
            kept_as_rollbacks(&second),
            [true; WAYS.len()],
            "{}",
            kind.name()
        );
        // The tags move once more: what came before this is no rollback any longer.
        secateur.look();
        for way in &WAYS {
            come(way);
        }
        secateur.look();
        secateur.until_old();
        for id in &third {
            secateur.until_kept_by(id, &["previous"]);
        }
        for earlier in [&first, &second] {
            assert_eq!(
                kept_as_rollbacks(earlier),
                [false; WAYS.len()],
                "{}",
                kind.name()
            );
        }
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn of_two_pulls_between_two_runs_the_first_is_a_rollback() {
    let registry = Registry::start();
    let auth = registry.auth_header();
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let secateur = Secateur::at(&engine.host(), &unpinned());
        let pull = || {
            registry.put("app:latest", &Archive::new().noise(1000));
            engine.pull(&registry.name("app:latest"), Some(&auth));
            engine.id(&registry.name("app:latest"))
        };
        pull();
        secateur.look();
        let second = pull();
        pull();
        secateur.look();
        secateur.until_kept_by(&second, &["previous"]);
        pull();
        secateur.look();
        secateur.until_kept_by(&second, &[]);
    }
}

const STAGED: &str = "FROM scratch AS one\nLABEL com.example.stage=1\nCOPY Dockerfile /a\n\
                      FROM scratch\nCOPY --from=one /a /b\n";

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_stage_that_a_classic_build_copies_from_stays_with_a_label_of_its_own() {
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let secateur = Secateur::at(&engine.host(), EAGER);
        let built = engine.build("built:1", STAGED);
        let list = engine.images();
        let parent_of_some = |id: &str| list.iter().any(|image| image["ParentId"] == id);
        let stage = list
            .iter()
            .filter(|image| image["Labels"]["com.example.stage"] == "1")
            .map(|image| image["Id"].as_str().expect("an id"))
            .find(|id| !parent_of_some(id))
            .expect("the end of the stage");
        secateur.remember();
        let plan = secateur.plan();
        assert_eq!(image(&plan, stage)["verdict"], "remove", "{}", kind.name());
        secateur.policy(&keeping("labels = [\"com.example.stage\"]"));
        secateur.prune_takes(&engine, &[], &[stage]);
        assert_eq!(reasons(&secateur.plan(), stage), ["keep-label"]);
        assert_eq!(engine.build("built:1", STAGED), built, "all of it was here");
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_was_needed_when_a_classic_build_used_it_though_what_was_built_is_gone() {
    for kind in Kind::MAIN {
        let engine = Engine::start(kind);
        let secateur = Secateur::at(&engine.host(), &patient());
        let base = engine.load(&Archive::new().noise(1000));
        secateur.prune(0);
        engine.build("built:1", &format!("FROM {base}\nLABEL a=1"));
        secateur.prune(0);
        assert_eq!(reasons(&secateur.plan(), &base), ["parent", "too-young"]);
        engine.remove("built:1").ok("remove");
        secateur.prune(0);
        let plan = secateur.plan();
        let by = &image(&plan, &base)["reasons"][0]["message"];
        let by = by.as_str().unwrap_or_default();
        assert!(
            by.contains("an image was built on it"),
            "{}: {plan:#}",
            kind.name()
        );
    }
}
