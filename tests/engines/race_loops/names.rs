//! Tags, pulls, containers and mounts aimed at images whose digest references are being
//! dropped on the containerd store. Whatever the engine acknowledged is there afterwards, with
//! every name that the image had, and what was put back is in the outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::rounds::{Round, beside};
use super::turns::Turns;
use crate::lab::image::{Archive, noise, unique};
use crate::lab::{Engine, Kind, Registry};
use crate::support::scene::left_names;
use crate::support::{EAGER, Secateur, ids, patient};

/// Removals of one prune.
const IMAGES: usize = 16;
const RACERS: usize = 4;
/// Longer than one image's steps take.
const STEPS: Duration = Duration::from_millis(80);
/// The image of the containers that mount others.
const BASE: &str = "base:v1";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    /// A tag of the repository, which the drop of the digest reference takes along.
    TagSame,
    TagOther,
    PullTag,
    PullDigest,
    Create,
    Mount,
}

const ACTS: [Act; 6] = [
    Act::TagSame,
    Act::TagOther,
    Act::PullTag,
    Act::PullDigest,
    Act::Create,
    Act::Mount,
];

struct Image {
    id: String,
    /// By tag, and by digest in two repositories.
    tag: String,
    names: [String; 2],
}

/// Something that the engine acknowledged.
struct Shot<'a> {
    act: Act,
    image: &'a Image,
    /// The name that it gave, or the container's id.
    what: String,
}

/// One host, its janitor, and how others race with it.
pub struct Names {
    registry: Registry,
    engine: Engine,
    secateur: Secateur,
    images: Vec<Image>,
    tally: Named,
}

/// What came of it all.
#[derive(Debug, Default)]
pub struct Named {
    pub runs: usize,
    pub codes: BTreeMap<i32, usize>,
    pub removed: usize,
    acknowledged: BTreeMap<Act, usize>,
    /// Images that got names back.
    pub put_back: usize,
    /// Gone, and the program said so.
    pub reported: Vec<String>,
    /// Gone, and nobody said so.
    pub silent: Vec<String>,
}

impl Named {
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.values().sum()
    }
}

impl Names {
    pub fn on(kind: Kind) -> Names {
        let (registry, engine) = (Registry::start(), Engine::start(kind));
        engine.small(BASE);
        let put = |n| {
            let (app, mirror) = (format!("app{n}"), format!("mirror{n}"));
            let digest = registry.put(&format!("{app}:v1"), &Archive::new().noise(1000));
            registry.retag(&format!("{app}:v1"), &format!("{mirror}:v1"));
            Image {
                tag: registry.name(&format!("{app}:v1")),
                names: [app, mirror].map(|name| format!("{}@{digest}", registry.name(&name))),
                // There an image's digest is its id.
                id: digest,
            }
        };
        let images = (0..IMAGES).map(put).collect();
        let secateur = Secateur::on(&engine);
        Names {
            registry,
            engine,
            secateur,
            images,
            tally: Named::default(),
        }
    }

    /// Runs until so much beside it was acknowledged.
    pub fn until_acknowledged(mut self, wanted: usize) -> Named {
        while self.tally.acknowledged() < wanted {
            self.round();
            if self.tally.runs.is_multiple_of(50) {
                super::say(&format!("names, so far: {}", self.tally));
            }
        }
        self.tally
    }

    /// All images are here with their digest references alone, and nothing but their age
    /// keeps them.
    fn restock(&self) {
        let auth = self.registry.auth_header();
        for container in self
            .engine
            .get("/containers/json?all=1")
            .as_array()
            .expect("a list")
        {
            let id = container["Id"].as_str().expect("an id");
            self.engine.remove_container(id);
        }
        let mut here = self.names();
        for (id, names) in &here {
            let wanted = self.images.iter().find(|image| image.id == *id);
            let Some(wanted) = wanted else { continue };
            for name in names.iter().filter(|name| !wanted.names.contains(name)) {
                // With the last of its names the image goes.
                self.engine.remove(name);
            }
        }
        here = self.names();
        for image in &self.images {
            for name in &image.names {
                if here
                    .get(&image.id)
                    .is_none_or(|names| !names.contains(name))
                {
                    self.engine.pull(name, Some(&auth));
                }
            }
        }
        self.secateur.policy(&patient());
        let ran = self.secateur.run(&["prune", "--format", "json"]);
        assert!(matches!(ran.code, 0 | 70 | 75), "{ran:?}");
        let eager = EAGER.replace("\"1s\"", "\"1ms\"\ndigest_pinned = \"1ms\"");
        self.secateur.policy(&eager);
    }

    /// Of each image, all that it is listed by.
    fn names(&self) -> BTreeMap<String, BTreeSet<String>> {
        let names = |image: &Value| {
            let names = image["RepoTags"].as_array().cloned().unwrap_or_default();
            let names = names
                .iter()
                .map(|name| name.as_str().expect("a name").to_owned());
            let id = image["Id"].as_str().expect("an id").to_owned();
            (id, names.collect())
        };
        self.engine.images().iter().map(names).collect()
    }

