//! Images that have digest references alone on the containerd store: they go by their age,
//! and whoever wants one while its names are dropped finds all of them afterwards.

use std::path::PathBuf;

use crate::lab::image::Archive;
use crate::lab::{Engine, Kind, Registry, wait_until};
use crate::support::proxy::{Gate, Proxy};
use crate::support::scene::{left_names, tags, untagged};
use crate::support::{EAGER, NOTHING, Secateur, ids, image, reasons, unpinned, with_lock};
use serde_json::{Value, json};

/// The steps of one removal, each as the request that it is.
const STEPS: [(&str, &str, usize); 5] = [
    ("POST", "/tag", 1),
    // The reference in one repository, then in the other.
    ("DELETE", "/images/", 1),
    ("DELETE", "/images/", 2),
    // Our own name.
    ("DELETE", "/images/", 3),
    ("GET", "/containers/json", 2),
];

/// A host with one image that was pulled by digest from two repositories.
struct Host {
    engine: Engine,
    registry: Registry,
    proxy: Proxy,
    secateur: Secateur,
    id: String,
    names: [String; 2],
}

impl Host {
    fn new(kind: Kind, policy: &str) -> Host {
        let engine = Engine::start(kind);
        let registry = Registry::start();
        let digest = registry.put("app:v1", &Archive::new().busybox());
        registry.retag("app:v1", "mirror:v1");
        let names = ["app", "mirror"].map(|name| format!("{}@{digest}", registry.name(name)));
        for name in &names {
            engine.pull(name, Some(&registry.auth_header()));
        }
        let proxy = Proxy::before(&engine);
        let secateur = Secateur::at(&proxy.host(), policy);
        Host {
            id: engine.id(&names[0]),
            engine,
            registry,
            proxy,
            secateur,
            names,
        }
    }

    fn old(kind: Kind) -> Host {
        let host = Host::new(kind, &unpinned());
        host.secateur.remember();
        host
    }

    fn pull(&self, name: &str) {
        self.engine.pull(
            &self.registry.name(name),
            Some(&self.registry.auth_header()),
        );
    }

    /// Prunes; once the request is at the gate, `meanwhile` happens.
    #[track_caller]
    fn race(&self, gate: Gate, meanwhile: impl FnOnce()) -> Value {
        let run = self.secateur.start_prune();
        gate.reached();
        meanwhile();
        gate.let_through();
        run.ended(0).json()
    }

    /// It was skipped, and has both its references and these tags, and no name of ours.
    #[track_caller]
    fn is_whole(&self, outcome: &Value, with: &[&str]) {
        assert_eq!(ids(outcome, "skipped"), [&*self.id], "{outcome:#}");
        assert_eq!(ids(outcome, "removed"), NOTHING, "{outcome:#}");
        assert_eq!(outcome["collateral"], json!([]), "{outcome:#}");
        let mut wanted: Vec<String> = self.names.to_vec();
        wanted.extend(with.iter().map(|name| self.registry.name(name)));
        let mut here = tags(&self.engine, &self.id);
        wanted.sort();
        here.sort();
        assert_eq!(here, wanted, "{outcome:#}");
        assert_eq!(left_names(&self.engine), NOTHING);
        assert_eq!(self.secateur.open_intents(), NOTHING);
        for name in &here {
            let container = self
                .engine
                .create_container(name, &["/nothing"], &json!({}));
            self.engine.remove_container(&container);
        }
    }

