//! What others do on the host: pulls, builds, deploys, services, containers, and whatever else
//! happens to a host. It checks nothing.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use secateur::memory::ledger::file_of;
use secateur::model::conditions::LockKind;
use secateur::model::reference::Reference;
use secateur::model::text::Untrusted;
use secateur::model::{ImageId, Store};
use serde_json::{Value, json};

use crate::engine::{Moment, Stored};
use crate::schedule::Action;
use crate::values::{IMAGES, at, digest, id, tag};
use crate::world::{Lock, World};

/// A pull. Stage 0: resolves the name; 1 and 2: shows signs; 3: has stored the image; 4: has named
/// it by its digest.
pub struct Pull {
    image: usize,
    tag: Option<usize>,
    stage: u8,
    /// The step since which it shows a sign.
    pub live: Option<u64>,
}

pub struct Build {
    pub since: u64,
    last: Option<ImageId>,
    /// The container in which a classic build runs its next step.
    container: Option<u64>,
}

pub struct Service {
    /// What it runs, and what a rollback would run, each with the step since which it is here.
    pub current: (String, ImageId, u64),
    pub previous: Option<(String, ImageId, u64)>,
    /// The step since which a task prepares or an update is under way.
    pub under_way: Option<u64>,
    /// Why it never comes to rest after that, if so.
    pub unrest: Option<Unrest>,
    container: Option<u64>,
}

/// Services for which Swarm reports a deploy for ever, although nothing will change or each task
/// has its image here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unrest {
    /// Its tasks ended by themselves, and it was updated again.
    Paused,
    /// No node is fit for its next task.
    NoNode,
    /// Each of its tasks fails a moment after it started.
    CrashLoop,
    /// Its next task waits until tomorrow.
    Nightly,
}

impl Unrest {
    /// One service in three comes to rest. No random number is used, so that older seeds keep their
    /// histories.
    fn drawn(tick: u64) -> Option<Unrest> {
        match tick % 6 {
            0 => Some(Unrest::Paused),
            1 => Some(Unrest::NoNode),
            2 => Some(Unrest::CrashLoop),
            3 => Some(Unrest::Nightly),
            _ => None,
        }
    }
}

impl Service {
    /// Its tasks, as Swarm lists them.
    pub fn tasks(&self, n: usize, tick: u64) -> Vec<Value> {
        let task = |state: &str, desired: &str, node: &str| {
            json!({
                "ID": format!("t{n}{state}"),
                "ServiceID": format!("s{n}"),
                "Slot": 1,
                "NodeID": node,
                "DesiredState": desired,
                "Spec": {"ContainerSpec": {"Image": self.current.0}},
                "Status": {"State": state},
            })
        };
        let over = |state| task(state, "shutdown", "here");
        if self.under_way.is_some() {
            // Between two steps of an update no task moves.
            let preparing = task("preparing", "running", "here");
            return Vec::from_iter((!tick.is_multiple_of(3)).then_some(preparing));
        }
        match self.unrest {
            None => vec![task("running", "running", "here")],
            Some(Unrest::Paused) => vec![over("complete")],
            Some(Unrest::NoNode) => {
                let mut waits = task("pending", "running", "");
                waits["Status"]["Err"] = json!("no suitable node");
                vec![over("shutdown"), waits]
            }
            Some(Unrest::CrashLoop) => {
                let states = ["assigned", "preparing", "ready", "starting", "running"];
                let state = states[usize::try_from(tick % 5).expect("small")];
                vec![over("failed"), task(state, "running", "here")]
            }
            Some(Unrest::Nightly) => vec![over("complete"), task("ready", "ready", "here")],
        }
    }
}

/// The deployer: its next step, and whether it waits for the lock.
#[derive(Default)]
pub struct Deploy {
    stage: u8,
    pub waits: bool,
}

