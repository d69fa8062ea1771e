//! One simulated history: who does what, and between which two calls of a run. It is drawn from a
//! seed before it begins, so that it can be replayed and any part of it can be left out.

use std::time::Duration;

use fastrand::Rng;
use secateur::engine::Failure;
use secateur::model::conditions::LockKind;
use secateur::model::{Bytes, Store};
use secateur::policy::{DeployLock, DigestPinned, Policy};

use crate::values::{self, IMAGES, TAGS};

pub const MINUTE: i64 = 60_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// Stands for the image of the run's last request.
pub const THIS: usize = 99;

/// What somebody else does. If it is not possible, nothing happens, so that any part of a history
/// can be left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action {
    /// `docker load`, with a tag or none.
    Load {
        image: usize,
        tag: Option<usize>,
    },
    /// `docker tag`.
    Tag {
        image: usize,
        tag: usize,
    },
    /// `docker rmi` of a tag.
    Untag {
        tag: usize,
    },
    /// `docker image prune`, by somebody.
    OtherPrune,
    /// A pull begins, goes on, breaks.
    Pull {
        image: usize,
        tag: Option<usize>,
    },
    PullStep,
    PullBreak,
    /// A whole pull of an image that is here, by tag or by the digest reference of a repository.
    PullHere {
        image: usize,
        tag: Option<usize>,
        of: usize,
    },
    /// A build begins, goes on, ends with a tag.
    Build,
    BuildStep {
        image: usize,
    },
    BuildEnd {
        tag: usize,
    },
    /// A container, by its image's id or a tag, or with the image mounted.
    Create {
        image: usize,
    },
    CreateByTag {
        tag: usize,
    },
    /// By `name:tag@digest`: the digest decides, whatever image has the tag.
    CreateByDigest {
        image: usize,
        tag: usize,
    },
    Mount {
        image: usize,
        tag: Option<usize>,
    },
    MountByDigest {
        image: usize,
        of: usize,
    },
    Remove,
    /// The deployer's next step: take the lock, tag, start, stop, let go.
    Deploy {
        image: usize,
        tag: usize,
    },
    /// Swarm.
    ServiceUp {
        image: usize,
    },
    ServiceStep,
    /// A service of an image that is here. Its task starts at once.
    ServiceHere {
        image: usize,
    },
    ServiceUpdate {
        image: usize,
    },
    ServiceRollback,
    ServiceDown,
    /// The wall clock is set by these milliseconds, forward or back.
    Clock(i64),
    /// The host is off for so many milliseconds, and starts again.
    Reboot(i64),
    EngineRestart,
    /// DOCKER_HOST names the other engine from now on. Only between runs.
    OtherEngine,
    LedgerLost,
    LedgerDamaged(u8),
    JournalLost,
}

/// The call of a run before which something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    Clock,
    Activity,
    ListImages,
    ListContainers,
    ListSwarm,
    ListBuilds,
    Events,
    Inspect,
    SaveLedger,
    SavedLedger,
    Swarm,
    Builds,
    InspectAgain,
    NameOurs,
    DropName,
    /// A name that a run dropped is put back.
    PutBack,
    Leads,
    /// Inside the engine's delete call, after it has decided.
    Window,
    Containers,
    EventsAgain,
    Meanwhile,
    Hold,
    LetGo,
    Refusals,
    Disk,
    Record,
    Recorded,
}

/// What happens there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What {
    Act(Action),
    /// SIGKILL.
    Kill,
    /// The host loses power, and what is not durable may be lost.
    PowerCut,
    /// The call fails. `after`: it has done its work before.
    Fail {
        kind: Failure,
        after: bool,
    },
    /// The call takes so many milliseconds more.
    Slow {
        time: u64,
        after: bool,
    },
    /// SIGTERM.
    Terminate,
    /// The journal cannot be written.
    JournalFull,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Injection {
    /// Which of two runs at the same time.
    pub run: usize,
    pub point: Point,
    /// The first time, the second ...
    pub nth: usize,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Act(Action),
    /// Milliseconds pass.
    Wait(i64),
    /// One run, or two at the same time. Each bit of `turns` says whether they change places.
    Run {
        runs: Vec<usize>,
        turns: u64,
        injections: Vec<Injection>,
    },
}

