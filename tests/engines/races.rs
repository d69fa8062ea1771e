//! What happens to an image between the plan and its removal, step by step, on
//! live engines: whoever names or uses it meanwhile keeps it.

use crate::lab::image::Archive;
use crate::lab::{Engine, Kind, Registry, wait_until};
use crate::support::proxy::{Gate, Proxy};
use crate::support::scene::{left_names, tags, untagged};
use crate::support::{EAGER, NOTHING, Ran, Secateur, ids, reasons};
use serde_json::{Value, json};

/// A run that is stopped at one step of its first removal.
struct Race {
    engine: Engine,
    proxy: Proxy,
    secateur: Secateur,
    /// What the plan removes, in this order.
    planned: Vec<String>,
}

impl Race {
    fn on(kind: Kind) -> Race {
        let engine = Engine::start(kind);
        let (planned, _) = untagged(&engine, 2);
        Race::with(engine, EAGER, planned)
    }

    fn with(engine: Engine, policy: &str, planned: Vec<String>) -> Race {
        let proxy = Proxy::before(&engine);
        let secateur = Secateur::at(&proxy.host(), policy);
        secateur.remember_all();
        let plan = secateur.plan();
        assert_eq!(plan["summary"]["remove"], planned.len(), "{plan:#}");
        Race {
            engine,
            proxy,
            secateur,
            planned,
        }
    }

    /// Runs prune; once the request is at the gate, `meanwhile` happens.
    #[track_caller]
    fn run(&self, gate: Gate, meanwhile: impl FnOnce(&Engine, &str)) -> Value {
        let run = self.secateur.start_prune();
        gate.reached();
        meanwhile(&self.engine, &self.planned[0]);
        gate.let_through();
        run.ended(0).json()
    }

