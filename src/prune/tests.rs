//! The real prune over an engine and a host made of one small world: a map of
//! images with their names, and a log of all that was asked and done.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use chrono::TimeDelta;
use tokio::time::Instant;

use super::*;
use crate::decide::{Trust, decide};
use crate::exit::Exit;
use crate::guard::{Cause, clear};
use crate::memory::ledger::Ledger;
use crate::model::conditions::{LockKind, LockSight, LockState};
use crate::model::lost::Lost;
use crate::model::text::Untrusted;
use crate::model::{Bytes, EventKind, Image, Inventory, ServiceImage, Spec, Store};
use crate::survey::watch::PATIENCE;
use crate::testing::{at, clock, digest, disk, id, image, inventory, pinned, tagged};

type Act = Box<dyn FnMut(&mut World)>;

/// The deploy locks of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Locks {
    /// It names none.
    None,
    Free,
    /// A deploy holds one.
    Theirs,
    /// Deploys hold one so long from the run's start on, and then let it go.
    TheirsFor(Duration),
}

/// What both fakes look at and change.
struct World {
    images: BTreeMap<ImageId, Inspected>,
    containers: Vec<Container>,
    events: Vec<Event>,
    swarm: Swarm,
    /// What a new survey would keep.
    rollbacks: Vec<ImageId>,
    /// Every request to the engine and everything done on the host, in order.
    log: Vec<String>,
    /// What somebody else does just before a line of the log.
    before: Vec<(String, Act)>,
    /// What the engine answers to the next drops, instead of the truth.
    drops: Vec<Result<Dropped, EngineError>>,
    /// How long the engine takes for what begins so.
    slow: Option<(&'static str, Duration)>,
    /// Requests that fail, and how.
    fails: Vec<(&'static str, Failure)>,
    records: Vec<(Record, bool)>,
    journal_fails: bool,
    held_since: Option<Instant>,
    longest_held: Duration,
    locks: Locks,
    refusals: Vec<Refusal>,
    started: Instant,
    interrupted: bool,
    stopped: bool,
    used: u64,
    /// How far the wall clock was set back.
    set_back: TimeDelta,
}

#[derive(Clone)]
struct Fake(Rc<RefCell<World>>);

impl Fake {
    /// Notes what is about to happen, lets others do what they do just then,
    /// and takes its time.
    async fn says(&self, line: String) -> Result<(), EngineError> {
        self.notes(&line);
        let slow = self.0.borrow().slow;
        if let Some((what, time)) = slow
            && line.starts_with(what)
        {
            tokio::time::sleep(time).await;
        }
        let fails = self.0.borrow().fails.clone();
        match fails.iter().find(|(what, _)| line.starts_with(what)) {
            Some((_, kind)) => Err(broken(*kind)),
            None => Ok(()),
        }
    }

    fn notes(&self, line: &str) {
        let world = &mut *self.0.borrow_mut();
        let mut acts = std::mem::take(&mut world.before);
        for (_, act) in acts.iter_mut().filter(|(when, _)| when == line) {
            act(world);
        }
        acts.retain(|(when, _)| when != line);
        world.before = acts;
        world.log.push(line.to_owned());
    }
}

fn broken(kind: Failure) -> EngineError {
    EngineError {
        doing: "test".into(),
        kind,
        why: format!("{kind:?}"),
    }
}

impl Engine for Fake {
    async fn look(&self, id: &ImageId) -> Result<Option<Inspected>, EngineError> {
        self.says(format!("look {}", n(id))).await?;
        Ok(self.0.borrow().images.get(id).cloned())
    }
    async fn name_ours(&self, id: &ImageId) -> Result<Reference, EngineError> {
        self.says(format!("name {}", n(id))).await?;
        let ours = Reference::ours(id);
        match self.0.borrow_mut().images.get_mut(id) {
            Some(seen) => seen.ours.insert(ours.clone()),
            None => return Err(broken(Failure::NotFound)),
        };
        Ok(ours)
    }
    /// As a graphdriver engine does: the image goes with its last name.
    async fn drop_name(&self, name: &Reference) -> Result<Dropped, EngineError> {
        self.says(format!("drop {}", short(name))).await?;
        let world = &mut *self.0.borrow_mut();
        if !world.drops.is_empty() {
            return world.drops.remove(0);
        }
        let mut dropped = Dropped::default();
        let found = world.images.iter_mut().find_map(|(id, seen)| {
            let had = seen.ours.remove(name) || seen.digests.remove(name);
            had.then(|| (id.clone(), nameless(seen)))
        });
        let Some((id, last)) = found else {
            return Err(broken(Failure::NotFound));
        };
        dropped.untagged.push(name.to_string());
        if last {
            world.images.remove(&id);
            dropped.deleted.push(id.to_string());
        }
        Ok(dropped)
    }
    async fn builds(&self) -> Result<Observed<Vec<String>>, EngineError> {
        self.says("builds?".into()).await?;
        Ok(Observed::Known(Vec::new()))
    }
    async fn swarm(&self) -> Result<Swarm, EngineError> {
        self.says("swarm?".into()).await?;
        Ok(self.0.borrow().swarm.clone())
    }
    async fn containers(&self) -> Result<Vec<Container>, EngineError> {
        self.says("containers?".into()).await?;
        Ok(self.0.borrow().containers.clone())
    }
    async fn happened(&self, since: DateTime<Utc>) -> Result<Vec<Event>, EngineError> {
        self.says("events?".into()).await?;
        let world = self.0.borrow();
        let from = since - TimeDelta::seconds(1);
        let told = world.events.iter().filter(|event| event.at >= from);
        Ok(told.cloned().collect())
    }
    async fn candidates(&self) -> Result<BTreeSet<ImageId>, EngineError> {
        self.says("survey?".into()).await?;
        let world = self.0.borrow();
        let ids = world.images.keys();
        Ok(ids
            .filter(|id| !world.rollbacks.contains(id))
            .cloned()
            .collect())
    }
}

impl Host for Fake {
    fn hold(&mut self) -> Result<(), Vec<Refusal>> {
        if self.0.borrow().held_since.is_some() {
            return Ok(());
        }
        self.notes("hold");
        let mut world = self.0.borrow_mut();
        let begun = world.started.elapsed();
        if match world.locks {
            Locks::None | Locks::Free => false,
            Locks::Theirs => true,
            Locks::TheirsFor(time) => begun < time,
        } {
            return Err(vec![a_lock()]);
        }
        world.held_since = Some(Instant::now());
        Ok(())
    }
    fn held_for(&self) -> Option<Duration> {
        let world = self.0.borrow();
        let held = world.held_since?.elapsed();
        Some(match world.locks {
            Locks::None => Duration::ZERO,
            Locks::Free | Locks::Theirs | Locks::TheirsFor(_) => held,
        })
    }
    fn let_go(&mut self) {
        let mut world = self.0.borrow_mut();
        if let Some(since) = world.held_since.take() {
            world.longest_held = world.longest_held.max(since.elapsed());
            drop(world);
            self.notes("let go");
        }
    }
    fn refusals(&mut self, _: &AtWork) -> Vec<Refusal> {
        self.notes("refusals?");
        self.0.borrow().refusals.clone()
    }
    fn disk(&mut self) -> Observed<Disk> {
        Observed::Known(disk(self.0.borrow().used))
    }
    fn elapsed(&self) -> Duration {
        self.0.borrow().started.elapsed()
    }
    fn now(&self) -> DateTime<Utc> {
        let world = self.0.borrow();
        at(100) + world.started.elapsed() - world.set_back
    }
    fn interrupted(&self) -> bool {
        self.0.borrow().interrupted
    }
    fn was_stopped(&self) -> bool {
        self.0.borrow().stopped
    }
    fn record(&mut self, records: &[Record], durable: bool) -> Result<(), String> {
        for record in records {
            let what = match &record.what {
                crate::memory::journal::What::Intent { .. } => "intent".to_owned(),
                crate::memory::journal::What::Outcome { result, .. } => format!("{result:?}"),
            };
            self.notes(&format!("{what} {}", n(&record.id)));
        }
        let mut world = self.0.borrow_mut();
        if world.journal_fails {
            return Err("no space left".into());
        }
        world
            .records
            .extend(records.iter().map(|record| (record.clone(), durable)));
        Ok(())
    }
    fn progress(&mut self, _: usize, _: usize) {}
}

/// The number that `testing::id` made an id of.
fn n(id: &ImageId) -> u64 {
    u64::from_str_radix(&id.hex()[..8], 16).unwrap()
}

fn short(name: &Reference) -> String {
    if name.is_ours() {
        return "ours".into();
    }
    name.familiar().split('@').next().unwrap().to_owned()
}

fn nameless(seen: &Inspected) -> bool {
    seen.tags.is_empty() && seen.digests.is_empty() && seen.ours.is_empty()
}

fn a_lock() -> Refusal {
    Cause::DeployLock {
        path: "/l".into(),
        kind: LockKind::Flock,
        holder: None,
        unclear: None,
    }
    .into()
}

const POLICY: &str = "[age]\nmin_age = \"10s\"\ndigest_pinned = \"10s\"\n[keep]\nprevious = 0\n\
    [disk]\nstart_above_percent = 80\nstop_below_percent = 10\n\
    [limits]\nmax_fraction = 1.0\nmax_run = \"60s\"\n";

/// A run over these images, all of them old.
struct Scene {
    fake: Fake,
    policy: Policy,
    host: Inventory,
}

fn scene(images: impl IntoIterator<Item = Image>) -> Scene {
    let images = images.into_iter().map(|image| Image {
        last_tag_time: Some(Observed::Known(None)),
        // So small that the disk asks for all of them.
        size: Observed::Known(Bytes(1)),
        ..image
    });
    let host = inventory(images);
    let seen = |image: &Image| Inspected {
        tags: image.tags.clone(),
        digests: image.digests.clone(),
        ours: image.ours.clone(),
        last_tag_time: Observed::Known(None),
    };
    let world = World {
        images: host
            .images
            .iter()
            .map(|(id, image)| (id.clone(), seen(image)))
            .collect(),
        containers: Vec::new(),
        events: Vec::new(),
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

impl Scene {
    fn world(&self) -> std::cell::RefMut<'_, World> {
        self.fake.0.borrow_mut()
    }

    /// Somebody else does this just before that line of the log.
    fn before(&self, line: &str, act: impl FnMut(&mut World) + 'static) -> &Self {
        self.world().before.push((line.to_owned(), Box::new(act)));
        self
    }

    fn answers(&self, answer: Result<Dropped, EngineError>) -> &Self {
        self.world().drops.push(answer);
        self
    }

    async fn prune(&self) -> Outcome {
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
    fn log(&self, words: &[&str]) -> Vec<String> {
        let wanted = |line: &&String| words.iter().any(|word| line.starts_with(word));
        self.world().log.iter().filter(wanted).cloned().collect()
    }

    /// Intents that the next run would find open.
    fn open_intents(&self) -> Vec<u64> {
        let lines: Vec<u8> = self
            .world()
            .records
            .iter()
            .flat_map(|(record, _)| record.to_line())
            .collect();
        let key = self.host.engine.key();
        crate::memory::journal::pending(&lines, &key)
            .keys()
            .map(n)
            .collect()
    }
}

fn removed(outcome: &Outcome) -> Vec<u64> {
    outcome.removed.iter().map(|r| n(&r.id)).collect()
}

fn whys(stayed: &[Stayed]) -> Vec<(u64, &str)> {
    stayed.iter().map(|s| (n(&s.id), s.why.as_str())).collect()
}

fn tag(world: &mut World, n: u64) {
    let tags = &mut world.images.get_mut(&id(n)).unwrap().tags;
    tags.insert("somebodys:1".parse().unwrap());
}

const CHANGES: [&str; 2] = ["name", "drop"];

// ---- the journal comes first

#[tokio::test(start_paused = true)]
async fn every_intent_is_journalled_durably_before_anything_is_named_or_dropped() {
    let scene = scene([image(1), image(2)]);
    assert_eq!(removed(&scene.prune().await), [1, 2]);
    let log = scene.log(&["intent", "name", "drop"]);
    assert_eq!(log[..3], ["intent 1", "intent 2", "name 1"]);
    let world = scene.world();
    assert!(world.records[..2].iter().all(|(_, durable)| *durable));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_journalled_is_not_removed() {
    let scene = scene([image(1)]);
    scene.world().journal_fails = true;
    let outcome = scene.prune().await;
    assert_eq!(outcome.ending, Ending::StateLost("no space left".into()));
    assert_eq!(outcome.exit(), Exit::State);
    assert!(scene.log(&CHANGES).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_fails_after_a_removal_ends_the_run() {
    let scene = scene([image(1), image(2)]);
    scene.before("Removed 1", |world| world.journal_fails = true);
    let outcome = scene.prune().await;
    assert!(matches!(outcome.ending, Ending::StateLost(_)));
    assert_eq!(removed(&outcome), [1], "and says so");
    assert_eq!(scene.log(&["drop"]).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_journal_is_not_flushed_to_the_disk_while_a_deploy_may_wait() {
    let scene = scene((1..=17).map(image));
    scene.before("intent 17", |world| assert!(world.held_since.is_none()));
    assert_eq!(scene.prune().await.removed.len(), 17);
}

// ---- what changed since the plan stays

/// What somebody did to image 1 since the plan keeps it, untouched.
async fn keeps(image: Image, act: impl FnMut(&mut World) + 'static) -> String {
    let scene = scene([image]);
    scene.before("hold", act);
    let outcome = scene.prune().await;
    assert!(scene.log(&CHANGES).is_empty(), "{:?}", scene.world().log);
    assert_eq!((outcome.exit(), outcome.result()), (Exit::Done, "nothing"));
    whys(&outcome.skipped)[0].1.to_owned()
}

#[tokio::test(start_paused = true)]
async fn an_image_that_was_tagged_since_the_plan_is_skipped() {
    let why = keeps(image(1), |world| tag(world, 1)).await;
    assert_eq!(why, "it was tagged somebodys:1 since the plan");
}

#[tokio::test(start_paused = true)]
async fn an_image_whose_digest_references_changed_is_skipped() {
    let why = keeps(pinned(1, "app"), |world| {
        let digests = &mut world.images.get_mut(&id(1)).unwrap().digests;
        digests.insert(digest("other", 9));
    })
    .await;
    assert!(why.contains("digest references changed"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_a_tag_was_set_on_and_taken_from_is_skipped() {
    let why = keeps(image(1), |world| {
        let seen = world.images.get_mut(&id(1)).unwrap();
        seen.last_tag_time = Observed::Known(Some(at(99)));
    })
    .await;
    assert!(why.contains("a tag was set"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_a_new_service_wants_is_skipped() {
    let why = keeps(pinned(1, "app"), |world| {
        world.swarm = Swarm::Manager {
            images: vec![ServiceImage {
                service: Untrusted::new("web"),
                spec: Spec::Current,
                image: Untrusted::new(digest("app", 1001).to_string()),
            }],
            under_way: Vec::new(),
        };
    })
    .await;
    assert_eq!(why, "service web wants it since the plan");
}

#[tokio::test(start_paused = true)]
async fn an_image_of_several_names_that_a_new_container_uses_keeps_them_all() {
    let mut two = pinned(1, "app");
    two.digests.insert(digest("mirror.example/app", 7));
    let why = keeps(two, |world| {
        world.containers.push(Container {
            id: Untrusted::new("c"),
            name: Untrusted::new("web"),
            image: Untrusted::new("gone"),
            image_ids: vec![id(1)],
            state: Untrusted::new("running"),
            image_mounts: Vec::new(),
        });
    })
    .await;
    assert_eq!(why, "container web uses it since the plan");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_gone_since_the_plan_is_skipped() {
    let why = keeps(image(1), |world| world.images.clear()).await;
    assert_eq!(why, "gone already");
}

// ---- names

#[tokio::test(start_paused = true)]
async fn a_nameless_image_gets_our_name_and_loses_it() {
    let scene = scene([image(1)]);
    assert_eq!(removed(&scene.prune().await), [1]);
    assert_eq!(
        scene.log(&["look", "name", "drop"]),
        ["look 1", "name 1", "drop ours", "look 1"]
    );
}

#[tokio::test(start_paused = true)]
async fn each_image_is_seen_to_be_gone_before_the_next_is_touched() {
    let scene = scene([image(1), image(2)]);
    assert_eq!(removed(&scene.prune().await), [1, 2]);
    let first = ["builds?", "swarm?", "look 1", "name 1", "drop ours"];
    // With the locks held and builds told quickly, all is asked at once.
    let second = ["look 1", "builds?", "swarm?", "look 2"];
    let rest = ["Removed 1", "name 2", "drop ours", "look 2", "Removed 2"];
    let all = ["look", "name", "drop", "builds?", "swarm?", "Removed"];
    assert_eq!(scene.log(&all), [first.as_slice(), &second, &rest].concat());
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_still_there_ends_the_run_before_the_next_is_touched() {
    let scene = scene([image(1), image(2)]);
    scene.answers(Ok(Dropped {
        untagged: vec![Reference::ours(&id(1)).to_string()],
        deleted: vec![id(1).to_string()],
    }));
    let outcome = scene.prune().await;
    assert_eq!(outcome.ending, Ending::Surprised);
    assert_eq!(scene.log(&CHANGES), ["name 1", "drop ours"]);
    let closed = scene.log(&["Unknown", "Skipped"]);
    assert_eq!(closed, ["Unknown 1", "Skipped 2"]);
}

#[tokio::test(start_paused = true)]
async fn each_digest_reference_is_dropped_and_no_name_is_given() {
    let mut two = pinned(1, "app");
    two.digests.insert(digest("mirror.example/app", 7));
    let scene = scene([two]);
    assert_eq!(removed(&scene.prune().await), [1]);
    assert_eq!(scene.log(&CHANGES), ["drop app", "drop mirror.example/app"]);
}

#[tokio::test(start_paused = true)]
async fn a_dangling_image_of_the_containerd_store_gets_our_name_as_any_other() {
    let mut scene = scene([image(1)]);
    scene.host.engine.store = Store::Containerd;
    assert_eq!(removed(&scene.prune().await), [1]);
    assert_eq!(scene.log(&CHANGES), ["name 1", "drop ours"]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_came_while_ours_was_given_keeps_the_image() {
    let scene = scene([image(1)]);
    scene.before("name 1", |world| tag(world, 1));
    let outcome = scene.prune().await;
    let why = whys(&outcome.skipped)[0].1;
    assert!(why.contains("something keeps it"), "{why}");
    assert_eq!(scene.log(&CHANGES), ["name 1", "drop ours"]);
    let world = scene.world();
    let seen = &world.images[&id(1)];
    assert!(seen.ours.is_empty() && seen.tags.len() == 1);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_came_just_before_the_drop_keeps_the_image() {
    let scene = scene([image(1)]);
    scene.before("drop ours", |world| tag(world, 1));
    let outcome = scene.prune().await;
    let why = whys(&outcome.skipped)[0].1;
    assert!(why.contains("something keeps it"), "{why}");
    assert_eq!(outcome.exit(), Exit::Done);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_came_and_went_leaves_a_removal_and_no_skip() {
    let scene = scene([image(1)]);
    scene.before("name 1", |world| tag(world, 1));
    scene.before("drop ours", |world| {
        world.images.get_mut(&id(1)).unwrap().tags.clear();
    });
    let outcome = scene.prune().await;
    assert_eq!((removed(&outcome), outcome.skipped.len()), (vec![1], 0));
}

// ---- what the engine answers

#[tokio::test(start_paused = true)]
async fn a_conflict_is_a_skip_and_nothing_is_tried_twice() {
    let scene = scene([pinned(1, "app"), pinned(2, "b")]);
    scene.answers(Err(broken(Failure::Conflict)));
    let outcome = scene.prune().await;
    assert_eq!(
        whys(&outcome.skipped),
        [(1, "the engine would not: Conflict")]
    );
    assert_eq!(removed(&outcome), [2]);
    assert_eq!(scene.log(&CHANGES), ["drop app", "drop b"]);
    assert_eq!(outcome.exit(), Exit::Done);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_not_found_is_a_skip() {
    let scene = scene([pinned(1, "app")]);
    scene.before("drop app", |world| world.images.clear());
    let outcome = scene.prune().await;
    assert_eq!(whys(&outcome.skipped), [(1, "gone already")]);
}

#[tokio::test(start_paused = true)]
async fn a_later_name_that_is_not_found_does_not_hide_that_the_image_went() {
    let mut two = pinned(1, "app");
    two.digests.insert(digest("mirror.example/app", 7));
    let scene = scene([two]);
    scene.before("drop app", |world| {
        let digests = &mut world.images.get_mut(&id(1)).unwrap().digests;
        digests.remove(&digest("mirror.example/app", 7));
    });
    assert_eq!(removed(&scene.prune().await), [1]);
}

#[tokio::test(start_paused = true)]
async fn an_error_is_a_failure_and_the_next_image_is_tried() {
    let scene = scene([image(1), image(2)]);
    scene.answers(Err(broken(Failure::Status(500))));
    let outcome = scene.prune().await;
    assert_eq!(whys(&outcome.failed)[0].0, 1);
    assert_eq!(removed(&outcome), [2]);
    assert_eq!(outcome.exit(), Exit::NotAllWell);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_went_in_spite_of_an_error_is_removed() {
    for failure in [Failure::Status(500), Failure::Lost, Failure::Nonsense] {
        let scene = scene([image(1)]);
        scene.before("drop ours", |world| world.images.clear());
        scene.answers(Err(broken(failure)));
        let outcome = scene.prune().await;
        assert_eq!(removed(&outcome), [1], "{failure:?}");
        assert!(scene.open_intents().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_with_the_image_still_there_leaves_the_intent_open() {
    let scene = scene([image(1), image(2)]);
    scene.answers(Err(broken(Failure::Lost)));
    let outcome = scene.prune().await;
    assert!(matches!(outcome.ending, Ending::EngineLost(_)));
    assert_eq!(outcome.exit(), Exit::Engine);
    assert!(removed(&outcome).is_empty() && outcome.failed.is_empty());
    assert_eq!(scene.open_intents(), [1], "the engine may still be at it");
    assert_eq!(scene.log(&["drop"]).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_lost_with_the_answer_leaves_the_intent_open() {
    let scene = scene([image(1), image(2)]);
    scene.answers(Err(broken(Failure::Lost)));
    scene.before("drop ours", |world| {
        world.fails.push(("look", Failure::Lost));
    });
    let outcome = scene.prune().await;
    assert!(matches!(outcome.ending, Ending::EngineLost(_)));
    assert_eq!(outcome.exit(), Exit::Engine);
    assert_eq!(scene.open_intents(), [1]);
    assert_eq!(scene.log(&["drop"]).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_went_and_was_not_meant_stops_the_run() {
    let scene = scene([pinned(1, "app"), pinned(2, "b")]);
    scene.before("drop app", |world| {
        world.images.remove(&id(1));
    });
    scene.answers(Ok(Dropped {
        untagged: vec![digest("app", 1001).familiar(), "prod:1".into()],
        deleted: vec![id(1).to_string()],
    }));
    let outcome = scene.prune().await;
    assert_eq!(outcome.collateral.len(), 1);
    assert_eq!(
        outcome.collateral[0].way_back().unwrap(),
        format!(
            "docker pull {0} && docker tag {0} prod:1",
            digest("app", 1001).familiar()
        )
    );
    assert_eq!(
        (outcome.ending.clone(), outcome.exit()),
        (Ending::Surprised, Exit::Collateral)
    );
    assert_eq!(removed(&outcome), [1], "the image itself went, too");
    assert_eq!(scene.log(&["drop"]), ["drop app"]);
    assert_eq!(
        scene.log(&["Collateral", "Skipped"]),
        ["Collateral 1", "Skipped 2"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_longest_lost_name_has_a_command_that_brings_it_back() {
    let scene = scene([pinned(1, "app")]);
    let name = format!("r.example/{}:{}", "a".repeat(245), "t".repeat(128));
    scene.answers(Ok(Dropped {
        untagged: vec![name.clone()],
        deleted: vec![],
    }));
    let outcome = scene.prune().await;
    let digest = digest("app", 1001).familiar();
    assert_eq!(
        outcome.collateral[0].way_back(),
        Some(format!(
            "docker pull {digest} && docker tag {digest} {name}"
        ))
    );
}

#[tokio::test(start_paused = true)]
async fn another_image_of_the_host_that_went_stops_the_run() {
    let scene = scene([image(1), tagged(2, "prod:1")]);
    scene.answers(Ok(Dropped {
        untagged: vec![],
        deleted: vec![id(1).to_string(), id(2).to_string()],
    }));
    let outcome = scene.prune().await;
    assert_eq!(outcome.collateral[0].what, Lost::Image(id(2)));
    assert_eq!(outcome.exit(), Exit::Collateral);
}

#[tokio::test(start_paused = true)]
async fn the_engines_own_record_of_a_dangling_image_is_no_collateral_and_anothers_is() {
    for (record, exit) in [(1, Exit::Done), (2, Exit::Collateral)] {
        let scene = scene([left(image(1))]);
        scene.before("drop ours", |world| world.images.clear());
        scene.answers(Ok(Dropped {
            untagged: vec![
                format!("moby-dangling@{}", id(record)),
                Reference::ours(&id(1)).to_string(),
            ],
            deleted: vec![id(1).to_string()],
        }));
        let outcome = scene.prune().await;
        assert_eq!((removed(&outcome), outcome.exit()), (vec![1], exit));
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_went_is_no_collateral() {
    let scene = scene([image(1)]);
    scene.before("drop ours", |world| world.images.clear());
    scene.answers(Ok(Dropped {
        untagged: vec![],
        deleted: vec![id(1).to_string(), id(77).to_string()],
    }));
    let outcome = scene.prune().await;
    assert_eq!((removed(&outcome), outcome.exit()), (vec![1], Exit::Done));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_said_to_be_gone_and_is_not_stops_the_run() {
    for deleted in [vec![id(1).to_string()], vec![]] {
        let scene = scene([pinned(1, "app"), pinned(2, "b")]);
        let said_gone = !deleted.is_empty();
        scene.before("drop app", move |world| {
            if said_gone {
                world.images.get_mut(&id(1)).unwrap().digests.clear();
            }
        });
        scene.answers(Ok(Dropped {
            untagged: vec![digest("app", 1001).familiar()],
            deleted,
        }));
        let outcome = scene.prune().await;
        assert_eq!(whys(&outcome.unconfirmed)[0].0, 1);
        assert_eq!(outcome.exit(), Exit::Collateral);
        assert_eq!(scene.open_intents(), [1], "the next run finds out");
        assert_eq!(scene.log(&["drop"]), ["drop app"]);
    }
}

/// What shows that image 1 was pulled by its digest.
fn pull(n: u64, name: &str, seconds: i64) -> Event {
    Event {
        at: at(seconds),
        image: Untrusted::new(digest(name, 1000 + n).familiar()),
        what: EventKind::Pulled,
        tag: None,
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_that_was_pulled_again_after_its_removal_is_no_surprise() {
    // Pulled long before, it should be gone.
    for (seconds, exit) in [(100, Exit::Done), (99, Exit::Collateral)] {
        for deleted in [vec![id(1).to_string()], vec![]] {
            let scene = scene([pinned(1, "app")]);
            let gone = !deleted.is_empty();
            scene.before("drop app", move |world| {
                world.events.push(pull(1, "app", seconds));
            });
            scene.answers(Ok(Dropped {
                untagged: vec![digest("app", 1001).familiar()],
                deleted,
            }));
            let outcome = scene.prune().await;
            assert_eq!(outcome.exit(), exit, "{seconds} {gone}");
            let (went, stayed) = (removed(&outcome).len(), outcome.skipped.len());
            let (again, was_gone) = (exit == Exit::Done, usize::from(gone));
            assert_eq!(went, if again { was_gone } else { 0 });
            assert_eq!(stayed, if again { 1 - was_gone } else { 0 });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_pulled_up_to_the_last_look_before_a_drop_stays() {
    let scene = scene([pinned(1, "app"), pinned(2, "b")]);
    scene.before("look 2", |world| world.events.push(pull(2, "b", 101)));
    let outcome = scene.prune().await;
    assert_eq!(removed(&outcome), [1]);
    let why = "it was pulled or used since the plan";
    assert_eq!(whys(&outcome.skipped), [(2, why)]);
    assert_eq!(scene.log(&["drop"]), ["drop app"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_pulled_after_the_clock_was_set_back_stays() {
    let scene = scene([pinned(1, "app"), pinned(2, "b")]);
    scene.before("look 2", |world| {
        world.set_back = TimeDelta::seconds(2);
        // The engine dates it before what was asked for already.
        world.events.push(pull(2, "b", 99));
    });
    scene.before("look 1", |world| world.events.push(pull(1, "app", 97)));
    let outcome = scene.prune().await;
    assert_eq!(removed(&outcome), [1], "pulled before the plan");
    assert_eq!(outcome.skipped.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_came_again_after_the_clock_was_set_back_is_no_surprise() {
    let scene = scene([pinned(1, "app")]);
    scene.before("drop app", |world| {
        world.set_back = TimeDelta::seconds(2);
        world.events.push(pull(1, "app", 99));
    });
    scene.answers(Ok(Dropped {
        untagged: vec![digest("app", 1001).familiar()],
        deleted: vec![id(1).to_string()],
    }));
    let outcome = scene.prune().await;
    assert_eq!((removed(&outcome), outcome.exit()), (vec![1], Exit::Done));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_said_to_be_gone_and_was_tagged_just_then_is_kept() {
    let scene = scene([pinned(1, "app"), image(2)]);
    // As the containerd store does: the answer is given before the image goes.
    scene.before("drop app", |world| {
        let seen = world.images.get_mut(&id(1)).unwrap();
        seen.digests.clear();
        seen.tags.insert("wanted:1".parse().unwrap());
    });
    scene.answers(Ok(Dropped {
        untagged: vec![digest("app", 1001).familiar()],
        deleted: vec![id(1).to_string()],
    }));
    let outcome = scene.prune().await;
    let why = format!("{KEPT}; without {} now", digest("app", 1001).familiar());
    assert_eq!(whys(&outcome.skipped)[0], (1, &*why));
    assert_eq!(removed(&outcome), [2], "the run goes on");
    assert_eq!(outcome.exit(), Exit::Done);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_gone_and_whose_id_leads_to_nothing_readable_stops_the_run() {
    let scene = scene([pinned(1, "app"), image(2)]);
    // As the containerd store does where a tag came too late to keep it.
    scene.before("drop app", |world| {
        world.fails.push(("look 1", Failure::Nonsense));
    });
    let outcome = scene.prune().await;
    assert_eq!(whys(&outcome.unconfirmed)[0].0, 1);
    assert_eq!(outcome.exit(), Exit::Collateral);
    assert_eq!(scene.log(&["drop"]), ["drop app"], "nothing after it");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_cannot_say_what_is_deployed_ends_the_run_before_any_change() {
    for question in ["swarm?", "builds?"] {
        let scene = scene([image(1)]);
        scene.world().fails.push((question, Failure::Status(503)));
        let outcome = scene.prune().await;
        assert!(matches!(outcome.ending, Ending::EngineLost(_)));
        assert!(scene.log(&CHANGES).is_empty());
    }
}

// ---- locks, and the end of a run

#[tokio::test(start_paused = true)]
async fn without_the_deploy_locks_nothing_is_asked_or_removed() {
    let scene = scene([image(1)]);
    scene.world().locks = Locks::Theirs;
    let outcome = scene.prune().await;
    assert_eq!(
        (outcome.ending.clone(), outcome.result()),
        (Ending::Refused, "refused")
    );
    assert_eq!(outcome.exit(), Exit::RefusedForNow);
    assert!(scene.log(&["look", "name", "drop"]).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_let_go_within_moments_is_waited_for() {
    let scene = scene([image(1), image(2)]);
    scene.world().locks = Locks::TheirsFor(PATIENCE.saturating_sub(Duration::from_millis(50)));
    let outcome = scene.prune().await;
    assert_eq!(
        (removed(&outcome), outcome.exit()),
        (vec![1, 2], Exit::Done)
    );
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_met_between_two_images_is_waited_for_as_well() {
    let scene = scene([image(1), image(2)]);
    scene.before("Removed 1", |world| {
        world.locks = Locks::TheirsFor(world.started.elapsed() + PATIENCE / 2);
    });
    scene.world().slow = Some(("drop", LONGEST_HOLD));
    assert_eq!(removed(&scene.prune().await), [1, 2]);
    assert!(scene.world().longest_held <= 2 * LONGEST_HOLD);
}

/// Three images; after the first, a deploy has its lock and makes the second a rollback.
fn beside_a_deploy() -> Scene {
    let scene = scene([image(1), image(2), image(3)]);
    scene.before("Removed 1", |world| {
        world.locks = Locks::TheirsFor(world.started.elapsed() + PATIENCE / 2);
        world.rollbacks = vec![id(2)];
    });
    scene.world().slow = Some(("drop", LONGEST_HOLD));
    scene
}

#[tokio::test(start_paused = true)]
async fn what_a_deploy_makes_a_rollback_while_its_lock_is_waited_for_in_mid_run_stays() {
    let scene = beside_a_deploy();
    let outcome = scene.prune().await;
    assert_eq!(removed(&outcome), [1, 3]);
    let why = "a deploy had its lock since the plan, and something keeps it now";
    assert_eq!(whys(&outcome.skipped), [(2, why)]);
    assert_eq!(scene.log(&["survey?"]).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_survey_after_a_deploy_keeps_no_other_waiting_and_ends_the_run_where_it_fails() {
    let slow = beside_a_deploy();
    slow.before("survey?", |world| {
        world.slow = Some(("survey?", LONGEST_HOLD * 10));
    });
    assert_eq!(removed(&slow.prune().await), [1, 3]);
    assert!(slow.world().longest_held <= 2 * LONGEST_HOLD);

    for (failure, refusals) in [(Failure::Contradiction, 1), (Failure::Lost, 0)] {
        let fails = beside_a_deploy();
        fails.world().fails = vec![("survey?", failure)];
        let outcome = fails.prune().await;
        assert_eq!((removed(&outcome), outcome.exit()), (vec![1], Exit::Engine));
        assert_eq!(outcome.refusals.len(), refusals, "{:?}", outcome.ending);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_waited_for_within_the_runs_time_and_not_after_it_was_asked_to_end() {
    let mut busy = scene([image(1)]);
    busy.policy.limits.max_run = PATIENCE / 2;
    busy.world().locks = Locks::Theirs;
    assert_eq!(busy.prune().await.ending, Ending::OutOfTime);
    assert!(busy.world().started.elapsed() < PATIENCE);

    let asked = scene([image(1)]);
    asked.world().locks = Locks::Theirs;
    asked.before("hold", |world| world.interrupted = true);
    assert_eq!(asked.prune().await.ending, Ending::Interrupted);
    assert!(asked.log(&["hold"]).len() <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_does_not_end_by_itself_is_not_waited_for() {
    let unclear = Cause::DeployLock {
        path: "/l".into(),
        kind: LockKind::Flock,
        holder: None,
        unclear: Some("EIO".into()),
    };
    let stays = [
        Refusal {
            alert: true,
            ..a_lock()
        },
        unclear.into(),
        Cause::Clock("it was set back".into()).into(),
    ];
    assert!(a_lock().may_end_at_any_moment());
    assert!(stays.iter().all(|refusal| !refusal.may_end_at_any_moment()));
}

#[tokio::test(start_paused = true)]
async fn every_look_and_every_change_is_made_under_the_locks() {
    let scene = scene([image(1), pinned(2, "app")]);
    for line in ["look 1", "name 1", "drop ours", "look 2", "drop app"] {
        scene.before(line, |world| assert!(world.held_since.is_some()));
    }
    assert_eq!(removed(&scene.prune().await).len(), 2);
    assert!(scene.world().held_since.is_none(), "and they are let go");
}

#[tokio::test(start_paused = true)]
async fn the_locks_are_let_go_after_a_second_and_taken_again() {
    let scene = scene((1..=4).map(image));
    scene.world().slow = Some(("drop", Duration::from_millis(600)));
    assert_eq!(removed(&scene.prune().await).len(), 4);
    assert_eq!(scene.log(&["hold", "let go"]).len(), 4);
    assert!(scene.world().longest_held <= 2 * LONGEST_HOLD);
}

#[tokio::test(start_paused = true)]
async fn a_deploy_that_takes_the_locks_in_between_refuses_the_rest() {
    let scene = scene([image(1), image(2)]);
    scene.world().slow = Some(("drop", Duration::from_millis(1100)));
    scene.before("let go", |world| world.locks = Locks::Theirs);
    let outcome = scene.prune().await;
    assert_eq!(removed(&outcome), [1]);
    assert_eq!(
        (outcome.exit(), outcome.result()),
        (Exit::RefusedForNow, "stopped")
    );
    assert_eq!(scene.log(&["Skipped"]), ["Skipped 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_drop_that_takes_long_lets_the_locks_go_and_is_waited_for() {
    let scene = scene([image(1)]);
    scene.world().slow = Some(("drop", Duration::from_secs(60)));
    assert_eq!(removed(&scene.prune().await), [1]);
    assert!(scene.world().longest_held <= 2 * LONGEST_HOLD);
}

#[tokio::test(start_paused = true)]
async fn whatever_the_engine_is_slow_at_no_deploy_waits_and_nothing_is_dropped_without_locks() {
    for slow in ["look", "swarm?", "name", "containers?"] {
        let mut two = pinned(1, "app");
        two.digests.insert(digest("mirror.example/app", 7));
        let scene = scene([two, image(2)]);
        scene.world().slow = Some((slow, Duration::from_secs(20)));
        for line in ["name 2", "drop app", "drop mirror.example/app", "drop ours"] {
            scene.before(line, |world| assert!(world.held_since.is_some()));
        }
        scene.prune().await;
        let longest = scene.world().longest_held;
        assert!(longest <= 2 * LONGEST_HOLD, "{slow}: {longest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_engine_keeps_no_image_where_there_is_no_lock_to_wait_for() {
    for slow in ["look", "swarm?", "builds?", "name", "containers?", "drop"] {
        let mut two = pinned(1, "app");
        two.digests.insert(digest("mirror.example/app", 7));
        let scene = scene([two, image(2)]);
        scene.world().locks = Locks::None;
        scene.world().slow = Some((slow, Duration::from_secs(20)));
        assert_eq!(removed(&scene.prune().await), [1, 2], "{slow}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_second_name_of_an_image_is_not_dropped_when_the_first_took_too_long() {
    let mut two = pinned(1, "app");
    two.digests.insert(digest("mirror.example/app", 7));
    let scene = scene([two]);
    scene.world().slow = Some(("drop app", Duration::from_secs(5)));
    let outcome = scene.prune().await;
    assert_eq!(scene.log(&CHANGES), ["drop app"]);
    let [(1, why)] = whys(&outcome.skipped)[..] else {
        panic!("{:?}", outcome.skipped);
    };
    let lost = format!("{SLOW}; without app@sha256:");
    assert!(why.starts_with(&lost), "a name that is gone is told: {why}");
}

#[tokio::test(start_paused = true)]
async fn what_was_used_since_the_plan_and_is_not_any_more_stays() {
    let used = |image: String, what| Event {
        at: at(101),
        image: Untrusted::new(image),
        what,
        tag: None,
    };
    let scene = scene([image(1), pinned(2, "app"), image(3)]);
    let pulled = digest("app", 1002).to_string();
    scene.world().events = vec![
        used(id(1).to_string(), EventKind::Used),
        used(pulled, EventKind::Pulled),
    ];
    let outcome = scene.prune().await;
    assert_eq!(scene.log(&CHANGES), ["name 3", "drop ours"]);
    let why = "it was pulled or used since the plan";
    assert_eq!(whys(&outcome.skipped), [(1, why), (2, why)]);
}

#[tokio::test(start_paused = true)]
async fn what_happened_is_asked_for_before_each_drop() {
    let scene = scene([image(1), image(2)]);
    scene.world().slow = Some(("drop", Duration::from_millis(1500)));
    scene.before("drop ours", |world| {
        world.events.push(Event {
            at: at(101),
            image: Untrusted::new(id(2).to_string()),
            what: EventKind::Used,
            tag: None,
        });
    });
    scene.prune().await;
    assert_eq!(
        scene.log(&["events?", "drop"]),
        // Each time without the locks and with them.
        ["events?", "drop ours", "events?"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_deploy_wanted_before_we_had_its_lock_stays() {
    let scene = scene([image(1), image(2)]);
    // Who holds the lock meanwhile and lets it go has all that time.
    scene.world().slow = Some(("builds?", Duration::from_secs(10)));
    for n in [1, 2] {
        scene.before("hold", move |world| {
            world.events.push(Event {
                at: at(101),
                image: Untrusted::new(id(n).to_string()),
                what: EventKind::Named,
                tag: None,
            });
        });
    }
    let outcome = scene.prune().await;
    assert_eq!(scene.log(&CHANGES), [""; 0]);
    assert_eq!(outcome.skipped.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn much_build_cache_delays_no_deploy_and_keeps_no_image() {
    let scene = scene([image(1), image(2)]);
    scene.world().slow = Some(("builds?", Duration::from_secs(10)));
    assert_eq!(removed(&scene.prune().await), [1, 2]);
    assert!(scene.world().longest_held <= 2 * LONGEST_HOLD);
}

#[tokio::test(start_paused = true)]
async fn the_last_image_is_seen_to_be_gone_before_a_question_that_fails_ends_the_run() {
    let scene = scene([image(1), image(2)]);
    scene.world().locks = Locks::None;
    scene.world().slow = Some(("drop", Duration::from_millis(1500)));
    scene.before("drop ours", |world| {
        world.fails.push(("events?", Failure::Status(500)));
    });
    let outcome = scene.prune().await;
    assert_eq!(outcome.exit(), Exit::Engine);
    assert_eq!(removed(&outcome), [1]);
    assert_eq!(
        scene.log(&["Removed", "Skipped"]),
        ["Removed 1", "Skipped 2"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_image_that_stays_is_told_with_the_names_that_it_lost() {
    let tagged = |world: &mut World| {
        let seen = world.images.get_mut(&id(1)).unwrap();
        seen.tags.insert("wanted:1".parse().unwrap());
    };
    let scene = scene([pinned(1, "app")]);
    scene.before("drop app", tagged);
    let outcome = scene.prune().await;
    let name = digest("app", 1001).familiar();
    let why = format!("{KEPT}; without {name} now");
    assert_eq!(whys(&outcome.skipped), [(1, &*why)]);
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_before_builds_were_told_slowly_is_looked_at_again() {
    for locks in [Locks::Free, Locks::None] {
        let scene = scene((1..=3).map(image));
        scene.world().locks = locks;
        // Quick before the first, and slow beside the look at the second.
        scene.before("drop ours", |world| {
            world.slow = Some(("builds?", Duration::from_secs(10)));
            world.events.push(Event {
                at: at(101),
                image: Untrusted::new(id(2).to_string()),
                what: EventKind::Used,
                tag: None,
            });
        });
        assert_eq!(removed(&scene.prune().await), [1, 3], "{locks:?}");
        assert!(locks == Locks::None || scene.world().longest_held <= 2 * LONGEST_HOLD);
    }
}

#[tokio::test(start_paused = true)]
async fn what_speaks_against_it_in_mid_run_stops_it_and_the_rest_is_journalled() {
    let scene = scene((1..=3).map(image));
    scene.before("Removed 1", |world| {
        world.refusals.push(crate::testing::deploy("web"));
    });
    let outcome = scene.prune().await;
    assert_eq!(removed(&outcome), [1]);
    assert_eq!(outcome.exit(), Exit::RefusedForNow);
    assert_eq!(scene.log(&["drop"]).len(), 1);
    assert_eq!(scene.log(&["Skipped"]), ["Skipped 2", "Skipped 3"]);
    assert!(scene.open_intents().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_not_hidden_by_a_refusal_after_it() {
    let scene = scene([image(1), image(2)]);
    scene.answers(Err(broken(Failure::Status(500))));
    scene.before("Failed 1", |world| world.refusals.push(a_lock()));
    assert_eq!(scene.prune().await.exit(), Exit::NotAllWell);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_asked_to_end_ends_before_the_next_image() {
    let scene = scene([image(1), image(2)]);
    scene.before("drop ours", |world| world.interrupted = true);
    let outcome = scene.prune().await;
    assert_eq!(
        (removed(&outcome), outcome.ending.clone()),
        (vec![1], Ending::Interrupted)
    );
    assert_eq!(outcome.exit(), Exit::RefusedForNow);
    assert_eq!(scene.log(&["Skipped"]), ["Skipped 2"]);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_was_seen_before_the_run_was_stopped_stays() {
    let scene = scene([image(1), image(2)]);
    scene.before("name 1", |world| {
        world.stopped = true;
        world.interrupted = true;
    });
    let outcome = scene.prune().await;
    assert_eq!(removed(&outcome), [] as [u64; 0]);
    assert_eq!(outcome.ending, Ending::Interrupted);
    assert!(scene.open_intents().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_asked_to_end_does_not_wait_for_an_engine_that_hangs() {
    let scene = scene([image(1)]);
    scene.world().slow = Some(("drop", Duration::from_secs(120)));
    scene.before("drop ours", |world| {
        world.interrupted = true;
        world.slow = Some(("", Duration::from_secs(120)));
    });
    let begun = Instant::now();
    let outcome = scene.prune().await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(matches!(outcome.ending, Ending::EngineLost(_)));
    assert_eq!(scene.open_intents(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_when_its_time_is_over() {
    let scene = scene((1..=4).map(image));
    scene.world().slow = Some(("drop", Duration::from_secs(40)));
    let outcome = scene.prune().await;
    assert_eq!(
        (removed(&outcome), outcome.ending.clone()),
        (vec![1, 2], Ending::OutOfTime)
    );
    assert_eq!(scene.log(&["Skipped"]), ["Skipped 3", "Skipped 4"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_when_the_disk_has_enough() {
    let scene = scene((1..=3).map(image));
    scene.before("drop ours", |world| world.used = 5);
    let outcome = scene.prune().await;
    assert_eq!(
        (removed(&outcome), outcome.ending.clone()),
        (vec![1], Ending::Done)
    );
    assert_eq!(scene.log(&["Skipped"]), ["Skipped 2", "Skipped 3"]);
    assert_eq!(outcome.exit(), Exit::Done);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_min_free_started_ends_when_that_is_there() {
    let mut scene = scene((1..=3).map(image));
    let text = POLICY.replace(
        "[disk]\nstart_above_percent = 80",
        "[disk]\nmin_free = \"20B\"\nstart_above_percent = 95",
    );
    scene.policy = Policy::parse(&text, "test").unwrap();
    scene.before("drop ours", |world| world.used = 80);
    let outcome = scene.prune().await;
    assert_eq!(removed(&outcome), [1], "10 free at first, and 20 after one");
    assert_eq!(outcome.ending, Ending::Done);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_cannot_be_measured_is_not_a_disk_with_enough_or_without() {
    let scene = scene([image(1)]);
    scene.world().used = 5;
    assert_eq!(removed(&scene.prune().await), [1], "the plan has been made");
}

// ---- names of ours that a run left

fn left(image: Image) -> Image {
    Image {
        ours: [Reference::ours(&image.id)].into(),
        ..image
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_of_ours_beside_somebodys_is_dropped_under_the_locks() {
    let scene = scene([left(tagged(1, "app:1"))]);
    scene.before("drop ours", |world| assert!(world.held_since.is_some()));
    let outcome = scene.prune().await;
    assert_eq!(outcome.result(), "nothing");
    assert_eq!(scene.log(&CHANGES), ["drop ours"]);
    assert!(scene.world().images[&id(1)].ours.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_name_of_ours_that_is_the_last_one_stays_unless_the_image_is_to_go() {
    let mut young = left(image(1));
    young.dates.created = Some(at(99));
    let scene_kept = scene([young]);
    scene_kept.prune().await;
    assert!(scene_kept.log(&CHANGES).is_empty());
    let planned = scene([left(image(1))]);
    assert_eq!(removed(&planned.prune().await), [1]);
    assert_eq!(
        planned.log(&CHANGES),
        ["drop ours"],
        "it has a name already"
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_of_ours_on_an_image_that_is_to_go_is_dropped_after_its_intent() {
    let scene = scene([left(pinned(1, "app"))]);
    assert_eq!(removed(&scene.prune().await), [1]);
    assert_eq!(
        scene.log(&["intent", "drop"]),
        ["intent 1", "drop ours", "drop app"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_of_ours_stays_when_somebodys_went_meanwhile() {
    let scene = scene([left(tagged(1, "app:1"))]);
    scene.before("look 1", |world| {
        world.images.get_mut(&id(1)).unwrap().tags.clear();
    });
    scene.prune().await;
    assert!(scene.log(&CHANGES).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_image_that_goes_with_a_name_of_ours_that_was_left_is_collateral() {
    let scene = scene([left(tagged(1, "app:1")), image(2)]);
    scene.before("drop ours", |world| {
        world.images.get_mut(&id(1)).unwrap().tags.clear();
    });
    let outcome = scene.prune().await;
    assert_eq!(outcome.collateral[0].with, id(1));
    assert_eq!(outcome.exit(), Exit::Collateral);
    assert_eq!(scene.log(&["drop"]).len(), 1, "and the run is over");
}

#[test]
fn the_fakes_lock_is_one_that_the_guards_would_make() {
    let sight = LockSight {
        path: "/l".into(),
        kind: LockKind::Flock,
        state: LockState::Held {
            holder: None,
            since: None,
        },
    };
    let look = crate::guard::Look {
        at: at(0),
        clock: crate::memory::clock::Clock::Sound,
        locks: vec![sight],
        standing: crate::model::conditions::Standing::new(),
        pulls: crate::model::conditions::PullSigns::default(),
        at_work: inventory([]).at_work,
    };
    let policy = Policy::parse(POLICY, "test").unwrap();
    assert_eq!(crate::guard::refusals(&policy, &look), [a_lock()]);
}