/// The host and its policy.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
pub struct Setting {
    pub store: Store,
    /// 20.10; on the containerd store 26.1, where images have no descriptor.
    pub old: bool,
    pub lock: Option<LockKind>,
    pub deployer_locks: bool,
    pub swarm: bool,
    /// Two runs at the same time share a state folder.
    pub one_state: bool,
    pub unreadable_signs: bool,
    pub min_age: i64,
    pub digest_pinned: Option<i64>,
    pub previous: usize,
    pub base: usize,
    pub start_above: f64,
    pub stop_below: f64,
    pub max_images: usize,
    pub max_fraction: f64,
    /// The seed of the `[[retain]]` rules.
    pub retain: Option<u64>,
}

impl Setting {
    /// Builds cannot be asked for, and there are no image mounts.
    pub fn is_20(&self) -> bool {
        self.old && self.store == Store::Graphdriver
    }

    pub fn policy(&self, base: &[Policy]) -> Policy {
        let mut policy = base[self.base].clone();
        let age = |time: i64| Duration::from_millis(time.unsigned_abs());
        policy.min_age = age(self.min_age);
        policy.digest_pinned = self
            .digest_pinned
            .map_or(DigestPinned::Keep, |time| DigestPinned::After(age(time)));
        policy.previous = self.previous;
        if let Some(seed) = self.retain {
            let unit = policy.min_age / 2;
            values::retain(&mut Rng::with_seed(seed), unit, &mut policy);
        }
        policy.disk.start_above_percent = self.start_above;
        policy.disk.stop_below_percent = self.stop_below;
        policy.disk.min_free = None;
        policy.limits.max_images = self.max_images;
        policy.limits.max_fraction = self.max_fraction;
        policy.guard.locks = self
            .lock
            .map(|kind| DeployLock {
                path: "/l".into(),
                kind,
            })
            .into_iter()
            .collect();
        policy
    }

    /// The same policy with a disk that wants everything removed, and without limits.
    pub fn greedy(&self, base: &[Policy]) -> Policy {
        let mut policy = self.policy(base);
        policy.disk.start_above_percent = 0.0;
        policy.disk.stop_below_percent = 0.0;
        policy.limits.max_images = 1000;
        policy.limits.max_fraction = 1.0;
        policy.disk.min_free = Some(Bytes(0));
        policy
    }
}

/// One history.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    pub setting: Setting,
    pub steps: Vec<Step>,
}

fn chance(rng: &mut Rng, percent: u32) -> bool {
    rng.u32(0..100) < percent
}

fn one_of<T: Copy>(rng: &mut Rng, all: &[T]) -> T {
    all[rng.usize(0..all.len())]
}

fn setting(rng: &mut Rng, bases: usize) -> Setting {
    let store = if chance(rng, 35) {
        Store::Containerd
    } else {
        Store::Graphdriver
    };
    let min_age = one_of(rng, &[HOUR, DAY]);
    Setting {
        store,
        old: store == Store::Graphdriver && chance(rng, 30),
        lock: one_of(
            rng,
            &[
                None,
                Some(LockKind::Flock),
                Some(LockKind::Flock),
                Some(LockKind::Exists),
            ],
        ),
        deployer_locks: chance(rng, 60),
        swarm: chance(rng, 40),
        one_state: chance(rng, 30),
        unreadable_signs: chance(rng, 1),
        min_age,
        digest_pinned: one_of(rng, &[None, Some(min_age), Some(min_age * 2)]),
        previous: one_of(rng, &[0, 0, 1, 2]),
        base: rng.usize(0..bases),
        start_above: one_of(rng, &[0.0, 0.0, 0.0, 40.0]),
        stop_below: 0.0,
        max_images: one_of(rng, &[1000, 1000, 1]),
        max_fraction: one_of(rng, &[1.0, 1.0, 1.0, 0.5]),
        retain: None,
    }
}

