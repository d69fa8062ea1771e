//! Rounds of one prune each, with racers beside it, and a look after each at
//! everything that the engine had acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::racer::{Act, Answer, BASE, Racer, Shot};
use super::tally::{Moment, Tally};
use super::turns::Turns;
use crate::lab::image::{Archive, unique};
use crate::lab::{Engine, Kind};
use crate::support::{EAGER, Ran, Secateur, ids, patient};

/// How many racers run beside one prune. Those that share the lock mostly wait.
const RACERS: usize = 4;
const WAITING: usize = 48;
/// Of these so many aim by one turn: each gets the lock once a run.
const TOGETHER: usize = 4;
/// Removals of one prune: the policy's default limit. A run lets its locks go after 32 images, so
/// with fewer nobody who waits for a lock would get it before the last one is gone.
const IMAGES: usize = 50;

/// On a machine that is busy with more than this, an engine may take longer
/// than the program waits.
pub fn is_slow(ran: &Ran) -> bool {
    ran.code == 69 && (ran.stderr.contains(SLOW) || ran.stdout.contains(SLOW))
}

const SLOW: &str = "no answer within";

/// What a run did; nothing where it did not come so far.
pub fn outcome(ran: &Ran) -> Value {
    if is_slow(ran) && ran.stdout.is_empty() {
        return json!({"removed": [], "skipped": [], "collateral": []});
    }
    ran.json()
}

/// One run of the janitor with others beside it, and the next one.
pub struct Round<S> {
    pub code: i32,
    /// What the run did, and the next one, which nobody disturbs.
    pub told: [Value; 2],
    pub shots: Vec<S>,
    /// Of the engine, from the beginning of the run to its end.
    pub events: Vec<Value>,
}

/// Lets so many shoot beside a run, each until it is over.
pub fn beside<S: Send>(
    engine: &Engine,
    secateur: &Secateur,
    shooters: usize,
    shoot: impl Fn(&Turns) -> Vec<S> + Sync,
) -> Round<S> {
    let began = SystemTime::now();
    let turns = Turns::follow(engine, 1);
    let (ran, shots) = std::thread::scope(|scope| {
        let shoot = || shoot(&turns);
        let shooters: Vec<_> = (0..shooters).map(|_| scope.spawn(shoot)).collect();
        let ran = secateur.run(&["prune", "--format", "json"]);
        turns.over();
        let shots = shooters.into_iter();
        let shots = shots.flat_map(|shooter| shooter.join().expect("a shooter"));
        (ran, shots.collect())
    });
    assert!(matches!(ran.code, 0 | 70 | 75) || is_slow(&ran), "{ran:?}");
    let events = engine.events(began);
    // What was acknowledged when the run had ended, the next one tells.
    secateur.policy(&patient());
    let next = secateur.run(&["prune", "--format", "json"]);
    Round {
        code: ran.code,
        told: [outcome(&ran), outcome(&next)],
        shots,
        events,
    }
}

/// One loop: an engine, its janitor, and how others race with it.
pub struct Loop {
    engine: Engine,
    secateur: Secateur,
    act: Act,
    lock: Option<PathBuf>,
    /// Candidates, in the order in which they go.
    stock: Vec<String>,
    /// Containers that lost their image, of which the next run must tell: they
    /// were not there yet when the last one ended.
    untold: Vec<Shot>,
    tally: Tally,
}

