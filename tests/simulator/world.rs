//! One simulated host: engine, disk, clocks, locks, pulls, builds and deploys, and the files of
//! each secateur. It checks nothing.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use secateur::engine::wanted_by_swarm;
use secateur::model::ImageId;
use secateur::model::conditions::{
    ClockReading, Cure, Disk, LockKind, LockReading, LockState, PullSign, PullSigns, SignState,
    Unreadable, Usage,
};
use secateur::model::text::Untrusted;
use secateur::model::{EngineFacts, Observed, Store, Swarm};
use secateur::policy::Policy;
use serde_json::json;
use tokio::time::Instant;

use crate::checks::Ran;
use crate::engine::{Engine, Moment};
use crate::naive::Past;
use crate::names::Owed;
use crate::others::{Build, Deploy, Pull, Service, Unrest};
use crate::schedule::Setting;
use crate::values::{at, engine};

/// The deploy lock.
#[derive(Default)]
pub struct Lock {
    /// The step at which the deployer took it.
    pub deployer: Option<u64>,
    /// The run that has it.
    pub run: Option<usize>,
}

/// What one secateur has on disk, and what it knows of the current engine.
#[derive(Default)]
pub struct State {
    /// Ledgers, each by its file's name.
    pub ledgers: BTreeMap<String, Vec<u8>>,
    pub journal: Vec<u8>,
    pub synced: usize,
    pub taken: bool,
    pub shown: Shown,
    /// What it knows of the other engine.
    pub parked: Shown,
}

/// What one secateur knows of one engine.
#[derive(Default)]
pub struct Shown {
    /// Somebody else removed or damaged its ledger, so ages may start again at zero.
    pub harmed: bool,
    /// Every survey that its ledger remembers.
    pub past: Vec<Past<'static>>,
    /// Milliseconds that it believes to have passed, but that did not.
    pub credit: i64,
    pub last_clock: Option<(ClockReading, i64)>,
    /// The latest wall clock time of any survey.
    pub latest: DateTime<Utc>,
    /// The wall clock time of this boot from which it was set back, until it is reached again.
    pub set_back_from: Option<DateTime<Utc>>,
}

pub struct World {
    pub setting: Setting,
    pub policy: Policy,
    pub engine: Engine,
    /// The engine that DOCKER_HOST may name instead.
    pub parked: Engine,
    /// Whether DOCKER_HOST names it now.
    pub second: bool,
    /// Calls that fail before the engine is up again.
    pub down: u8,
    pub pulls: Vec<Pull>,
    pub builds: Vec<Build>,
    pub services: Vec<Service>,
    pub stale_signs: u32,
    pub deploy: Deploy,
    pub lock: Lock,
    pub states: [State; 2],
    /// Names that runs dropped from images that stayed, and that are not back.
    pub owed: Owed,
    /// Images that got a name back, or lost a left one of ours. The engine dates that, which makes
    /// them young.
    pub came_back: BTreeSet<ImageId>,
    pub parked_owed: Owed,
    /// The runs under way.
    pub runs: [Ran; 2],
    /// Counts every call and every action.
    pub tick: u64,
    pub violations: Vec<String>,
    pub counts: BTreeMap<&'static str, u64>,
    /// What happened, for people, if they want it.
    pub story: Option<Vec<String>>,
    start: Instant,
    base: i64,
    pub skew: i64,
    booted: i64,
    pub boot: u32,
}