fn which(rng: &mut Rng, this: bool) -> usize {
    if this && chance(rng, 70) {
        THIS
    } else {
        rng.usize(0..IMAGES)
    }
}

/// `this`: during a run, which has a last image.
fn action(rng: &mut Rng, this: bool) -> Action {
    let tag = rng.usize(0..TAGS);
    let some_tag = chance(rng, 60).then_some(tag);
    let image = which(rng, this);
    match rng.u32(0..100) {
        0..10 => Action::Load {
            image,
            tag: some_tag,
        },
        10..28 => Action::Tag { image, tag },
        28..36 => Action::Untag { tag },
        36..37 => Action::OtherPrune,
        37..44 => Action::Pull {
            image,
            tag: some_tag,
        },
        44..52 => Action::PullStep,
        52..53 => Action::PullBreak,
        53..55 => Action::Build,
        55..57 => Action::BuildStep { image },
        57..58 => Action::BuildEnd { tag },
        58..61 => Action::Create { image },
        61..63 => Action::CreateByDigest { image, tag },
        63..65 => Action::CreateByTag { tag },
        65..68 => Action::Mount {
            image,
            tag: some_tag,
        },
        68..74 => Action::Remove,
        74..84 => Action::Deploy { image, tag },
        84..87 => Action::ServiceUp { image },
        87..91 => Action::ServiceStep,
        91..93 => Action::ServiceUpdate { image },
        93..94 => Action::ServiceRollback,
        94..95 => Action::ServiceDown,
        95..97 => Action::Clock(one_of(
            rng,
            &[
                2 * MINUTE,
                2 * HOUR,
                -2 * HOUR,
                10 * DAY,
                -10 * DAY,
                3650 * DAY,
            ],
        )),
        97 => Action::EngineRestart,
        98 if !this => Action::Reboot(one_of(rng, &[MINUTE, DAY])),
        98 => Action::EngineRestart,
        _ => match rng.u8(0..4) {
            0 => Action::LedgerLost,
            1 => Action::JournalLost,
            damage => Action::LedgerDamaged(damage),
        },
    }
}

const FAILURES: [Failure; 6] = [
    Failure::Lost,
    Failure::Status(500),
    Failure::Conflict,
    Failure::NotFound,
    Failure::Nonsense,
    Failure::Contradiction,
];

fn injection(rng: &mut Rng, runs: usize) -> Injection {
    use Point as P;
    let looking = [
        P::Clock,
        P::Activity,
        P::ListImages,
        P::ListContainers,
        P::ListSwarm,
        P::ListBuilds,
        P::Events,
        P::Inspect,
        P::SaveLedger,
        P::SavedLedger,
        P::Disk,
    ];
    let pruning = [
        P::Swarm,
        P::Builds,
        P::InspectAgain,
        P::NameOurs,
        P::DropName,
        P::Window,
        P::Window,
        P::Containers,
        P::Hold,
        P::LetGo,
        P::Refusals,
        P::Record,
        P::Recorded,
        P::InspectAgain,
        P::DropName,
    ];
    let point = if chance(rng, 25) {
        one_of(rng, &looking)
    } else {
        one_of(rng, &pruning)
    };
    let what = match rng.u32(0..100) {
        0..6 => What::Kill,
        6..9 => What::PowerCut,
        9..14 => What::Fail {
            kind: one_of(rng, &FAILURES),
            after: chance(rng, 50),
        },
        14..20 => What::Slow {
            time: one_of(rng, &[300, 1500, 5000, 400_000]),
            after: chance(rng, 50),
        },
        20..21 => What::Terminate,
        21..22 => What::JournalFull,
        _ => What::Act(action(rng, true)),
    };
    Injection {
        run: if runs > 1 { rng.usize(0..runs) } else { 0 },
        point,
        nth: if chance(rng, 70) {
            rng.usize(0..2)
        } else {
            rng.usize(0..6)
        },
        what,
    }
}

