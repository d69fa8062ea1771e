//! A run of the real prune in the small world.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::Instant;

use crate::decide::{Trust, decide};
use crate::engine::{Descriptor, Dropped, EngineError, Inspected};
use crate::guard::clear;
use crate::memory::journal::pending;
use crate::memory::ledger::Ledger;
use crate::model::conditions::{LockKind, LockReading, LockState};
use crate::model::reference::Reference;
use crate::model::text::Untrusted;
use crate::model::{
    Bytes, Event, EventKind, Image, ImageId, Inventory, Observed, ServiceImage, Spec, Swarm,
};
use crate::policy::Policy;
use crate::prune::outcome::{Outcome, Stayed};
use crate::prune::run::prune;
use crate::prune::tests::world::{Fake, Locks, World, a_lock, n};
use crate::testing::{at, clock, digest, id, inventory};

pub(super) const POLICY: &str = "[age]\nmin_age = \"10s\"\ndigest_pinned = \"10s\"\n[keep]\nprevious = 0\n\
    [disk]\nstart_above_percent = 80\nstop_below_percent = 10\n\
    [limits]\nmax_fraction = 1.0\nmax_run = \"60s\"\n";

/// A run over these images, all of them old.
pub(super) struct Scene {
    pub(super) fake: Fake,
    pub(super) policy: Policy,
    pub(super) host: Inventory,
}

/// A service of this image.
pub(super) fn web_runs(image: &Reference) -> Swarm {
    Swarm::Manager {
        images: vec![ServiceImage {
            service: Untrusted::new("web"),
            spec: Spec::Current,
            image: Untrusted::new(image.to_string()),
        }],
        under_way: Vec::new(),
    }
}

pub(super) fn scene(images: impl IntoIterator<Item = Image>) -> Scene {
    let images = images.into_iter().map(|image| Image {
        last_tag_time: Some(Observed::Known(None)),
        restorable: Some(Observed::Known(())),
        // So small that the disk wants all of them removed.
        size: Observed::Known(Bytes(1)),
        ..image
    });
    let host = inventory(images);
    let seen = |image: &Image| Inspected {
        tags: image.tags.clone(),
        digests: image.digests.clone(),
        ours: image.ours.clone(),
        last_tag_time: Observed::Known(None),
        made_up: [].into(),
        descriptor: Observed::Known(descriptor(&image.id)),
    };
    let world = World {
        images: host
            .images
            .iter()
            .map(|(id, image)| (id.clone(), seen(image)))
            .collect(),
        containers: Vec::new(),
        events: Vec::new(),
        meanwhile: Vec::new(),
        to_nothing: [].into(),
        swarm: Swarm::Inactive,
        rollbacks: Vec::new(),
        log: Vec::new(),
        before: Vec::new(),
        drops: Vec::new(),
        slow: None,
        fails: Vec::new(),
        records: Vec::new(),
        journal_fails: false,
        held_since: None,
        longest_held: Duration::ZERO,
        locks: Locks::Free,
        refusals: Vec::new(),
        started: Instant::now(),
        interrupted: false,
        stopped: false,
        used: 90,
        set_back: TimeDelta::zero(),
    };
    Scene {
        fake: Fake(Rc::new(RefCell::new(world))),
        policy: Policy::parse(POLICY, "test").unwrap(),
        host,
    }
}

pub(super) fn descriptor(id: &ImageId) -> Descriptor {
    Descriptor {
        media_type: Untrusted::new("m"),
        digest: id.clone(),
        size: 1,
    }
}

impl Scene {
    pub(super) fn world(&self) -> RefMut<'_, World> {
        self.fake.0.borrow_mut()
    }

    /// Somebody else does this just before that line of the log.
    pub(super) fn before(&self, line: &str, act: impl FnMut(&mut World) + 'static) -> &Self {
        self.world().before.push((line.to_owned(), Box::new(act)));
        self
    }

    pub(super) fn answers(&self, answer: Result<Dropped, EngineError>) -> &Self {
        self.world().drops.push(answer);
        self
    }

    pub(super) async fn prune(&self) -> Outcome {
        let mut later = self.host.clone();
        let ledger = Ledger::empty("e").observe(&later, &clock(0, 0, "a"), TimeDelta::zero());
        later.taken_at = at(100);
        let ledger = ledger.observe(&later, &clock(100, 100, "a"), TimeDelta::zero());
        let plan = decide(&self.policy, &later, &ledger, Trust::OwnMemory);
        let cleared = clear(&self.policy, &[], plan).unwrap();
        let mut host = self.fake.clone();
        prune(cleared, &self.policy, "run".into(), &self.fake, &mut host).await
    }

    /// The lines of the log that begin with one of these words.
    pub(super) fn log(&self, words: &[&str]) -> Vec<String> {
        let wanted = |line: &&String| words.iter().any(|word| line.starts_with(word));
        self.world().log.iter().filter(wanted).cloned().collect()
    }

    /// Intents that the next run would find open.
    pub(super) fn open_intents(&self) -> Vec<u64> {
        let lines: Vec<u8> = self
            .world()
            .records
            .iter()
            .flat_map(|(record, _)| record.to_line())
            .collect();
        let key = self.host.engine.key();
        pending(&lines, &key).keys().map(n).collect()
    }
}

pub(super) fn removed(outcome: &Outcome) -> Vec<u64> {
    outcome.removed.iter().map(|r| n(&r.id)).collect()
}

pub(super) fn whys(stayed: &[Stayed]) -> Vec<(u64, &str)> {
    stayed.iter().map(|s| (n(&s.id), s.why.as_str())).collect()
}

pub(super) fn tag(world: &mut World, n: u64) {
    let tags = &mut world.images.get_mut(&id(n)).unwrap().tags;
    tags.insert("somebodys:1".parse().unwrap());
}

pub(super) const CHANGES: [&str; 2] = ["name", "drop"];

/// An event: image `n` was pulled by its digest.
pub(super) fn pull(n: u64, name: &str, seconds: i64) -> Event {
    Event {
        at: at(seconds),
        image: Untrusted::new(digest(name, 1000 + n).familiar()),
        what: EventKind::Pulled,
        tag: None,
    }
}

pub(super) fn left(image: Image) -> Image {
    Image {
        ours: [Reference::ours(&image.id)].into(),
        ..image
    }
}

#[test]
fn the_fakes_lock_is_one_that_the_guards_would_make() {
    let reading = LockReading {
        path: "/l".into(),
        kind: LockKind::Flock,
        state: LockState::Held {
            holder: None,
            since: None,
        },
    };
    let activity = crate::guard::Activity {
        at: at(0),
        clock: crate::memory::clock::Clock::Sound,
        locks: vec![reading],
        causes_since: crate::model::conditions::CausesSince::new(),
        pulls: crate::model::conditions::PullSigns::default(),
        at_work: inventory([]).at_work,
    };
    let policy = Policy::parse(POLICY, "test").unwrap();
    assert_eq!(crate::guard::refusals(&policy, &activity), [a_lock()]);
}