    /// The first image stayed, skipped for a reason that says this; all others
    /// went.
    #[track_caller]
    fn first_was_skipped(&self, outcome: &Value, why: &str) {
        let name = self.engine.kind().name();
        assert_eq!(
            ids(outcome, "skipped"),
            self.planned[..1],
            "{name}: {outcome:#}"
        );
        let reason = outcome["skipped"][0]["reason"].as_str().expect("a reason");
        assert!(reason.contains(why), "{name}: {reason}");
        assert_eq!(ids(outcome, "removed"), self.planned[1..], "{name}");
        assert_eq!(ids(outcome, "failed"), NOTHING, "{name}");
        assert_eq!(outcome["collateral"], json!([]), "{name}");
        assert!(self.engine.has(&self.planned[0]), "{name}");
        assert_eq!(self.secateur.open_intents(), NOTHING);
        assert_eq!(self.secateur.results(&self.planned[0]), ["skipped"]);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_tagged_before_the_last_look_at_it_stays() {
    for kind in Kind::MAIN {
        let race = Race::on(kind);
        // The plan has looked at it, too: this is the look before the removal.
        let part = format!("/images/{}/json", race.planned[0]);
        let gate = race.proxy.stop("GET", &part, 2);
        let outcome = race.run(gate, |engine, id| engine.tag(id, "wanted:again"));
        race.first_was_skipped(&outcome, "it was tagged wanted:again since the plan");
        assert_eq!(race.engine.id("wanted:again"), race.planned[0]);
        // Nothing at all was done to it.
        assert_eq!(tags(&race.engine, &race.planned[0]), ["wanted:again"]);
        assert_eq!(race.proxy.count("DELETE"), 1, "{}", kind.name());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_tagged_just_before_we_name_it_stays() {
    for kind in Kind::MAIN {
        let race = Race::on(kind);
        let gate = race.proxy.stop("POST", "/tag", 1);
        let outcome = race.run(gate, |engine, id| engine.tag(id, "wanted:again"));
        race.first_was_skipped(&outcome, "something keeps it since: another name");
        assert_eq!(tags(&race.engine, &race.planned[0]), ["wanted:again"]);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_tagged_just_before_its_last_name_is_dropped_stays() {
    for kind in Kind::MAIN {
        let race = Race::on(kind);
        let gate = race.proxy.stop("DELETE", "/images/", 1);
        let outcome = race.run(gate, |engine, id| engine.tag(id, "wanted:again"));
        race.first_was_skipped(&outcome, "something keeps it since: another name");
        assert_eq!(race.engine.id("wanted:again"), race.planned[0]);
        assert_eq!(tags(&race.engine, &race.planned[0]), ["wanted:again"]);
        // And the next run keeps it for its tag.
        assert_eq!(
            reasons(&race.secateur.plan(), &race.planned[0])[0],
            "tagged"
        );
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_that_a_container_took_meanwhile_stays() {
    for kind in Kind::MAIN {
        for step in ["GET", "DELETE"] {
            let race = Race::on(kind);
            let gate = match step {
                "GET" => {
                    let part = format!("/images/{}/json", race.planned[0]);
                    race.proxy.stop("GET", &part, 2)
                }
                _ => race.proxy.stop("DELETE", "/images/", 1),
            };
            let mut container = String::new();
            let outcome = race.run(gate, |engine, id| {
                container = engine.create_container(id, &["/nothing"], &json!({}));
            });
            race.first_was_skipped(&outcome, "the engine would not");
            let inspected = race.engine.get(&format!("/containers/{container}/json"));
            assert_eq!(inspected["Image"], race.planned[0], "{}", kind.name());

            // A name of ours may be left on it: the engine drops no last name
            // of what a container uses. It does not keep the image for ever.
            let plan = race.secateur.plan();
            assert_eq!(reasons(&plan, &race.planned[0])[0], "in-use");
            race.engine.remove_container(&container);
            let outcome = wait_until("it is old again", || {
                let outcome = race.secateur.prune(0);
                (outcome["result"] == "pruned").then_some(outcome)
            });
            assert_eq!(ids(&outcome, "removed"), race.planned[..1]);
            assert_eq!(left_names(&race.engine), NOTHING);
        }
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_digest_pinned_image_tagged_meanwhile_keeps_that_tag() {
    let registry = Registry::start();
    for kind in Kind::OVERLAY {
        for step in ["GET", "DELETE"] {
            let engine = Engine::start(kind);
            registry.put("pinned:v1", &Archive::new());
            let name = format!(
                "{}@{}",
                registry.name("pinned"),
                registry.digest("pinned:v1")
            );
            engine.pull(&name, Some(&registry.auth_header()));
            let id = engine.id(&name);
            assert_eq!(tags(&engine, &id), NOTHING, "digest only");
            let policy = EAGER.replace("[age]", "[age]\ndigest_pinned = \"1s\"");
            let race = Race::with(engine, &policy, vec![id.clone()]);
            let (gate, why) = match step {
                "GET" => {
                    let part = format!("/images/{id}/json");
                    let why = "it was tagged wanted:again since the plan";
                    (race.proxy.stop("GET", &part, 2), why)
                }
                _ => {
                    let why = "something keeps it since: another name";
                    (race.proxy.stop("DELETE", "/images/", 1), why)
                }
            };
            let outcome = race.run(gate, |engine, id| engine.tag(id, "wanted:again"));
            race.first_was_skipped(&outcome, why);
            assert_eq!(race.engine.id("wanted:again"), id);
            assert_eq!(tags(&race.engine, &id), ["wanted:again"]);
        }
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_that_somebody_else_removed_meanwhile_is_no_failure() {
    for kind in Kind::MAIN {
        for step in ["GET", "DELETE"] {
            let race = Race::on(kind);
            let gate = match step {
                "GET" => {
                    let part = format!("/images/{}/json", race.planned[0]);
                    race.proxy.stop("GET", &part, 2)
                }
                _ => race.proxy.stop("DELETE", "/images/", 1),
            };
            let outcome = race.run(gate, |engine, id| {
                engine.remove(id).ok("removed by somebody");
            });
            assert_eq!(ids(&outcome, "skipped"), race.planned[..1], "{outcome:#}");
            assert_eq!(outcome["skipped"][0]["reason"], "gone already");
            assert_eq!(
                ids(&outcome, "removed"),
                race.planned[1..],
                "{}",
                kind.name()
            );
            assert_eq!(race.secateur.open_intents(), NOTHING);
        }
    }
}

/// An image that was pulled by digest alone and is to go, and how its run ended. It was stopped at
/// the drop of the image's name.
fn going(
    kind: Kind,
    registry: &Registry,
    before: impl FnOnce(),
    meanwhile: impl FnOnce(&Engine),
) -> (Engine, Ran, String) {
    let engine = Engine::start(kind);
    registry.put("app:1", &Archive::new().busybox());
    let (repository, digest) = (registry.name("app"), registry.digest("app:1"));
    let name = format!("{repository}@{digest}");
    engine.pull(&name, Some(&registry.auth_header()));
    let id = engine.id(&name);
    before();
    let proxy = Proxy::before(&engine);
    let policy = EAGER.replace("[age]", "[age]\ndigest_pinned = \"1s\"");
    let secateur = Secateur::at(&proxy.host(), &policy);
    secateur.remember_all();
    let gate = proxy.stop("DELETE", "/images/", 1);
    let run = secateur.start_prune();
    gate.reached();
    meanwhile(&engine);
    gate.let_through();
    let ran = run.done();
    (engine, ran, id)
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_pull_of_all_tags_keeps_those_that_it_gave_and_none_is_told_as_lost() {
    for kind in Kind::NEWEST {
        for moved in [false, true] {
            let registry = Registry::start();
            let more_tags = || {
                registry.retag("app:1", "app:2");
                if moved {
                    for tag in ["app:1", "app:2"] {
                        registry.put(tag, &Archive::new());
                    }
                }
            };
            let pull = |engine: &Engine| {
                engine.pull(&registry.name("app"), Some(&registry.auth_header()));
            };
            let (engine, ran, id) = going(kind, &registry, more_tags, pull);
            let outcome = ran.ended(0).json();
            assert_eq!(outcome["collateral"], json!([]), "{outcome:#}");
            assert!(moved || engine.has(&id), "{}: {outcome:#}", kind.name());
            for tag in ["app:1", "app:2"] {
                assert!(engine.has(&registry.name(tag)), "{}: {tag}", kind.name());
            }
        }
    }
}

/// Swarm may have made its container before the drop, may pull the image again after it, or
/// runs a container of an image that is gone.
#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_service_that_comes_while_its_image_goes_has_it_or_the_run_says_that_it_is_lost() {
    for kind in Kind::NEWEST {
        let registry = Registry::start();
        let create = |engine: &Engine| {
            engine.swarm_init();
            let pinned = registry.pinned("app:1");
            engine.service_create("web", &pinned, 1, Some(&registry.auth_header()));
        };
        let (engine, ran, id) = going(kind, &registry, || {}, create);
        wait_until("the service runs", || {
            let tasks = engine.tasks("web");
            let running = |task: &Value| task["Status"]["State"] == "running";
            tasks.iter().any(running).then_some(())
        });
        let told = ran.code == 70 && ran.stdout.contains(&registry.digest("app:1"));
        assert!(told || [0, 75].contains(&ran.code), "{ran:#?}");
        assert!(told || engine.has(&id), "{}: {ran:#?}", kind.name());
    }
}