/// The history that this seed means.
pub fn draw(seed: u64, bases: usize) -> Case {
    let rng = &mut Rng::with_seed(seed);
    let mut setting = setting(rng, bases);
    // Drawn with another generator, so that older seeds keep their histories.
    setting.retain = seed.is_multiple_of(3).then_some(seed);
    let mut steps = Vec::new();
    for image in 0..rng.usize(3..7) {
        let tag = chance(rng, 35).then(|| rng.usize(0..TAGS));
        let come = match rng.u8(0..10) {
            0..6 => Action::Load { image, tag },
            _ => Action::Pull { image, tag },
        };
        steps.push(Step::Act(come));
        if matches!(come, Action::Pull { .. }) {
            steps.extend([const { Step::Act(Action::PullStep) }; 5]);
        }
    }
    for _ in 0..rng.usize(2..5) {
        let two = chance(rng, 20);
        let runs = if two {
            vec![0, 1]
        } else {
            vec![usize::from(chance(rng, 15))]
        };
        let count = if steps.iter().any(|s| matches!(s, Step::Run { .. })) {
            rng.usize(0..6)
        } else {
            rng.usize(0..2)
        };
        let injections = (0..count).map(|_| injection(rng, runs.len())).collect();
        steps.push(Step::Run {
            runs,
            turns: rng.u64(..),
            injections,
        });
        let wait = one_of(
            rng,
            &[
                1000,
                MINUTE,
                HOUR / 2,
                setting.min_age + 1000,
                setting.min_age + 1000,
                setting.min_age * 3,
            ],
        );
        let before = rng.usize(0..4);
        steps.extend((0..before).map(|_| Step::Act(action(rng, false))));
        steps.push(Step::Wait(wait));
        if chance(rng, 25) {
            steps.push(Step::Act(action(rng, false)));
        }
    }
    // Drawn with generators of their own, so that older seeds keep their histories.
    let rng = &mut Rng::with_seed(seed ^ 0x0e19_13e5);
    if chance(rng, 20) {
        for _ in 0..rng.usize(2..5) {
            let place = rng.usize(0..=steps.len());
            steps.insert(place, Step::Act(Action::OtherEngine));
        }
    }
    let rng = &mut Rng::with_seed(seed ^ 0x5e7e_7a15);
    if chance(rng, 25) {
        // Enough images without a name that several of them go in the same turn.
        let nameless = |image| Step::Act(Action::Load { image, tag: None });
        steps.splice(0..0, (0..IMAGES).map(nameless));
    }
    let rng = &mut Rng::with_seed(seed ^ 0xd16e_57ed);
    if setting.store == Store::Containerd {
        setting.old = chance(rng, 10);
        if chance(rng, 70) {
            let age = setting.digest_pinned.unwrap_or(setting.min_age);
            setting.digest_pinned = Some(age);
        }
        names(rng, &mut steps);
        let rng = &mut Rng::with_seed(seed ^ 0x1057_7a95);
        let runs = steps.iter_mut().filter_map(|step| match step {
            Step::Run { injections, .. } => Some(injections),
            Step::Act(_) | Step::Wait(_) => None,
        });
        for injections in runs {
            if chance(rng, 20) {
                injections.extend(along(rng));
            }
        }
    }
    Case { setting, steps }
}

/// Adds what concerns digest references on a store where they are names: images with several of
/// them, and what happens between the calls that drop them.
fn names(rng: &mut Rng, steps: &mut Vec<Step>) {
    for _ in 0..rng.usize(0..5) {
        let come = Action::PullHere {
            image: rng.usize(0..IMAGES),
            tag: None,
            of: rng.usize(0..3),
        };
        let place = rng.usize(0..=steps.len());
        steps.insert(place, Step::Act(come));
    }
    for step in steps {
        let Step::Run {
            runs, injections, ..
        } = step
        else {
            continue;
        };
        for _ in 0..rng.usize(0..5) {
            let run = rng.usize(0..runs.len());
            injections.push(between(rng, run));
        }
    }
}