impl World {
    pub fn new(setting: Setting, policy: Policy) -> World {
        let mut engine = Engine::new(setting.store);
        engine.old = setting.old;
        World {
            parked: engine.clone(),
            engine,
            second: false,
            setting,
            policy,
            down: 0,
            pulls: Vec::new(),
            builds: Vec::new(),
            services: Vec::new(),
            stale_signs: 0,
            deploy: Deploy::default(),
            lock: Lock::default(),
            states: <[State; 2]>::default(),
            owed: Owed::new(),
            came_back: BTreeSet::new(),
            parked_owed: Owed::new(),
            runs: <[Ran; 2]>::default(),
            tick: 0,
            violations: Vec::new(),
            counts: BTreeMap::new(),
            story: None,
            start: Instant::now(),
            base: 0,
            skew: 0,
            booted: -3_600_000,
            boot: 0,
        }
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(line());
        }
    }

    pub fn violated(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.tell(|| format!("VIOLATED: {what}"));
        self.violations.push(what);
    }

    // ---- clocks

    /// Milliseconds by the monotonic clock.
    pub fn steady(&self) -> i64 {
        self.base + i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    pub fn wait(&mut self, milliseconds: i64) {
        self.base += milliseconds;
    }

    pub fn wall(&self) -> DateTime<Utc> {
        at(self.steady() + self.skew)
    }

    pub fn clock(&self) -> ClockReading {
        ClockReading {
            wall: self.wall(),
            since_boot_secs: u64::try_from((self.steady() - self.booted) / 1000).unwrap_or(0),
            boot_id: format!("boot-{}", self.boot),
            latest: None,
            set_back_from: None,
        }
    }

    pub fn moment(&self) -> Moment {
        Moment {
            wall: self.wall(),
            steady: self.steady(),
        }
    }

    // ---- as the host shows it

    pub fn disk(&self) -> Observed<Disk> {
        let images: u64 = self.engine.images.values().map(|image| image.size).sum();
        let used = (10 + images).min(100);
        Observed::Known(Disk {
            path: "/data".into(),
            bytes: Usage {
                used,
                available: 100 - used,
            },
            inodes: None,
        })
    }

    pub fn signs(&self) -> PullSigns {
        let live = self
            .pulls
            .iter()
            .enumerate()
            .filter(|(_, pull)| pull.live.is_some());
        let live = live.map(|(n, _)| PullSign {
            path: format!("/data/tmp/GetImageBlob{n}").into(),
            state: SignState::Live("is open".into()),
        });
        let stale = (0..self.stale_signs).map(|n| PullSign {
            path: format!("/data/layerdb/tmp/write-set-{n}").into(),
            state: SignState::Stale {
                quiet: std::time::Duration::from_secs(7200),
            },
        });
        let unreadable = self.setting.unreadable_signs.then(|| Unreadable {
            path: "/data/tmp".into(),
            why: "permission denied".into(),
            cure: Cure::Permission,
        });
        PullSigns {
            signs: live.chain(stale).collect(),
            unreadable: unreadable.into_iter().collect(),
        }
    }

    /// The deploy lock as this run reads it.
    pub fn lock_readings(&self, run: usize) -> Vec<LockReading> {
        let Some(kind) = self.setting.lock else {
            return Vec::new();
        };
        let held = || LockState::Held {
            holder: None,
            since: None,
        };
        let state = match (kind, self.lock.deployer, self.lock.run) {
            (_, Some(_), _) => held(),
            (LockKind::Flock, None, Some(other)) if other != run => held(),
            (LockKind::Flock, None, _) => LockState::Free,
            (LockKind::Exists, None, _) => LockState::Absent,
        };
        vec![LockReading {
            path: "/l".into(),
            kind,
            state,
        }]
    }

    pub fn swarm(&self) -> Swarm {
        if !self.setting.swarm {
            return Swarm::Inactive;
        }
        let spec = |text: &str| json!({"TaskTemplate": {"ContainerSpec": {"Image": text}}});
        let (mut services, mut tasks) = (Vec::new(), Vec::new());
        for (n, service) in self.services.iter().enumerate() {
            let state = match (service.under_way, service.unrest) {
                (Some(_), _) | (None, Some(Unrest::NoNode)) => "updating",
                (None, Some(Unrest::Paused)) => "paused",
                (None, None | Some(Unrest::CrashLoop | Unrest::Nightly)) => "completed",
            };
            let current = &service.current.0;
            let mut listed = json!({
                "ID": format!("s{n}"),
                "Spec": spec(current),
                "UpdateStatus": {"State": state},
            });
            listed["Spec"]["Name"] = json!(format!("web{n}"));
            if let Some((previous, ..)) = &service.previous {
                listed["PreviousSpec"] = spec(previous);
            }
            services.push(listed);
            tasks.extend(service.tasks(n, self.tick));
        }
        let (services, tasks) = (json!(services).to_string(), json!(tasks).to_string());
        wanted_by_swarm("here", &services, &tasks).expect("lists of Swarm's")
    }

    pub fn builds_in_use(&self) -> Observed<Vec<String>> {
        let known = if self.setting.is_20() {
            0
        } else {
            self.builds.len()
        };
        Observed::Known(vec!["record".to_owned(); known])
    }

    /// The lock is free: if the deployer waits, it gets it.
    pub fn lock_was_let_go(&mut self) {
        self.lock.run = None;
        if std::mem::take(&mut self.deploy.waits) {
            self.lock.deployer = Some(self.tick);
        }
    }

    pub fn reboot(&mut self, off: i64) {
        self.base += off;
        self.booted = self.steady();
        self.boot += 1;
        self.engine.restart();
        self.parked.restart();
        self.stale_signs += u32::from(!self.pulls.is_empty());
        self.pulls.clear();
        self.builds.clear();
        self.deploy = Deploy::default();
        if self.setting.lock == Some(LockKind::Flock) {
            self.lock.deployer = None;
        }
        self.lock.run = None;
        // Nobody that held a lock is left.
        for run in &mut self.runs {
            run.holds = None;
        }
        self.count("others: reboot");
    }

    /// The facts that the engine gives about itself.
    pub fn facts(&self) -> EngineFacts {
        let version = match (self.setting.old, self.setting.store) {
            (true, Store::Containerd) => "26.1.5",
            (true, _) => "20.10.24",
            (false, _) => "28.5.2",
        };
        let mut facts = engine(self.setting.store, version);
        if self.second {
            facts.id = Untrusted::new("SECOND");
        }
        facts
    }

    pub fn key(&self) -> String {
        self.facts().key()
    }
}