impl Loop {
    pub fn new(kind: Kind, act: Act, shares_lock: bool) -> Loop {
        let engine = Engine::start(kind);
        if act == Act::Mount {
            engine.small(BASE);
        }
        // Ages are another matter: here everything is old once it was seen.
        let eager = EAGER.replace("\"1s\"", "\"1ms\"");
        let lock = shares_lock.then(|| engine.dir().join("deploy.lock"));
        let policy = match &lock {
            None => eager,
            Some(path) => {
                std::fs::File::create(path).expect("the shared lock");
                let path = path.display();
                format!("{eager}[[guard.lock]]\npath = \"{path}\"\nkind = \"flock\"\n")
            }
        };
        let secateur = Secateur::at(&engine.host(), &policy);
        Loop {
            engine,
            secateur,
            act,
            lock,
            stock: Vec::new(),
            untold: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Runs until so many tries were acknowledged. Who shares the lock may mostly come too late,
    /// so the number of runs is limited as well.
    pub fn until_acknowledged(mut self, wanted: usize) -> Tally {
        self.load();
        self.secateur.prune(0);
        let runs = 2 * wanted.max(100);
        while self.tally.acknowledged < wanted && self.tally.runs < runs {
            self.round();
            if self.tally.runs.is_multiple_of(100) {
                let (kind, act) = (self.engine.kind().name(), self.act);
                super::say(&format!("{kind}, {act:?}, one loop so far: {}", self.tally));
            }
        }
        let last = self.secateur.run(&["prune", "--format", "json"]);
        self.was_told(&outcome(&last));
        self.tally
    }

    /// Images that the next run sees and the one after it removes.
    fn load(&mut self) {
        let layer = Archive::new();
        let archives: Vec<Archive> = (0..IMAGES)
            .map(|_| layer.clone().label("number", &unique()))
            .collect();
        self.stock.extend(self.engine.load_all(&archives));
    }

    fn round(&mut self) {
        let order = self.stock.clone();
        if self.stock.len() < 2 * IMAGES {
            self.load();
        }
        let together = if self.lock.is_some() { TOGETHER } else { 1 };
        let turns = Turns::follow(&self.engine, together);
        let racer = Racer {
            engine: &self.engine,
            act: self.act,
            order: &order,
            // Who waits for the lock gets it some images later.
            ahead: if self.lock.is_some() { 20 } else { 1 },
            lock: self.lock.as_deref(),
        };
        let (ran, shots) = std::thread::scope(|scope| {
            let racers = if self.lock.is_some() { WAITING } else { RACERS };
            let racers: Vec<_> = (0..racers)
                .map(|_| scope.spawn(|| racer.run(&turns)))
                .collect();
            let ran = self.secateur.run(&["prune", "--format", "json"]);
            turns.over();
            let shots = racers
                .into_iter()
                .flat_map(|racer| racer.join().expect("a racer"));
            (ran, shots.collect::<Vec<Shot>>())
        });
        let outcome = outcome(&ran);
        let allowed = match ran.code {
            0 => true,
            69 => is_slow(&ran),
            70 => outcome["collateral"] != json!([]),
            75 => self.lock.is_some(),
            _ => false,
        };
        assert!(allowed, "{ran:?}");
        *self.tally.codes.entry(ran.code).or_default() += 1;
        self.was_told(&outcome);
        self.count(&outcome, shots);
    }

    fn count(&mut self, outcome: &Value, shots: Vec<Shot>) {
        let skipped: BTreeMap<&str, &str> = outcome["skipped"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|entry| Some((entry["id"].as_str()?, entry["reason"].as_str()?)))
            .collect();
        self.tally.runs += 1;
        self.tally.removed += ids(outcome, "removed").len();
        for shot in shots {
            self.tally.waited += usize::from(shot.waited);
            match shot.answer {
                Answer::Late => self.tally.late += 1,
                Answer::Refused(status) => *self.tally.refused.entry(status).or_default() += 1,
                Answer::Acknowledged => {
                    self.tally.acknowledged += 1;
                    if self.kept(&shot) {
                        let moment = Moment::of(skipped.get(&*shot.image).copied());
                        *self.tally.kept.entry(moment).or_default() += 1;
                    } else if self.says(outcome, &shot) {
                        self.tally.reported.push(shot.what.clone());
                    } else {
                        self.untold.push(shot);
                        continue;
                    }
                    self.clean_up(&shot);
                }
            }
        }
        let images = self.engine.images();
        let there: BTreeSet<&str> = images.iter().filter_map(|i| i["Id"].as_str()).collect();
        self.stock.retain(|id| there.contains(&**id));
    }

    /// The image is there, with its name if it got one, and can be used.
    fn kept(&self, shot: &Shot) -> bool {
        let name = match self.act {
            Act::Tag => &shot.what,
            Act::Create | Act::Mount => &shot.image,
        };
        let found = self
            .engine
            .api("GET", &format!("/images/{name}/json"), None);
        found.status == 200
            && found.json()["Id"] == *shot.image
            && self.engine.damage(name).is_none()
    }

    /// What the last run could not know yet.
    fn was_told(&mut self, outcome: &Value) {
        for shot in std::mem::take(&mut self.untold) {
            if self.says(outcome, &shot) {
                self.tally.reported.push(shot.what.clone());
            } else {
                self.tally.silent.push(format!("{shot:?}"));
            }
            self.clean_up(&shot);
        }
    }

    /// Whether outcome and journal name what was lost.
    fn says(&self, outcome: &Value, shot: &Shot) -> bool {
        let names_it = |text: &Value| {
            let text = text.as_str().expect("words");
            // A container by the beginning of its id.
            text.contains(shot.what.get(..12).expect("a tag or an id"))
        };
        let collateral = outcome["collateral"].as_array().expect("collateral");
        let told = collateral.iter().any(|lost| {
            // Loaded, so no registry is known to have it.
            let no_way_back = lost["way_back"].is_null();
            names_it(&lost["what"]) && lost["with"] == *shot.image && no_way_back
        });
        let recorded = self.secateur.journal().iter().any(|record| {
            record["result"] == "collateral"
                && record["id"] == *shot.image
                && names_it(&record["detail"])
        });
        told && recorded
    }

    /// So that the next round is like this one.
    fn clean_up(&self, shot: &Shot) {
        match self.act {
            // Gone already where it was lost.
            Act::Tag => drop(self.engine.remove(&shot.what)),
            Act::Create | Act::Mount => self.engine.remove_container(&shot.what),
        }
    }
}