/// A tag goes along with a digest reference, and the engine does not say so.
fn along(rng: &mut Rng) -> [Injection; 2] {
    let nth = rng.usize(0..3);
    let (image, tag) = (THIS, rng.usize(0..TAGS));
    let (kind, after) = (one_of(rng, &FAILURES), true);
    let at = |what| Injection {
        run: 0,
        point: Point::DropName,
        nth,
        what,
    };
    [
        at(What::Act(Action::Tag { image, tag })),
        at(What::Fail { kind, after }),
    ]
}

/// What happens between two calls that drop an image's names, or kills the run there.
fn between(rng: &mut Rng, run: usize) -> Injection {
    use Point as P;
    let points = [
        P::NameOurs,
        P::DropName,
        P::DropName,
        P::PutBack,
        P::InspectAgain,
        P::InspectAgain,
        P::Containers,
        P::EventsAgain,
        P::Meanwhile,
        P::Swarm,
        P::LetGo,
    ];
    let (image, tag, of) = (which(rng, true), rng.usize(0..TAGS), rng.usize(0..3));
    let what = match rng.u32(0..100) {
        0..25 => What::Act(Action::PullHere {
            image,
            tag: chance(rng, 50).then_some(tag),
            of,
        }),
        25..40 => What::Act(Action::Tag { image, tag }),
        40..46 => What::Act(Action::Untag { tag }),
        46..56 => What::Act(Action::CreateByDigest { image, tag }),
        56..62 => What::Act(Action::Create { image }),
        62..68 => What::Act(Action::MountByDigest { image, of }),
        68..72 => What::Act(Action::ServiceHere { image }),
        72..75 => What::Act(Action::Remove),
        75..83 => What::Kill,
        83..86 => What::PowerCut,
        86..88 => What::Terminate,
        88..90 => What::Act(Action::EngineRestart),
        90..92 => What::Slow {
            time: one_of(rng, &[300, 5000, 400_000]),
            after: chance(rng, 50),
        },
        _ => What::Fail {
            kind: one_of(rng, &FAILURES),
            after: chance(rng, 50),
        },
    };
    // A pull by digest after the last inspection and before the drop leaves only its event.
    if chance(rng, 15) {
        let (image, tag, of) = (THIS, None, 0);
        return Injection {
            run,
            point: one_of(rng, &[P::NameOurs, P::DropName]),
            nth: 0,
            what: What::Act(Action::PullHere { image, tag, of }),
        };
    }
    Injection {
        run,
        point: one_of(rng, &points),
        nth: rng.usize(0..6) / 2,
        what,
    }
}

/// Histories with one part less.
pub fn smaller(case: &Case) -> Vec<Case> {
    let mut all = Vec::new();
    for n in 0..case.steps.len() {
        let mut without = case.clone();
        without.steps.remove(n);
        all.push(without);
    }
    for (n, step) in case.steps.iter().enumerate() {
        let Step::Run {
            runs,
            turns,
            injections,
        } = step
        else {
            continue;
        };
        let mut with = |step: Step| {
            let mut other = case.clone();
            other.steps[n] = step;
            all.push(other);
        };
        for m in 0..injections.len() {
            let mut injections = injections.clone();
            injections.remove(m);
            with(Step::Run {
                runs: runs.clone(),
                turns: *turns,
                injections,
            });
        }
        if runs.len() > 1 {
            for run in runs {
                let injections = injections.iter().filter(|i| i.run == *run);
                let injections = injections.map(|i| Injection { run: 0, ..*i }).collect();
                with(Step::Run {
                    runs: vec![*run],
                    turns: 0,
                    injections,
                });
            }
        }
    }
    all
}
