//! Pulls of the very images that a prune removes, by digest and without the shared
//! lock: what the engine acknowledged is there afterwards, or the program says what
//! was lost; and it says nothing of what is there.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::rounds::{Round, beside};
use super::turns::Turns;
use crate::lab::image::{Archive, noise};
use crate::lab::{Engine, Kind, Registry};
use crate::support::{EAGER, Secateur, patient};

/// Removals of one prune, and images in the registry.
const IMAGES: usize = 40;
/// How many pull beside one prune.
const PULLERS: usize = 4;
/// How many images ahead of the turn they aim at most: a pull takes as long as some
/// removals.
const AHEAD: usize = 12;

/// One host with these images as candidates, and its janitor.
pub struct Pulls {
    registry: Registry,
    /// The tag of each image, and its reference by digest.
    names: Vec<(String, String)>,
    engine: Engine,
    secateur: Secateur,
    /// Ids by name with digest.
    images: BTreeMap<String, String>,
    tally: Pulled,
}

/// A pull that the engine acknowledged.
struct Shot {
    name: String,
    at: SystemTime,
}

/// What came of all pulls.
#[derive(Debug, Default)]
pub struct Pulled {
    pub runs: usize,
    pub codes: BTreeMap<i32, usize>,
    pub removed: usize,
    pub acknowledged: usize,
    /// Gone, and the program said so.
    pub reported: usize,
    /// Gone, and nobody said so.
    pub silent: Vec<String>,
    /// Told to be lost, and there.
    pub false_alarms: Vec<String>,
    /// How long before its image's end the earliest pull was acknowledged that was lost.
    pub window: Duration,
}

impl Pulls {
    pub fn on(kind: Kind) -> Pulls {
        let registry = Registry::start();
        let put = |n| {
            let digest = registry.put(&format!("app:v{n}"), &Archive::new().noise(1000));
            let name = registry.name("app");
            (format!("{name}:v{n}"), format!("{name}@{digest}"))
        };
        let names = (0..IMAGES).map(put).collect();
        let engine = Engine::start(kind);
        engine.small("other:v1");
        let secateur = Secateur::on(&engine);
        Pulls {
            registry,
            names,
            engine,
            secateur,
            images: BTreeMap::new(),
            tally: Pulled::default(),
        }
    }

    /// Runs until so many pulls beside it were acknowledged.
    pub fn until_acknowledged(mut self, wanted: usize) -> Pulled {
        while self.tally.acknowledged < wanted {
            self.round();
        }
        self.tally
    }

    /// All images are here, and nothing but their age keeps them.
    fn restock(&mut self) {
        let auth = self.registry.auth_header();
        for (tag, name) in &self.names {
            let known = self.images.get(name);
            if self.engine.kind().containerd() {
                // One that lost its tag: `names` has races with a digest reference there.
                if self.engine.remove(name).status == 404
                    && known.is_some_and(|id| self.engine.has(id))
                {
                    continue;
                }
                self.engine.pull(tag, Some(&auth));
                self.images.insert(name.clone(), self.engine.id(tag));
                self.engine.tag("other:v1", tag);
                self.engine.remove(tag).ok("the tag");
            } else if known.is_none_or(|_| !self.engine.has(name)) {
                self.engine.pull(name, Some(&auth));
                self.images.insert(name.clone(), self.engine.id(name));
            }
        }
        self.secateur.policy(&patient());
        let ran = self.secateur.run(&["prune", "--format", "json"]);
        assert!(matches!(ran.code, 0 | 70 | 75), "{ran:?}");
        let eager = EAGER.replace("\"1s\"", "\"1ms\"\ndigest_pinned = \"1ms\"");
        self.secateur
            .policy(&format!("{eager}[keep]\nprevious = 0\n"));
    }