impl World {
    fn new_image(&self, image: usize) -> Stored {
        let labels = (image == 3).then(|| ("keep".to_owned(), Untrusted::new("x")));
        let created = match image % 4 {
            0 => None,
            // By another machine's clock: long ago, or years in the future.
            1 => Some(at(-4_000 * crate::schedule::DAY)),
            2 => Some(self.wall() - TimeDelta::minutes(5)),
            _ => Some(at(0)),
        };
        Stored {
            created,
            labels: labels.into_iter().collect(),
            size: 4 + image as u64,
            ..Stored::default()
        }
    }

    /// The image with this number; `this` is the image of a run's last request.
    fn pick(image: usize, this: Option<&ImageId>) -> ImageId {
        match this {
            Some(this) if image == crate::schedule::THIS => this.clone(),
            _ => id(image % IMAGES),
        }
    }

    pub fn act(&mut self, action: Action, this: Option<&ImageId>) {
        self.tick += 1;
        self.tell(|| format!("{action:?}"));
        self.acts(action, this);
        self.forget_returned();
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each action")]
    fn acts(&mut self, action: Action, this: Option<&ImageId>) {
        let now = self.moment();
        match action {
            Action::Load { image, tag: name } => {
                let id = World::pick(image, this);
                let new = self.new_image(crate::values::number(&id));
                self.engine.load(now, &id, new, name.map(tag).as_ref());
            }
            Action::Tag { image, tag: name } => {
                let id = World::pick(image, this);
                if self.engine.tag(now, &id, &tag(name)).is_ok() {
                    self.count("others: tagged");
                }
            }
            Action::Untag { tag: name } => {
                if let Ok(dropping) = self.engine.begin_drop(now, &tag(name)) {
                    self.engine.end_drop(dropping);
                }
            }
            Action::OtherPrune => self.other_prune(),
            Action::Pull { image, tag } => {
                let image = crate::values::number(&World::pick(image, this));
                self.pulls.push(Pull {
                    image,
                    tag,
                    stage: 0,
                    live: None,
                });
            }
            Action::PullStep => self.pull_step(now),
            Action::PullBreak => {
                if !self.pulls.is_empty() && self.pulls.remove(0).live.is_some() {
                    self.stale_signs += 1;
                }
            }
            Action::Build => self.builds.push(Build {
                since: self.tick,
                last: None,
                container: None,
            }),
            Action::BuildStep { image } => self.build_step(now, image),
            Action::BuildEnd { tag: name } => self.build_end(now, name),
            Action::Create { image } => {
                let text = World::pick(image, this).to_string();
                self.create(now, &text, &[]);
            }
            Action::CreateByDigest { image, tag } => {
                self.create_by_digest(now, &World::pick(image, this), &crate::values::tag(tag));
            }
            Action::PullHere {
                image,
                tag: name,
                of,
            } => {
                self.pull_here(now, &World::pick(image, this), name, of);
            }
            Action::MountByDigest { image, of } => {
                let image = crate::values::number(&World::pick(image, this));
                let mounted = digest(self.setting.store, of, image).familiar();
                let own = self.engine.images.keys().next().map(ToString::to_string);
                self.create(now, &own.unwrap_or_default(), &[mounted]);
            }
            Action::ServiceHere { image } => {
                self.service(now, Action::ServiceUp { image }, this);
                self.service(now, Action::ServiceStep, this);
            }
            Action::CreateByTag { tag: name } => self.create(now, &tag(name).familiar(), &[]),
            Action::Mount { image, tag: name } => {
                let mounted = name.map_or_else(
                    || World::pick(image, this).to_string(),
                    |name| tag(name).familiar(),
                );
                let own = self.engine.images.keys().next().map(ToString::to_string);
                if !self.setting.is_20() {
                    self.create(now, &own.unwrap_or_default(), &[mounted]);
                }
            }
            Action::Remove => {
                let building = |number| self.builds.iter().any(|b| b.container == Some(number));
                let mut numbers = self.engine.containers.iter().map(|held| held.number);
                let first = numbers.find(|number| !building(*number));
                if let Some(number) = first {
                    self.engine.remove_container(now, number);
                }
            }
            Action::Deploy { image, tag } => self.deploy_step(now, image, tag, this),
            Action::ServiceUp { .. }
            | Action::ServiceUpdate { .. }
            | Action::ServiceStep
            | Action::ServiceRollback
            | Action::ServiceDown => self.service(now, action, this),
            Action::Clock(jump) => {
                self.skew += jump;
                self.count("others: clock set");
            }
            Action::Reboot(off) => self.reboot(off),
            Action::EngineRestart => self.restart_engine(),
            Action::OtherEngine => self.other_engine(),
            Action::LedgerLost => {
                self.states[0].ledgers.remove(&file_of(&self.key()));
                self.states[0].shown.harmed = true;
                self.count("others: ledger lost");
            }
            Action::LedgerDamaged(how) => self.damage(how),
            Action::JournalLost => {
                if !self.states[0].taken {
                    self.states[0].journal.clear();
                    self.states[0].synced = 0;
                    self.lose_journal(0);
                }
            }
        }
    }

    fn restart_engine(&mut self) {
        self.engine.restart();
        self.down = 1;
        self.stale_signs += u32::from(!self.pulls.is_empty());
        self.pulls.clear();
        self.builds.clear();
        self.count("others: engine restarted");
    }

    fn create_by_digest(&mut self, now: Moment, image: &ImageId, tag: &Reference) {
        let image = crate::values::number(image);
        let digest = digest(self.setting.store, repository(tag), image);
        let digest = digest.digest().unwrap_or_default();
        let made = self.engine.containers.len();
        let text = format!("{}@{digest}", tag.familiar());
        self.create(now, &text, &[]);
        // If the name is not here, docker pulls it.
        if self.setting.store == Store::Containerd && self.engine.resolve(&text).is_none() {
            self.pull_here(now, &id(image), None, repository(tag));
            self.create(now, &text, &[]);
        }
        if self.engine.containers.len() > made {
            self.count("others: container created by tag and digest");
        }
    }

    /// A whole pull of an image that is here.
    fn pull_here(&mut self, now: Moment, image: &ImageId, name: Option<usize>, of: usize) {
        let number = crate::values::number(image);
        let name = name.map(tag);
        let of = name.as_ref().map_or(of, repository);
        let digest = digest(self.setting.store, of, number);
        let going = self
            .engine
            .images
            .get(image)
            .is_some_and(|image| image.going);
        if !going {
            let new = self.new_image(number);
            self.engine.pulled(now, image, new, name.as_ref(), &digest);
            self.count("others: pulled what is here");
        }
    }

    fn create(&mut self, now: Moment, text: &str, mounts: &[String]) {
        // Not after a delete call has decided: what becomes of such a container was not measured.
        let named = mounts.iter().map(String::as_str).chain([text]);
        let going = named
            .filter_map(|text| self.engine.resolve(text))
            .any(|id| self.engine.images[&id].going);
        if !going && self.engine.create(now, text, mounts).is_ok() {
            self.count("others: container created");
        }
    }

    /// As the engine's own prune: removes images without tag, child and container. On a
    /// graphdriver, also those with digest references.
    fn other_prune(&mut self) {
        let dangling = |id: &ImageId| {
            let image = &self.engine.images[id];
            // On the containerd store a digest reference is a name.
            let named = self.setting.store == Store::Containerd && !image.digests.is_empty();
            image.tags.is_empty()
                && !named
                && !image.going
                && !self.engine.used(id)
                && !self.engine.has_child(id)
        };
        let going: BTreeSet<ImageId> = self
            .engine
            .images
            .keys()
            .filter(|id| dangling(id))
            .cloned()
            .collect();
        self.engine.images.retain(|id, _| !going.contains(id));
    }

    fn pull_step(&mut self, now: Moment) {
        let Some(pull) = self.pulls.first_mut() else {
            return;
        };
        let content = id(pull.image);
        let here = self.engine.images.contains_key(&content);
        pull.stage = match pull.stage {
            0 if here => 3,
            stage => stage + 1,
        };
        pull.live = (1..=2)
            .contains(&pull.stage)
            .then(|| pull.live.unwrap_or(self.tick));
        let (image, name, stage) = (pull.image, pull.tag.map(tag), pull.stage);
        let digest = digest(
            self.setting.store,
            name.as_ref().map_or(0, repository),
            image,
        );
        let new = self.new_image(image);
        let store = self.setting.store;
        match stage {
            3 => self.engine.store(now, &content, new),
            // On a graphdriver first the digest reference, then the tag.
            4 if store == Store::Graphdriver => {
                self.engine.named_by_pull(now, &content, new, None, &digest);
            }
            4 | 5 => {
                self.engine
                    .pulled(now, &content, new, name.as_ref(), &digest);
                self.pulls.remove(0);
                self.count("others: pulled");
            }
            _ => {}
        }
    }

    fn build_step(&mut self, now: Moment, image: usize) {
        let new = id(image % IMAGES);
        if self.engine.images.contains_key(&new) {
            return;
        }
        let fresh = self.new_image(image % IMAGES);
        let Some(build) = self.builds.first_mut() else {
            return;
        };
        // BuildKit keeps its steps in its own cache.
        let parent = build
            .last
            .clone()
            .filter(|last| self.engine.images.contains_key(last));
        if build.last.is_some() && parent.is_none() {
            let what = "a step of a build went while it ran";
            return self.violated(what);
        }
        if self.setting.store == Store::Graphdriver {
            build.last = Some(new.clone());
            let over = build.container.take();
            self.engine.store(now, &new, Stored { parent, ..fresh });
            let next = self.engine.create(now, new.as_str(), &[]).ok();
            if let Some(build) = self.builds.first_mut() {
                build.container = next;
            }
            if let Some(over) = over {
                self.engine.remove_container(now, over);
            }
        }
    }

    fn build_end(&mut self, now: Moment, name: usize) {
        if self.builds.is_empty() {
            return;
        }
        let build = self.builds.remove(0);
        if let Some(last) = build.last
            && self.engine.tag(now, &last, &tag(name)).is_err()
        {
            self.violated("the last step of a build went before it was named");
        }
        if let Some(over) = build.container {
            self.engine.remove_container(now, over);
        }
    }

    /// The deployer's next step, if it has the lock or needs none.
    fn deploy_step(&mut self, now: Moment, image: usize, name: usize, this: Option<&ImageId>) {
        if self.deploy.waits {
            return;
        }
        let stage = self.deploy.stage;
        self.deploy.stage = (stage + 1) % 5;
        match stage {
            0 if self.setting.deployer_locks && self.setting.lock.is_some() => {
                if self.setting.lock == Some(LockKind::Flock) && self.lock.run.is_some() {
                    self.deploy.waits = true;
                    self.count("others: deploy waited for the lock");
                } else {
                    self.lock.deployer = Some(self.tick);
                }
            }
            1 => {
                let id = World::pick(image, this);
                if self.engine.tag(now, &id, &tag(name)).is_ok() {
                    self.count("others: deployed");
                }
            }
            2 => self.create(now, &tag(name).familiar(), &[]),
            3 => self.act(Action::Remove, this),
            4 => self.lock.deployer = None,
            _ => {}
        }
    }

    fn service(&mut self, now: Moment, action: Action, this: Option<&ImageId>) {
        if !self.setting.swarm {
            return;
        }
        let tick = self.tick;
        let spec = |world: &World, image: usize| {
            let image = World::pick(image, this);
            let digest = digest(world.setting.store, 0, crate::values::number(&image));
            // Until a task has pulled it, nobody knows which image the name means.
            (
                format!("app:0@{}", digest.digest().unwrap_or_default()),
                image,
                u64::MAX,
            )
        };
        match action {
            Action::ServiceUp { image } if self.services.len() < 2 => {
                let current = spec(self, image);
                self.services.push(Service {
                    current,
                    previous: None,
                    under_way: Some(tick),
                    unrest: None,
                    container: None,
                });
            }
            Action::ServiceUpdate { image } => {
                let new = spec(self, image);
                if let Some(service) = self.services.first_mut() {
                    service.previous = Some(std::mem::replace(&mut service.current, new));
                    service.under_way = Some(tick);
                }
            }
            Action::ServiceRollback => {
                if let Some(service) = self.services.first_mut()
                    && let Some(previous) = service.previous.take()
                {
                    service.previous = Some(std::mem::replace(&mut service.current, previous));
                    service.under_way = Some(tick);
                }
            }
            Action::ServiceStep => self.service_step(now),
            Action::ServiceDown if !self.services.is_empty() => {
                let service = self.services.remove(0);
                if let Some(container) = service.container {
                    self.engine.remove_container(now, container);
                }
            }
            _ => {}
        }
    }

    /// A task pulls its image, by digest, and starts.
    fn service_step(&mut self, now: Moment) {
        let waiting = self
            .services
            .iter()
            .position(|service| service.under_way.is_some());
        let Some(n) = waiting else { return };
        let (image, old) = (
            self.services[n].current.1.clone(),
            self.services[n].container,
        );
        let number = crate::values::number(&image);
        if self
            .engine
            .images
            .get(&image)
            .is_some_and(|image| image.going)
        {
            return;
        }
        let digest = digest(self.setting.store, 0, number);
        let new = self.new_image(number);
        self.engine.pulled(now, &image, new, None, &digest);
        if let Some(old) = old {
            self.engine.remove_container(now, old);
        }
        let text = self.services[n].current.0.clone();
        self.services[n].container = self.engine.create(now, &text, &[]).ok();
        self.services[n].under_way = None;
        self.services[n].unrest = Unrest::drawn(self.tick);
        if self.services[n].unrest.is_some() {
            self.count("others: a service never comes to rest");
        }
        self.services[n].current.2 = self.tick;
        self.count("others: service task started");
    }

    /// From now on DOCKER_HOST names the other engine. What was under way on this one is over.
    fn other_engine(&mut self) {
        if self.setting.swarm {
            return;
        }
        std::mem::swap(&mut self.engine, &mut self.parked);
        std::mem::swap(&mut self.owed, &mut self.parked_owed);
        self.second = !self.second;
        for state in &mut self.states {
            std::mem::swap(&mut state.shown, &mut state.parked);
        }
        self.pulls.clear();
        self.builds.clear();
        self.deploy = Deploy::default();
        self.lock.deployer = None;
        self.count("others: another engine");
    }

    fn damage(&mut self, how: u8) {
        let file = file_of(&self.key());
        self.states[0].shown.harmed = true;
        if let Some(bytes) = self.states[0].ledgers.get_mut(&file) {
            match how {
                1 => bytes.truncate(bytes.len() / 2),
                2 => bytes.clear(),
                _ => *bytes =
                    b"{\"format\":1,\"engine\":\"OTHER/graphdriver\",\"clock\":null,\"images\":{}}"
                        .to_vec(),
            }
            self.count("others: ledger damaged");
        }
    }

    /// The others finish what they do, and everything is in order again.
    pub fn quiet(&mut self) {
        self.down = 0;
        self.pulls.clear();
        self.builds.clear();
        // A delete call of a killed run ends. Otherwise a service would wait for ever for an image
        // that is about to go.
        for image in self.engine.images.values_mut() {
            image.going = false;
        }
        self.deploy = Deploy::default();
        self.lock = Lock::default();
        for _ in 0..self.services.len() {
            self.service_step(self.moment());
        }
    }
}

/// The repository of a tag, as `values::digest` counts them.
fn repository(tag: &Reference) -> usize {
    let all = ["docker.io/library/app", "docker.io/library/db"];
    all.iter()
        .position(|name| *name == tag.repository())
        .unwrap_or(2)
}