    fn round(&mut self) {
        self.restock();
        let auth = self.registry.auth_header();
        let racer = |turns: &Turns| shoot(&self.engine, &self.images, turns, &auth);
        let Round {
            code,
            told,
            shots,
            events,
        } = beside(&self.engine, &self.secateur, RACERS, racer);
        let mut tally = std::mem::take(&mut self.tally);
        *tally.codes.entry(code).or_default() += 1;
        tally.runs += 1;
        self.count(&mut tally, &told, &shots, &events);
        self.tally = tally;
        assert_eq!(left_names(&self.engine), [""; 0], "{:#}", told[0]);
    }

    fn count(&self, tally: &mut Named, told: &[Value; 2], shots: &[Shot], events: &[Value]) {
        let removed: BTreeSet<String> = ids(&told[0], "removed").into_iter().collect();
        tally.removed += removed.len();
        let lost = |told: &Value| told["collateral"].as_array().cloned().unwrap_or_default();
        let named: Vec<String> = told
            .iter()
            .flat_map(lost)
            .map(|lost| lost["what"].to_string())
            .collect();
        let here = self.names();
        let has = |image: &Image, name: &str| {
            here.get(&image.id)
                .is_some_and(|names| names.contains(name))
        };
        let mut gone: Vec<(String, String)> = Vec::new();
        for shot in shots {
            *tally.acknowledged.entry(shot.act).or_default() += 1;
            let there = match shot.act {
                Act::TagSame | Act::TagOther | Act::PullTag | Act::PullDigest => {
                    has(shot.image, &shot.what)
                }
                Act::Create | Act::Mount => here.contains_key(&shot.image.id),
            };
            let whole = there && self.engine.damage(&shot.image.id).is_none();
            if !whole {
                gone.push((format!("{:?}", shot.act), shot.what.clone()));
            }
        }
        for image in self
            .images
            .iter()
            .filter(|image| !removed.contains(&image.id))
        {
            let lacks = image.names.iter().filter(|name| !has(image, name));
            gone.extend(lacks.map(|name| ("its own".to_owned(), name.clone())));
        }
        for (how, what) in gone {
            // A container is told by the beginning of its id.
            let short = if what.contains(':') {
                &what
            } else {
                &what[..12]
            };
            if named.iter().any(|told| told.contains(short)) {
                tally.reported.push(format!("{how} {what}"));
            } else {
                tally.silent.push(format!("{how} {what}: {:#}", told[0]));
            }
        }
        let skipped = told[0]["skipped"].as_array().cloned().unwrap_or_default();
        let says_so = |id: &str| {
            let mut its = skipped.iter().filter(|entry| entry["id"] == id);
            its.any(|entry| {
                entry["reason"]
                    .as_str()
                    .is_some_and(|why| why.ends_with("put back"))
            })
        };
        let loaded = events.iter().filter(|event| event["Action"] == "load");
        let loaded = loaded.filter_map(|event| event["Actor"]["ID"].as_str());
        for id in loaded.collect::<BTreeSet<_>>() {
            tally.put_back += 1;
            if !says_so(id) {
                tally
                    .silent
                    .push(format!("{id} was put back: {:#}", told[0]));
            }
        }
    }
}

/// Does something to images whose turn it is, until it is over.
fn shoot<'a>(engine: &Engine, images: &'a [Image], turns: &Turns, auth: &str) -> Vec<Shot<'a>> {
    let mut shots = Vec::new();
    while let Some((turn, _)) = turns.next() {
        let Some(image) = images.iter().find(|image| image.id == turn) else {
            continue;
        };
        let [part, which] = [0, 1].map(|_| u32::from(noise(1)[0]));
        std::thread::sleep(STEPS * part / 256);
        let act = ACTS[usize::try_from(which).expect("a byte") % ACTS.len()];
        if let Some(what) = does(engine, act, image, auth) {
            shots.push(Shot { act, image, what });
        }
    }
    shots
}

/// What came of it, where the engine acknowledged it.
fn does(engine: &Engine, act: Act, image: &Image, auth: &str) -> Option<String> {
    let tag = |repository: &str| {
        let name = format!("{repository}:{}", unique());
        let path = format!("/images/{}/tag?repo={name}", image.id);
        let answer = engine.api("POST", &path, None);
        (answer.status == 201).then_some(name)
    };
    let pull = |name: &str| {
        let pulled = engine.pull_in_background(name, Some(auth)).done();
        pulled.ok().map(|_| name.to_owned())
    };
    let create = |body: &Value| {
        let answer = engine.api("POST", "/containers/create", Some(body));
        let id = (answer.status == 201).then(|| answer.json()["Id"].clone());
        id.map(|id| id.as_str().expect("an id").to_owned())
    };
    match act {
        Act::TagSame => tag(image.names[0].split('@').next().expect("a repository")),
        Act::TagOther => tag("raced"),
        Act::PullTag => pull(&image.tag),
        Act::PullDigest => pull(&image.names[0]),
        Act::Create => create(&json!({"Image": image.names[0], "Cmd": ["/nothing"]})),
        Act::Mount => {
            let mounts = json!([{"Type": "image", "Source": image.id, "Target": "/mounted"}]);
            let host = json!({"Mounts": mounts});
            create(&json!({"Image": BASE, "Cmd": ["/nothing"], "HostConfig": host}))
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acknowledged {:?}, {} images got names back, {} lost, {} of these reported {:?} \
             ({} runs {:?}, {} removed)",
            self.acknowledged(),
            self.acknowledged,
            self.put_back,
            self.reported.len() + self.silent.len(),
            self.reported.len(),
            self.reported,
            self.runs,
            self.codes,
            self.removed
        )
    }
}