    fn round(&mut self) {
        self.restock();
        let mut order: Vec<(&String, &String)> = self.images.iter().collect();
        order.sort_by_key(|(_, id)| *id);
        let auth = self.registry.auth_header();
        let puller = |turns: &Turns| shoot(&self.engine, &order, turns, &auth);
        let Round {
            code,
            told,
            shots,
            events,
        } = beside(&self.engine, &self.secateur, PULLERS, puller);
        *self.tally.codes.entry(code).or_default() += 1;
        self.tally.runs += 1;
        self.tally.removed += told[0]["removed"].as_array().map_or(0, Vec::len);
        self.count(&told, &shots, &events);
    }

    fn count(&mut self, told: &[Value; 2], shots: &[Shot], events: &[Value]) {
        let lost = |told: &Value| told["collateral"].as_array().cloned().unwrap_or_default();
        let named: Vec<String> = told
            .iter()
            .flat_map(lost)
            .map(|lost| lost["what"].to_string())
            .collect();
        for shot in shots {
            self.tally.acknowledged += 1;
            let id = &self.images[&shot.name];
            let there = self.engine.has(&shot.name) && self.engine.damage(&shot.name).is_none();
            let said = named.iter().any(|what| what.contains(&shot.name));
            // One that was lost may have been brought back by the next of its name.
            let alone = shots.iter().filter(|other| other.name == shot.name).count() == 1;
            match (there, said) {
                (true, false) => {}
                (true, true) if alone => self.tally.false_alarms.push(shot.name.clone()),
                (true, true) => self.tally.reported += 1,
                (false, said) => {
                    let end = end(events, id);
                    let before = end.and_then(|end| end.duration_since(shot.at).ok());
                    self.tally.window = self.tally.window.max(before.unwrap_or_default());
                    if said {
                        self.tally.reported += 1;
                    } else {
                        self.tally
                            .silent
                            .push(format!("{} {before:?} before: {:#}", shot.name, told[0]));
                    }
                }
            }
        }
        let unsure = told[0]["failed"].as_array().cloned().unwrap_or_default();
        if told[0]["collateral"] == json!([]) && !unsure.is_empty() {
            self.tally.false_alarms.push(format!("{unsure:?}"));
        }
        for what in &named {
            if !shots.iter().any(|shot| what.contains(&shot.name)) {
                self.tally
                    .false_alarms
                    .push(format!("nobody pulled {what}"));
            }
        }
    }
}

/// Pulls images that are being removed, or soon will be, until it is over.
fn shoot(engine: &Engine, order: &[(&String, &String)], turns: &Turns, auth: &str) -> Vec<Shot> {
    let mut shots = Vec::new();
    while let Some((turn, pace)) = turns.next() {
        let Some(place) = order.iter().position(|(_, id)| **id == turn) else {
            continue;
        };
        let ahead = usize::from(noise(1)[0]) % (AHEAD + 1);
        let Some((name, _)) = order.get(place + ahead) else {
            continue;
        };
        let part = u32::from(noise(1)[0]);
        std::thread::sleep(pace.min(Duration::from_millis(20)) * part / 256);
        if engine.pull_in_background(name, Some(auth)).done().is_ok() {
            let (name, at) = ((*name).clone(), SystemTime::now());
            shots.push(Shot { name, at });
        }
    }
    shots
}

/// When the image went, by the engine's own events; the first time.
fn end(events: &[Value], id: &str) -> Option<SystemTime> {
    let its = |event: &&Value| event["Action"] == "delete" && event["Actor"]["ID"] == id;
    let nanos = events.iter().find(its)?["timeNano"].as_u64()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos))
}

impl fmt::Display for Pulled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acknowledged, {} lost, {} of these reported, the earliest {:.1?} before its image \
             went; {} false alarms ({} runs {:?}, {} removed)",
            self.acknowledged,
            self.reported + self.silent.len(),
            self.reported,
            self.window,
            self.false_alarms.len(),
            self.runs,
            self.codes,
            self.removed
        )
    }
}