    /// Where containerd keeps what the image is made of.
    fn blob(&self) -> PathBuf {
        let hex = &self.id["sha256:".len()..];
        let content = "containerd/daemon/io.containerd.content.v1.content/blobs/sha256";
        self.engine.data_root().join(content).join(hex)
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn an_image_that_was_pulled_by_digest_goes_by_its_age_and_not_before_it() {
    for kind in Kind::NEWEST_CONTAINERD {
        let aged = EAGER.replace("[disk]", "digest_pinned = \"1h\"\n[disk]");
        let host = Host::new(kind, &aged);
        let (litter, _) = untagged(&host.engine, 1);
        host.secateur.remember();
        assert_eq!(reasons(&host.secateur.plan(), &host.id), ["too-young"]);
        let litter: Vec<&str> = litter.iter().map(String::as_str).collect();
        host.secateur
            .prune_takes(&host.engine, &litter, &[&host.id]);
        assert!(host.blob().exists());
        let mut here = tags(&host.engine, &host.id);
        here.sort();
        assert_eq!(here, host.names);
        host.secateur.policy(&unpinned());
        host.secateur.until_old();
        let plan = host.secateur.plan();
        assert_eq!(image(&plan, &host.id)["class"], "digest-pinned");
        host.secateur.prune_takes(&host.engine, &[&host.id], &[]);
        wait_until("its bytes to be gone", || {
            (!host.blob().exists()).then_some(())
        });
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_digest_that_has_a_tag_of_any_repository_stays_untouched() {
    for kind in Kind::NEWEST_CONTAINERD {
        for tag in ["app:v1", "mirror:v1"] {
            let host = Host::old(kind);
            host.pull(tag);
            host.secateur.look();
            assert_eq!(reasons(&host.secateur.plan(), &host.id)[0], "tagged");
            host.secateur.prune_takes(&host.engine, &[], &[&host.id]);
            assert!(tags(&host.engine, &host.id).contains(&host.registry.name(tag)));
            assert_eq!(host.proxy.count("DELETE") + host.proxy.count("POST"), 0);
        }
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_tag_that_is_pulled_before_the_drop_is_there_afterwards_with_the_digest_name() {
    for kind in Kind::NEWEST_CONTAINERD {
        for (method, part, number) in STEPS {
            for tag in ["app:v1", "mirror:v1"] {
                let host = Host::old(kind);
                let gate = host.proxy.stop(method, part, number);
                let outcome = host.race(gate, || host.pull(tag));
                host.is_whole(&outcome, &[tag]);
            }
        }
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_container_or_mount_that_comes_between_keeps_every_name() {
    for kind in Kind::NEWEST_CONTAINERD {
        for (method, part, number) in STEPS {
            for mounted in [false, true] {
                let host = Host::old(kind);
                host.engine.small("own:1");
                let gate = host.proxy.stop(method, part, number);
                let name = host.names[0].clone();
                let outcome = host.race(gate, || {
                    // Once its name is dropped, an image is found by its id alone.
                    let is_here = host.engine.has(&name);
                    let source = if is_here { &name } else { &host.id };
                    if mounted {
                        let mount = json!([{"Type": "image", "Source": source, "Target": "/m"}]);
                        let mount = json!({"HostConfig": {"Mounts": mount}});
                        host.engine.create_container("own:1", &["/nothing"], &mount);
                    } else {
                        host.engine
                            .create_container(source, &["/nothing"], &json!({}));
                    }
                });
                host.is_whole(&outcome, &[]);
            }
        }
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_tag_that_went_along_in_a_run_that_was_killed_comes_back_after_a_run_that_was_refused() {
    for kind in Kind::NEWEST_CONTAINERD {
        let host = Host::old(kind);
        let drop = host.proxy.stop("DELETE", "/images/", 1);
        let mut run = host.secateur.start_prune();
        drop.reached();
        host.pull("app:v1");
        let inspect = format!("/images/{}/json", host.id);
        let inspect = host.proxy.stop("GET", &inspect, 1);
        drop.let_through();
        inspect.reached();
        run.signal("KILL");
        run.done();
        inspect.let_through();
        assert!(!tags(&host.engine, &host.id).contains(&host.registry.name("app:v1")));

        let lock = host.secateur.dir().join("deploy.lock");
        std::fs::write(&lock, "").expect("a deploy's lock");
        let guarded = with_lock(&lock, "exists");
        host.secateur.policy(&guarded);
        host.secateur.prune(75);
        assert_eq!(left_names(&host.engine).len(), 1);
        std::fs::remove_file(&lock).expect("the deploy's lock");
        let outcome = host.secateur.prune(0);
        host.is_whole(&outcome, &["app:v1"]);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_tag_that_went_along_in_a_drop_that_failed_comes_back() {
    for kind in Kind::NEWEST_CONTAINERD {
        let host = Host::old(kind);
        let drop = host.proxy.stop("DELETE", "/images/", 1);
        let outcome = host.race(drop, || {
            host.pull("app:v1");
            host.engine.remove(&host.names[0]);
        });
        host.is_whole(&outcome, &["app:v1"]);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn a_tag_that_somebody_gives_to_another_image_while_it_is_put_back_is_that_ones() {
    for kind in Kind::NEWEST_CONTAINERD {
        let host = Host::old(kind);
        let other = host.engine.small("other:1");
        let drop = host.proxy.stop("DELETE", "/images/", 1);
        let back = host.proxy.stop("POST", "/tag", 2);
        let run = host.secateur.start_prune();
        drop.reached();
        host.pull("app:v1");
        drop.let_through();
        back.reached();
        let tag = host.registry.name("app:v1");
        host.engine.tag(&other, &tag);
        back.let_through();
        let outcome = run.ended(0).json();
        host.is_whole(&outcome, &[]);
        assert_eq!(host.engine.id(&tag), other);
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn names_of_an_image_that_somebody_removed_while_they_were_put_back_lead_to_nothing_and_go() {
    for kind in Kind::NEWEST_CONTAINERD {
        let host = Host::old(kind);
        let asked = host.proxy.stop("GET", "/containers/json", 2);
        let load = host.proxy.stop("POST", "/images/load", 1);
        let run = host.secateur.start_prune();
        asked.reached();
        let container = host
            .engine
            .create_container(&host.id, &["/nothing"], &json!({}));
        asked.let_through();
        load.reached();
        host.engine.remove_container(&container);
        for name in left_names(&host.engine) {
            host.engine.remove(&name);
        }
        load.let_through();
        let outcome = run.ended(0).json();
        assert_eq!(ids(&outcome, "skipped"), [&*host.id], "{outcome:#}");
        for name in &host.names {
            assert!(!host.engine.has(name), "{outcome:#}");
        }
        assert_eq!(left_names(&host.engine), NOTHING);
    }
}
