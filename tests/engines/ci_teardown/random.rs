//! Random hosts on a live engine against a second, plain reading of docs/ci-teardown.md.
//! `SECATEUR_HOSTS` says how many, `SECATEUR_SEED` where to begin.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use super::whose::{all, said};
use super::{APP, Machine};
use crate::lab::Kind;
use crate::lab::image::Archive;
use crate::support::scene::Running;

const RUN: &str = "job-1";
const CI: &str = "ci.run";
const PROJECT: &str = "com.docker.compose.project";
const STACK: &str = "com.docker.stack.namespace";
const NUMBER: &str = "com.docker.compose.container-number";
const VOLUME: &str = "com.docker.compose.volume";
const NETWORK: &str = "com.docker.compose.network";

type Labels = BTreeMap<&'static str, &'static str>;

#[derive(Debug)]
struct Thing {
    kind: &'static str,
    name: String,
    /// Given to the object itself.
    given: Labels,
    /// Its image's.
    image: Labels,
    /// The volume that it mounts.
    mounts: Option<String>,
}

fn labels(rng: &mut Rng) -> Labels {
    let choices: [(&'static str, &[&'static str]); 6] = [
        (CI, &[RUN, RUN, "job-22"]),
        (PROJECT, &[RUN, RUN, "shop"]),
        (STACK, &[RUN, "shop"]),
        (NUMBER, &["1", "2"]),
        (VOLUME, &["db"]),
        (NETWORK, &["default"]),
    ];
    let mut labels = Labels::new();
    for (key, values) in choices {
        if rng.u8(..) < 90 {
            labels.insert(key, values[rng.usize(..values.len())]);
        }
    }
    labels
}

/// The page, rule by rule.
fn is_the_runs(thing: &Thing) -> bool {
    let begins = ["-", "_"].map(|next| thing.name.starts_with(&format!("{RUN}{next}")));
    let named = thing.kind == "container" && (thing.name == RUN || begins.contains(&true));
    let mut has = thing.image.clone();
    has.extend(&thing.given);
    let own = |key: &str| {
        let inherited = |value: &&&str| thing.image.get(key) == Some(*value);
        // A name makes up for what the run may have been given, and for nobody else's.
        let made_up = |value: &str| named && (value == RUN || key == NUMBER);
        let value = has.get(key).copied();
        value.filter(|value| !inherited(&value) || made_up(value))
    };
    let mark = match thing.kind {
        "container" => own(NUMBER),
        "volume" => own(VOLUME),
        "network" => own(NETWORK),
        _ => None,
    };
    let project = match mark {
        Some(_) => has.get(PROJECT).copied(),
        None => own(PROJECT).filter(|value| *value != RUN),
    };
    let stack = own(STACK).filter(|value| thing.kind != "container" || *value != RUN);
    let owners = [own(CI), project, stack];
    owners.contains(&Some(RUN)) && owners.iter().flatten().all(|name| *name == RUN)
}

#[track_caller]
fn make(machine: &Machine, things: &mut Vec<Thing>, thing: Thing, image: &str) {
    let labels = thing
        .given
        .iter()
        .map(|(key, value)| format!("--label={key}={value}"));
    let labels: Vec<String> = labels.collect();
    let mut args: Vec<&str> = match thing.kind {
        "container" => vec!["create", "--network=none", "--name", &thing.name],
        kind => vec![kind, "create"],
    };
    args.extend(labels.iter().map(String::as_str));
    let mount = thing
        .mounts
        .as_ref()
        .map(|volume| format!("--volume={volume}:/data"));
    args.extend(mount.as_deref());
    match thing.kind {
        "container" => args.push(image),
        "secret" | "config" => args.extend([thing.name.as_str(), "text"]),
        _ => args.push(&thing.name),
    }
    machine.docker(&args);
    things.push(thing);
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn random_hosts_lose_exactly_what_the_page_says() {
    let number = |name: &str, otherwise: u64| {
        let value = std::env::var(name).ok();
        value.map_or(otherwise, |value| value.parse().expect("a number"))
    };
    let (first, hosts) = (number("SECATEUR_SEED", 1), number("SECATEUR_HOSTS", 3));
    let machine = Machine::of(Kind::Overlay28);
    std::fs::write(machine.secateur.dir().join("text"), "x").expect("a file");
    let empty = all(&machine);
    for seed in first..first + hosts {
        let mut rng = Rng::with_seed(seed);
        let mut things = Vec::new();
        for n in 0..24 {
            let kinds = [
                "container",
                "container",
                "volume",
                "network",
                "secret",
                "config",
            ];
            let kind = kinds[if n < 6 { 2 } else { rng.usize(..kinds.len()) }];
            let begins = ["job-1-", "job-1_", "job-11-", "x-"][rng.usize(..4)];
            let (mut image, mut mounts) = (Labels::new(), None);
            let tag = format!("registry.example/random:{n}");
            if kind == "container" {
                image = labels(&mut rng);
                let mut archive = Archive::new().busybox().cmd(&["/bin/true"]);
                for (key, value) in &image {
                    archive = archive.label(key, value);
                }
                machine.engine.load(&archive.tag(&tag));
                let volumes = things
                    .iter()
                    .filter(|thing: &&Thing| thing.kind == "volume");
                let volumes: Vec<&String> = volumes.map(|thing| &thing.name).collect();
                let at = rng.usize(..3 * volumes.len());
                mounts = volumes.get(at).map(|name| (*name).clone());
            }
            let thing = Thing {
                kind,
                name: format!("{begins}{kind}-{n}"),
                given: labels(&mut rng),
                image,
                mounts,
            };
            make(&machine, &mut things, thing, &tag);
        }
        let stays: Vec<&Thing> = things.iter().filter(|thing| !is_the_runs(thing)).collect();
        let in_use = |thing: &Thing| {
            let name = Some(&thing.name);
            let users = stays.iter().filter(|user| user.kind == "container");
            thing.kind == "volume" && users.map(|user| &user.mounts).any(|m| m.as_ref() == name)
        };
        let (left, gone): (Vec<&Thing>, Vec<&Thing>) = things
            .iter()
            .filter(|thing| is_the_runs(thing))
            .partition(|thing| in_use(thing));
        let shown = |thing: &&Thing| format!("{} {}", thing.kind, thing.name);
        let gone: BTreeSet<String> = gone.iter().map(shown).collect();

        let before = all(&machine);
        let mut command = machine.command("secateur-teardown", &[RUN]);
        let ran =
            Running::of(command.env("TEARDOWN_SECONDS", "0")).ended(i32::from(!left.is_empty()));
        let after = all(&machine);
        let lost: BTreeSet<String> = before.difference(&after).cloned().collect();
        assert_eq!(lost, gone, "SECATEUR_SEED={seed}: {ran:#?}\n{things:#?}");
        assert_eq!(said(&ran.stdout, "removed"), gone, "SECATEUR_SEED={seed}");
        let told: BTreeSet<String> = left.iter().map(shown).collect();
        assert_eq!(
            said(&ran.stderr, "not removed:"),
            told,
            "SECATEUR_SEED={seed}"
        );

        // Containers first: their volumes are in use.
        for kind in ["container", "volume", "network", "secret", "config"] {
            let rest = things.iter().filter(|thing| thing.kind == kind);
            for thing in rest.filter(|thing| !gone.contains(&shown(thing))) {
                machine.docker(&[kind, "rm", &thing.name]);
            }
        }
        assert_eq!(all(&machine), empty);
        assert!(machine.engine.has(APP));
    }
}
