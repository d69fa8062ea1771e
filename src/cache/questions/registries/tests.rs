use std::collections::BTreeMap;

use super::*;
use crate::cache::check::{Check, Kind, Status};
use crate::cache::promise::By;
use crate::cache::registry::served::served;
use crate::engine::Insecure;
use crate::testing::block_on;

/// A registry of [`served`], and the client that asks it.
struct Host {
    registries: Registries,
    address: String,
    told: std::sync::mpsc::Receiver<String>,
    _folder: tempfile::TempDir,
}

impl Host {
    /// `login`: the auth in config.json, in base64.
    fn new(mode: &'static str, store: Store, login: Option<&str>) -> Host {
        let (address, told) = served(mode);
        let folder = tempfile::tempdir().unwrap();
        if let Some(auth) = login {
            let config = format!(r#"{{"auths":{{"{address}":{{"auth":"{auth}"}}}}}}"#);
            std::fs::write(folder.path().join("config.json"), config).unwrap();
        }
        let transport = Transport::new(Insecure::default());
        let registries = Registries::with(transport, store, Finder::of(Some(folder.path())));
        Host {
            registries,
            address,
            told,
            _folder: folder,
        }
    }

    /// The check "authenticated" of each name.
    fn asked(&mut self, names: &[&str], digests: bool) -> Vec<Check> {
        let promise = |name: &&str| Promise {
            wanted: Wanted::Name(format!("{}/{name}", self.address).parse().unwrap()),
            by: vec![By::Policy],
            recorded: None,
        };
        let promises: Vec<_> = names.iter().map(promise).collect();
        let (here, held) = (BTreeMap::new(), BTreeMap::new());
        let mut quiet = |_, _| {};
        let registries = &mut self.registries;
        let asking = registries.ask(&promises, &here, &held, digests, &mut quiet);
        let answers = block_on(asking);
        let of = |promise| answers.of(promise).find(|c| c.kind == Kind::Authenticated);
        promises.iter().filter_map(of).collect()
    }

    fn statuses(&mut self, names: &[&str]) -> Vec<Status> {
        let checks = self.asked(names, false);
        checks.iter().map(|check| check.status).collect()
    }

    fn heads(&self) -> usize {
        let heads = self.told.try_iter().filter(|line| line.starts_with("HEAD"));
        heads.count()
    }
}

/// `me:hunter2` and `me:wrong`.
const RIGHT: Option<&str> = Some("bWU6aHVudGVyMg==");
const WRONG: Option<&str> = Some("bWU6d3Jvbmc=");

#[test]
fn one_repository_that_wants_credentials_is_not_all_of_its_registry() {
    let mut host = Host::new("public", Store::Containerd, None);
    let names = ["open/app:1", "own/app:1", "own/app:2", "open/app:2"];
    let (open, own) = (Status::Ok, Status::Broken);
    assert_eq!(host.statuses(&names), [open, own, own, open]);
    assert_eq!(host.heads(), 2, "one a repository");
}

#[test]
fn a_token_server_that_denies_one_repository_denies_it_alone() {
    let (open, own) = (Status::Ok, Status::Broken);
    for (names, found) in [
        (["own/app:1", "open/app:1"], [own, open]),
        (["open/app:1", "own/app:1"], [open, own]),
    ] {
        let mut host = Host::new("scoped", Store::Containerd, None);
        assert_eq!(host.statuses(&names), found, "{names:?}");
    }
}

#[test]
fn a_ping_without_a_challenge_says_nothing_of_a_repository() {
    let names = ["open/app:1", "own/app:1", "busy/app:1"];
    let (ok, broken, unknown) = (Status::Ok, Status::Broken, Status::Unknown);
    for (store, login, own, words) in [
        (Store::Containerd, None, broken, "it wants some"),
        (Store::Containerd, RIGHT, ok, "lets everybody in"),
        (Store::Containerd, WRONG, broken, "for this repository"),
        // This engine sends credentials only if /v2/ asks for them.
        (Store::Graphdriver, RIGHT, broken, "sends no credentials"),
        (Store::Graphdriver, None, broken, "sends no credentials"),
    ] {
        let mut host = Host::new("open", store, login);
        let checks = host.asked(&names, false);
        let seen: Vec<_> = checks.iter().map(|check| check.status).collect();
        assert_eq!(seen, [ok, own, unknown], "{store} {login:?}: {checks:#?}");
        assert!(checks[1].message.contains(words), "{}", checks[1].message);
        assert!(checks[2].message.contains("503"), "{}", checks[2].message);
    }
}

#[test]
fn a_repository_that_could_not_be_asked_is_unknown_and_its_neighbours_are_not() {
    let mut host = Host::new("anybody", Store::Graphdriver, None);
    let names = ["open/app:1", "busy/app:1", "many/app:1"];
    let (ok, unknown) = (Status::Ok, Status::Unknown);
    assert_eq!(host.statuses(&names), [ok, unknown, unknown]);
    // A repository that has another of its images is known to be open.
    let checks = host.asked(&["open/app:busy", "open/app:1", "open/app:many"], true);
    assert!(checks.iter().all(|c| c.status == ok), "{checks:#?}");
}

#[test]
fn a_password_that_was_refused_is_not_sent_for_each_image() {
    for mode in ["login", "basic"] {
        let mut host = Host::new(mode, Store::Containerd, WRONG);
        let names = ["a/app:1", "b/app:1", "c/app:1", "d/app:1", "e/app:1"];
        let checks = host.asked(&names, true);
        assert!(checks.iter().all(|check| check.message.contains("refuses")));
        let app = Wanted::Name(format!("{}/a/app:1", host.address).parse().unwrap());
        assert!(host.registries.refuses(&app));
        let told: Vec<_> = host.told.try_iter().collect();
        let sent = told.iter().filter(|line| line.ends_with("Basic")).count();
        assert_eq!(sent, 1, "{mode}: {told:#?}");
    }
}

#[test]
fn a_registry_that_hangs_is_given_up_after_four_silences_and_all_after_the_runs_time() {
    let mut host = Host::new("hangs", Store::Containerd, None);
    host.registries.transport = Transport::impatient(Insecure::default()).into();
    let names: Vec<String> = (0..12).map(|n| format!("open/app:{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let checks = host.asked(&names, true);
    assert!(checks.iter().all(|check| check.status == Status::Unknown));
    // The other three workers finish the requests that they began before the fourth timeout.
    let heads = host.heads();
    assert!((4..=7).contains(&heads), "{heads}");
    let mut host = Host::new("hangs", Store::Containerd, RIGHT);
    host.registries.time_budget = TimeBudget::spent();
    let checks = host.asked(&names[..1], true);
    assert!(checks[0].message.contains("was not asked"), "{checks:?}");
    assert_eq!(host.told.try_iter().count(), 0);
    // The engine may pull, and needs them for that.
    let app = format!("{}/open/app:0", host.address).parse().unwrap();
    assert!(host.registries.credentials(&app).is_some());
}

#[test]
fn a_registry_that_hangs_is_given_up_when_it_is_asked_for_one_image_after_the_other() {
    let mut host = Host::new("hangs", Store::Containerd, None);
    host.registries.transport = Transport::impatient(Insecure::default()).into();
    let ask = |n| {
        let name = format!("{}/open/app:{n}", host.address).parse().unwrap();
        block_on(host.registries.offer(&name))
    };
    assert!((0..12).map(ask).all(|offer| offer == Offer::Unknown));
    let told: Vec<_> = host.told.try_iter().collect();
    let heads = told.iter().filter(|line| line.starts_with("HEAD")).count();
    // And once /v2/, and a token.
    assert_eq!((heads, told.len()), (4, 6), "{told:#?}");
}

/// The time limit of the systemd unit.
fn time_of_the_unit() -> std::time::Duration {
    let unit = include_str!("../../../../systemd/secateur-verify.service");
    let minutes = unit
        .lines()
        .find_map(|line| line.strip_prefix("TimeoutStartSec=")?.strip_suffix("min"));
    std::time::Duration::from_mins(minutes.unwrap().parse().unwrap())
}

#[test]
fn a_hundred_registries_that_hang_take_half_of_the_units_time_at_most() {
    // The kernel accepts the connections, and nobody reads from them.
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let promise = |n| Promise {
        wanted: Wanted::Name(format!("127.0.0.{n}:{port}/app:1").parse().unwrap()),
        by: vec![By::Policy],
        recorded: None,
    };
    let promises: Vec<_> = (1..=100).map(promise).collect();
    let folder = tempfile::tempdir().unwrap();
    let (answers, took) = block_on(async {
        // With a paused clock, time advances when every task waits.
        tokio::time::pause();
        let begin = tokio::time::Instant::now();
        let transport = Transport::new(Insecure::default());
        let finder = Finder::of(Some(folder.path()));
        let mut registries = Registries::with(transport, Store::Containerd, finder);
        let (here, held) = (BTreeMap::new(), BTreeMap::new());
        let mut quiet = |_, _| {};
        let answers = registries.ask(&promises, &here, &held, true, &mut quiet);
        (answers.await, begin.elapsed())
    });
    let minutes = std::time::Duration::from_mins;
    assert!(
        (minutes(10)..=time_of_the_unit() / 2).contains(&took),
        "{took:?}"
    );
    let of = |promise: &Promise| answers.of(promise).find(|c| c.kind == Kind::Authenticated);
    let checks: Vec<Check> = promises.iter().filter_map(of).collect();
    assert_eq!(checks.len(), 100);
    assert!(checks.iter().all(|check| check.status == Status::Unknown));
    let waited = "waited for 10 minutes";
    let last = checks.iter().filter(|check| check.message.contains(waited));
    assert!(last.count() > 50, "{checks:#?}");
}

#[test]
fn a_registry_that_refuses_the_credentials_is_sent_them_once_whatever_is_asked_of_it() {
    let mut host = Host::new("login", Store::Containerd, WRONG);
    let name = |name: &str| format!("{}/{name}", host.address).parse().unwrap();
    let [app, db]: [Reference; 2] = [name("a/app:1"), name("b/db:1")];
    for name in [&app, &db] {
        let offer = block_on(host.registries.offer(name));
        assert!(matches!(&offer, Offer::Denied(why) if why.contains("refuses the credentials")));
    }
    let checks = host.asked(&["a/app:1", "b/db:1"], true);
    assert!(checks.iter().all(|check| check.status == Status::Broken));
    let told: Vec<_> = host.told.try_iter().collect();
    let sent = told.iter().filter(|line| line.ends_with("Basic")).count();
    assert_eq!(sent, 1, "{told:#?}");
}

#[test]
fn what_a_registry_offers_is_had_gone_limited_or_not_known() {
    let mut host = Host::new("anybody", Store::Containerd, None);
    let address = host.address.clone();
    let mut offer = |name: &str| {
        let name = format!("{address}/{name}").parse().unwrap();
        block_on(host.registries.offer(&name))
    };
    let had = offer("a/app:1");
    assert!(matches!(&had, Offer::Has { digest, pulls_left: None } if digest.len() == 71));
    assert_eq!(offer("many/app:1"), Offer::Limited);
    assert_eq!(offer("busy/app:1"), Offer::Unknown);
    let pin = format!("a/app@sha256:{}", "b".repeat(64));
    assert_eq!(offer(&pin), Offer::Unknown, "it has another digest");
    let asked = host.registries.asked();
    assert_eq!(asked.len(), 1, "one line a registry");
    assert_eq!(asked[0].cost.heads, 4);
}
