//! Random hosts on live engines against a second, plain reading of docs/ci-teardown.md.
//! `SECATEUR_HOSTS` says how many, `SECATEUR_SEED` where to begin, `SECATEUR_ENGINES` how many
//! engines have one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use fastrand::Rng;
use serde_json::json;

use super::whose::{all, said};
use super::{APP, Machine};
use crate::lab::image::Archive;
use crate::lab::{Engine, Kind, wait_until};
use crate::support::scene::Running;

const IMAGE: &str = "registry.example/random";

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
    /// Its image's; a service has none of them, its tasks do.
    image: Labels,
    /// Given to the tasks of a service.
    of_tasks: Labels,
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
    let nothing = Labels::new();
    let image = match thing.kind {
        "container" => &thing.image,
        _ => &nothing,
    };
    let mut has = image.clone();
    has.extend(&thing.given);
    let own = |key: &str| {
        let inherited = |value: &&&str| image.get(key) == Some(*value);
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

/// Makes it by the engine's API: a call of docker's client takes ten times as long.
#[track_caller]
fn make(engine: &Engine, thing: &Thing, n: usize) {
    let name = &thing.name;
    let runs = thing.kind == "container" || thing.kind == "service";
    let image = format!("{IMAGE}:{n}");
    if runs {
        // One layer for all of them.
        let archive = Archive::default().busybox();
        let archive = archive.cmd(&["/bin/busybox", "sleep", "100000"]);
        let labelled = thing.image.iter();
        let labelled = labelled.fold(archive, |of, (key, value)| of.label(key, value));
        engine.load(&labelled.tag(&image));
    }
    let mut body = json!({"Name": name, "Labels": thing.given});
    let path = match thing.kind {
        "service" => {
            engine.service_create_as(name, &image, None, |spec| {
                spec["Labels"] = json!(thing.given);
                let container = &mut spec["TaskTemplate"]["ContainerSpec"];
                container["Labels"] = json!(thing.of_tasks);
                let mount = |volume| json!({"Type": "volume", "Source": volume, "Target": "/data"});
                let mounts = thing.mounts.iter().map(mount);
                container["Mounts"] = mounts.collect();
            });
            return;
        }
        "container" => {
            body["Image"] = json!(image);
            let binds = thing.mounts.iter().map(|volume| format!("{volume}:/data"));
            let binds: Vec<String> = binds.collect();
            body["HostConfig"] = json!({"NetworkMode": "none", "Binds": binds});
            format!("/containers/create?name={name}")
        }
        "secret" | "config" => {
            body["Data"] = json!("eA==");
            format!("/{}s/create", thing.kind)
        }
        kind => format!("/{kind}s/create"),
    };
    engine.api("POST", &path, Some(&body)).ok(&path);
}

/// One random object, on a host that has these already.
fn draw(rng: &mut Rng, n: usize, things: &[Thing]) -> Thing {
    const MOST_SERVICES: usize = 3;
    let kinds = [
        "container",
        "container",
        "volume",
        "network",
        "secret",
        "config",
        "service",
    ];
    let services = things.iter().filter(|thing| thing.kind == "service");
    let kind = match kinds[if n < 6 { 2 } else { rng.usize(..kinds.len()) }] {
        "service" if services.count() == MOST_SERVICES => "container",
        kind => kind,
    };
    let begins = ["job-1-", "job-1_", "job-11-", "x-"][rng.usize(..4)];
    let mut thing = Thing {
        kind,
        name: format!("{begins}{kind}-{n}"),
        given: labels(rng),
        image: Labels::new(),
        of_tasks: Labels::new(),
        mounts: None,
    };
    if kind == "container" || kind == "service" {
        thing.image = labels(rng);
        let volumes = things.iter().filter(|thing| thing.kind == "volume");
        let volumes: Vec<&String> = volumes.map(|thing| &thing.name).collect();
        let at = rng.usize(..3 * volumes.len());
        thing.mounts = volumes.get(at).map(|name| (*name).clone());
    }
    if kind == "service" {
        thing.of_tasks = labels(rng);
    }
    thing
}

/// The containers of the services' tasks, each with its service, once all run.
#[track_caller]
fn tasks(machine: &Machine, things: &[Thing]) -> BTreeMap<String, String> {
    let services = things.iter().filter(|thing| thing.kind == "service");
    let services: Vec<&String> = services.map(|thing| &thing.name).collect();
    wait_until("every service runs", || {
        let running = |task: &&serde_json::Value| task["Status"]["State"] == "running";
        let tasks = machine.engine.get("/tasks");
        (tasks.as_array()?.iter().filter(running).count() == services.len()).then_some(())
    });
    let mut found = BTreeMap::new();
    for name in all(machine) {
        let of = |service: &&&String| name.starts_with(&format!("container {service}.1."));
        if let Some(service) = services.iter().find(of) {
            found.insert(name, (**service).clone());
        }
    }
    found
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn random_hosts_lose_exactly_what_the_page_says() {
    let number = |name: &str, otherwise: u64| {
        let value = std::env::var(name).ok();
        value.map_or(otherwise, |value| value.parse().expect("a number"))
    };
    let (first, hosts) = (number("SECATEUR_SEED", 1), number("SECATEUR_HOSTS", 8));
    let engines = number("SECATEUR_ENGINES", 1);
    let next = AtomicU64::new(first);
    thread::scope(|scope| {
        for (_, kind) in (0..engines).zip(Kind::NEWEST.into_iter().cycle()) {
            let next = &next;
            scope.spawn(move || {
                let machine = Machine::of(kind);
                let seeds = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
                for seed in seeds.take_while(|seed| *seed < first + hosts) {
                    println!("SECATEUR_SEED={seed} ({})", kind.name());
                    one_host(&machine, seed);
                }
            });
        }
    });
}

/// Draws a host, makes it, tears it down, compares with the page, and clears it.
#[track_caller]
fn one_host(machine: &Machine, seed: u64) {
    let empty = all(machine);
    let mut rng = Rng::with_seed(seed);
    let mut things = Vec::new();
    for n in 0..24 {
        let thing = draw(&mut rng, n, &things);
        make(&machine.engine, &thing, n);
        things.push(thing);
    }
    let tasks = tasks(machine, &things);
    torn_down(machine, seed, &things, &tasks);
    clear(machine, &empty);
    assert_eq!(all(machine), empty, "SECATEUR_SEED={seed}");
    assert!(machine.engine.has(APP));
}

/// Tears the host down, and compares what went with what the page says.
#[track_caller]
fn torn_down(machine: &Machine, seed: u64, things: &[Thing], tasks: &BTreeMap<String, String>) {
    let stays: Vec<&Thing> = things.iter().filter(|thing| !is_the_runs(thing)).collect();
    let in_use = |thing: &Thing| {
        let name = Some(&thing.name);
        thing.kind == "volume" && stays.iter().any(|user| user.mounts.as_ref() == name)
    };
    let (left, gone): (Vec<&Thing>, Vec<&Thing>) = things
        .iter()
        .filter(|thing| is_the_runs(thing))
        .partition(|thing| in_use(thing));
    let shown = |thing: &&Thing| format!("{} {}", thing.kind, thing.name);
    let gone: BTreeSet<String> = gone.iter().map(shown).collect();
    // A task goes with its service, and never without it.
    let their_tasks = tasks
        .iter()
        .filter(|(_, service)| gone.contains(&format!("service {service}")));
    let their_tasks: BTreeSet<String> = their_tasks.map(|(task, _)| task.clone()).collect();
    let all_gone = &gone | &their_tasks;

    let told: BTreeSet<String> = left.iter().map(shown).collect();

    let before = all(machine);
    let mut removed = BTreeSet::new();
    // Swarm ends tasks in its own time, and their volumes are in use until then.
    let ran = wait_until("all that may go is gone, and the rest is named", || {
        let mut command = machine.end(RUN);
        let ran = Running::of(command.env("TEARDOWN_SECONDS", "0")).done();
        removed.extend(said(&ran.stdout, "removed"));
        let lost: BTreeSet<String> = before.difference(&all(machine)).cloned().collect();
        let more: Vec<_> = lost.difference(&all_gone).collect();
        assert!(
            more.is_empty(),
            "SECATEUR_SEED={seed}: {more:?} {ran:#?}\n{things:#?}"
        );
        (lost == all_gone && said(&ran.stderr, "not removed:") == told).then_some(ran)
    });
    removed.retain(|name| !name.starts_with("task ")); // Swarm may have been faster
    assert_eq!(removed, gone, "SECATEUR_SEED={seed}");
    assert_eq!(ran.code, i32::from(!left.is_empty()), "{ran:#?}");
}

/// Removes what is there besides these, and the images of the host.
#[track_caller]
fn clear(machine: &Machine, empty: &BTreeSet<String>) {
    let engine = &machine.engine;
    let remove = |kind: &str| {
        let left = &all(machine) - empty;
        let of_kind = left.iter().filter_map(|thing| thing.split_once(' '));
        let of_kind: Vec<_> = of_kind.filter(|(its, _)| *its == kind).collect();
        for (_, name) in &of_kind {
            engine.api("DELETE", &format!("/{kind}s/{name}?force=1"), None);
        }
        of_kind.is_empty()
    };
    // A container may be removed at the same moment by Swarm, whose task it was.
    for kind in [
        "service",
        "container",
        "volume",
        "network",
        "secret",
        "config",
    ] {
        wait_until(kind, || remove(kind).then_some(()));
    }
    for image in engine.images() {
        let tags = image["RepoTags"].as_array().into_iter().flatten();
        for tag in tags.filter_map(|tag| tag.as_str()) {
            if tag.starts_with(IMAGE) {
                engine
                    .api("DELETE", &format!("/images/{tag}"), None)
                    .ok(tag);
            }
        }
    }
}
