//! Random hosts, histories and policies, and what must be true for every decision about them. The
//! generator is cheap enough for a hundred million decisions. A failure is shrunk by leaving out
//! surveys, images and containers.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use fastrand::Rng;
use secateur::decide::plan::{Plan, Verdict};
use secateur::decide::{Trust, decide};
use secateur::memory::ledger::Ledger;
use secateur::model::conditions::{ClockReading, Disk, Usage};
use secateur::model::labels::Labels;
use secateur::model::reference::Reference;
use secateur::model::text::Untrusted;
use secateur::model::{
    AtWork, Bytes, Container, Dates, Event, EventKind, Image, ImageId, Inventory, Observed,
    ServiceImage, Spec, Store, Swarm,
};
use secateur::policy::{DigestPinned, Policy};

use crate::naive::{self, Past, refers};
use crate::values::{TAGS, at, digest, engine, id, policy, retain, tag};

/// Fewer images than a simulated host has: they meet more often.
const IMAGES: usize = 6;

/// One history of a host, and what is to be decided at its end.
#[derive(Clone)]
pub struct Drawn {
    pub policy: Policy,
    pub trust: Trust,
    pub surveys: Vec<Inventory>,
}

/// The results of some decisions.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counts {
    pub decisions: u64,
    pub removals: u64,
    pub held_back: u64,
    pub kept: BTreeMap<&'static str, u64>,
}

impl Counts {
    pub fn add(&mut self, other: &Counts) {
        self.decisions += other.decisions;
        self.removals += other.removals;
        self.held_back += other.held_back;
        for (kind, count) in &other.kept {
            *self.kept.entry(kind).or_default() += count;
        }
    }
}

fn chance(rng: &mut Rng, percent: u32) -> bool {
    rng.u32(0..100) < percent
}

/// Policies from which the numbers of a drawn one differ.
pub fn policies() -> Vec<Policy> {
    [
        "",
        "[keep]\nlabels = [\"keep\"]",
        "[keep]\nlabels = [\"keep=x\"]",
        "[keep]\nimages = [\"kept.example/*\"]",
        "[keep]\nimages = [\"docker.io/library/db:1\"]",
    ]
    .map(policy)
    .to_vec()
}

fn drawn_policy(rng: &mut Rng, base: &[Policy]) -> Policy {
    let mut policy = base[rng.usize(0..base.len())].clone();
    policy.min_age = std::time::Duration::from_secs(rng.u64(1..30));
    if chance(rng, 60) {
        let more = std::time::Duration::from_secs(rng.u64(0..10));
        policy.digest_pinned = DigestPinned::After(policy.min_age + more);
    }
    policy.previous = rng.usize(0..3);
    policy.limits.max_images = if chance(rng, 30) {
        rng.usize(1..4)
    } else {
        1000
    };
    match rng.u8(0..4) {
        0 => {}
        1 => {
            policy.disk.start_above_percent = f64::from(rng.u32(0..100));
            policy.disk.stop_below_percent =
                f64::from(rng.u32(0..100)).min(policy.disk.start_above_percent);
            policy.disk.min_free = chance(rng, 30).then(|| Bytes(rng.u64(0..100)));
        }
        _ => {
            policy.disk.start_above_percent = 0.0;
            policy.disk.stop_below_percent = 0.0;
        }
    }
    policy
}

fn text(rng: &mut Rng, store: Store) -> Untrusted {
    let n = rng.usize(0..IMAGES);
    Untrusted::new(match rng.u8(0..6) {
        0 => id(n).to_string(),
        1 => id(n).short().to_owned(),
        2 => digest(store, rng.usize(0..3), n).to_string(),
        3 => {
            let digest = digest(store, 0, n);
            format!(
                "app:{}@{}",
                rng.u8(0..3),
                digest.digest().unwrap_or_default()
            )
        }
        _ => tag(rng.usize(0..TAGS)).familiar(),
    })
}

fn container(rng: &mut Rng, store: Store) -> Container {
    let mut container = Container {
        id: Untrusted::new("c"),
        name: Untrusted::new("web"),
        image: text(rng, store),
        image_ids: Vec::new(),
        state: Untrusted::new("exited"),
        image_mounts: Vec::new(),
    };
    if chance(rng, 30) {
        container.image_ids.push(id(rng.usize(0..IMAGES)));
    }
    if chance(rng, 40) {
        container.image_mounts.push(text(rng, store));
    }
    container
}

fn image(rng: &mut Rng, n: usize, store: Store, now: i64) -> Image {
    let moment = |rng: &mut Rng| at(now + rng.i64(-40..5) * 1000);
    let maybe = |rng: &mut Rng, percent| chance(rng, percent).then(|| moment(rng));
    let mut image = Image {
        id: id(n),
        tags: BTreeSet::new(),
        digests: BTreeSet::new(),
        ours: BTreeSet::new(),
        parent: chance(rng, 8).then(|| id((n + 1) % IMAGES)),
        dates: Dates {
            created: maybe(rng, 20),
            stored: maybe(rng, 20),
        },
        last_tag_time: None,
        restorable: Some(if chance(rng, 90) {
            Observed::Known(())
        } else {
            Observed::Unknown("odd".to_owned())
        }),
        untied: BTreeSet::new(),
        ours_until: None,
        resists: false,
        size: Observed::Known(Bytes(rng.u64(0..40))),
        shared: Observed::Known(Bytes(rng.u64(0..10))),
        stays: None,
        labels: Labels::default(),
        incomplete: chance(rng, 3).then(|| "odd".to_owned().into()),
    };
    if chance(rng, 25) {
        image.tags.insert(tag(rng.usize(0..TAGS)));
    }
    if chance(rng, 40) {
        image.digests.insert(digest(store, rng.usize(0..3), n));
    }
    if chance(rng, 20) {
        image.ours.insert(Reference::ours(&image.id));
        image.ours_until = maybe(rng, 50);
        image.resists = chance(rng, 20);
    }
    if chance(rng, 15) {
        let value = if chance(rng, 50) { "x" } else { "y" };
        image.labels = [("keep".to_owned(), Untrusted::new(value))].into();
    }
    image.last_tag_time = match rng.u8(0..11) {
        0..5 => None,
        5..7 => Some(Observed::Known(None)),
        7..9 => Some(Observed::Known(Some(moment(rng)))),
        _ => Some(Observed::Unknown("unreadable".into())),
    };
    image
}

fn survey(rng: &mut Rng, store: Store, version: &str, now: i64) -> Inventory {
    let mut images = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for n in 0..IMAGES {
        if chance(rng, 80) {
            let mut image = image(rng, n, store, now);
            // A tag is on one image at a time.
            image.tags.retain(|tag| taken.insert(tag.clone()));
            images.insert(image.id.clone(), image);
        }
    }
    let containers = (0..rng.usize(0..6) / 3)
        .map(|_| container(rng, store))
        .collect();
    let swarm = match rng.u8(0..40) {
        0 => Swarm::Unreadable("locked".into()),
        1..8 => Swarm::Manager {
            images: vec![ServiceImage {
                service: Untrusted::new("web"),
                spec: Spec::Previous,
                image: text(rng, store),
            }],
            under_way: Vec::new(),
        },
        _ => Swarm::Inactive,
    };
    let event = |rng: &mut Rng| Event {
        at: at(now + rng.i64(-20..3) * 1000),
        image: text(rng, store),
        what: match rng.u8(0..8) {
            0..2 => EventKind::Named,
            2..4 => EventKind::Pulled,
            4..6 => EventKind::Loaded,
            _ => EventKind::Used,
        },
        tag: None,
    };
    let events = (0..rng.usize(0..6) / 2).map(|_| event(rng)).collect();
    let used = rng.u64(0..101);
    Inventory {
        taken_at: at(now),
        engine: engine(store, version),
        images,
        containers,
        at_work: AtWork {
            swarm,
            builds: Observed::Known(Vec::new()),
            built_here: false,
        },
        events,
        disk: if chance(rng, 3) {
            Observed::Unknown("no".into())
        } else {
            Observed::Known(Disk {
                path: "/".into(),
                bytes: Usage {
                    used,
                    available: 100 - used,
                },
                inodes: chance(rng, 30).then(|| Usage {
                    used: rng.u64(0..101),
                    available: 50,
                }),
            })
        },
    }
}

/// The history that this seed means.
pub fn draw(seed: u64, base: &[Policy]) -> Drawn {
    let rng = &mut Rng::with_seed(seed);
    let (store, version) = match rng.u8(0..40) {
        0 => (Store::Podman, "5.8.6"),
        1 => (Store::Containerd, "24.0.9"),
        2..10 => (Store::Containerd, "28.5.2"),
        _ => (Store::Graphdriver, "28.5.2"),
    };
    let mut now = 0;
    let surveys = (0..rng.usize(1..6)).map(|_| {
        now += rng.i64(0..15) * 1000;
        now
    });
    let moments: Vec<i64> = surveys.collect();
    let mut policy = drawn_policy(rng, base);
    // Drawn with another generator, so that older seeds keep their histories.
    retain(
        &mut Rng::with_seed(seed ^ 0x7e7a),
        std::time::Duration::from_secs(7),
        &mut policy,
    );
    let trust = if chance(rng, 15) {
        Trust::EngineDates
    } else {
        Trust::OwnMemory
    };
    let mut surveys: Vec<_> = moments
        .into_iter()
        .map(|now| survey(rng, store, version, now))
        .collect();
    // So is whether the engine is, for a survey, one without the images that it had.
    let rng = &mut Rng::with_seed(seed ^ 0xa3a1);
    for n in 1..surveys.len() {
        if chance(rng, 8) {
            let before = surveys[n - 1].images.clone();
            let images = &mut surveys[n].images;
            images.retain(|id, _| !before.contains_key(id));
        }
    }
    Drawn {
        policy,
        trust,
        surveys,
    }
}

fn clock(host: &Inventory) -> ClockReading {
    ClockReading {
        wall: host.taken_at,
        since_boot_secs: 0,
        boot_id: String::new(),
        latest: None,
        set_back_from: None,
    }
}

fn milliseconds(host: &Inventory) -> i64 {
    (host.taken_at - at(0)).num_milliseconds()
}

/// Surveys as the naive reading remembers them. An event means the images that had its name at its
/// survey or at the one before.
fn past(surveys: &[Inventory]) -> Vec<Past<'_>> {
    let mut past: Vec<Past<'_>> = Vec::new();
    for (n, host) in surveys.iter().enumerate() {
        let mut shown = Vec::new();
        for event in &host.events {
            let name = event.image.raw().parse::<Reference>().ok();
            let before = |id: &ImageId| {
                let then = surveys[..n].last().and_then(|survey| survey.images.get(id));
                let Some((then, name)) = then.zip(name.as_ref()) else {
                    return false;
                };
                let mut digests = then.digests.iter().filter_map(Reference::digest);
                then.tags.contains(name) || digests.any(|digest| name.digest() == Some(digest))
            };
            for image in host.images.values() {
                if refers(event.image.raw(), image) || before(&image.id) {
                    shown.push((image.id.clone(), (event.at - at(0)).num_milliseconds()));
                }
            }
        }
        past.push(Past {
            at: milliseconds(host),
            host: Cow::Borrowed(host),
            shown,
            hidden: Vec::new(),
            late: Vec::new(),
            start: 0,
        });
    }
    past
}

fn goes(plan: &Plan) -> BTreeSet<ImageId> {
    plan.removals()
        .map(|entry| entry.image.id.clone())
        .collect()
}

fn candidates(plan: &Plan) -> BTreeSet<ImageId> {
    let entries = plan.entries().iter();
    entries
        .filter(|e| e.verdict != Verdict::Keep)
        .map(|e| e.image.id.clone())
        .collect()
}

fn claim(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

/// Decides at each survey of the history, and checks all that must be true.
pub fn check(drawn: &Drawn, seed: u64, counts: &mut Counts) -> Result<(), String> {
    let Drawn {
        policy,
        trust,
        surveys,
    } = drawn;
    let rng = &mut Rng::with_seed(seed ^ 0x5eed);
    let past = past(surveys);
    let mut ledger = Ledger::empty("e");
    for (n, host) in surveys.iter().enumerate() {
        ledger = ledger.observe(host, &clock(host), TimeDelta::zero());
        let plan = decide(policy, host, &ledger, *trust);
        let may_go = naive::may_go(policy, *trust, &past[..=n]);
        let wanted: BTreeSet<_> = may_go.keys().cloned().collect();
        if candidates(&plan) != wanted {
            return Err(format!(
                "survey {n}: may go {:?}, by the naive reading {wanted:?}",
                candidates(&plan)
            ));
        }
        let order: Vec<_> = plan
            .removals()
            .map(|entry| entry.image.id.clone())
            .collect();
        let chosen = naive::chosen(policy, host, &may_go);
        if order != chosen {
            return Err(format!(
                "survey {n}: goes {order:?}, by the naive reading {chosen:?}"
            ));
        }
        partition(host, &plan)?;
        variation(drawn, n, &ledger, &plan, rng).map_err(|why| format!("survey {n}: {why}"))?;
        counts.decisions += 1;
        counts.removals += order.len() as u64;
        counts.held_back += (wanted.len() - order.len()) as u64;
        for reason in plan.entries().iter().flat_map(|entry| &entry.reasons) {
            *counts.kept.entry(reason.kind().name()).or_default() += 1;
        }
    }
    Ok(())
}

/// Checks that every image is in the plan once, and that an image is kept exactly if it has a
/// reason.
fn partition(host: &Inventory, plan: &Plan) -> Result<(), String> {
    let listed = plan.entries().iter().map(|entry| &entry.image.id);
    claim(
        listed.eq(host.images.keys()),
        "the plan does not list every image once",
    )?;
    for entry in plan.entries() {
        let kept = entry.verdict == Verdict::Keep;
        claim(
            kept != entry.reasons.is_empty(),
            "a verdict without its reason",
        )?;
    }
    Ok(())
}

/// Draws one change of what is known or wanted, and checks what it does to the decision.
#[expect(clippy::too_many_lines, reason = "one arm for each change")]
fn variation(
    drawn: &Drawn,
    n: usize,
    ledger: &Ledger,
    plan: &Plan,
    rng: &mut Rng,
) -> Result<(), String> {
    let Drawn {
        policy,
        trust,
        surveys,
    } = drawn;
    let host = &surveys[n];
    let one = id(rng.usize(0..IMAGES));
    let again =
        |policy: &Policy, host: &Inventory, ledger: &Ledger| decide(policy, host, ledger, *trust);
    let fewer = |other: &Plan, what: &str| {
        let subset = candidates(other).is_subset(&candidates(plan));
        claim(subset, &format!("{what} lets more go"))
    };
    match rng.u8(0..11) {
        0 => {
            let mut turned = host.clone();
            turned.containers.reverse();
            turned.events.reverse();
            if let Swarm::Manager { images, .. } = &mut turned.at_work.swarm {
                images.reverse();
            }
            let other = again(policy, &turned, ledger);
            let removals = |plan: &Plan| plan.removals().cloned().collect::<Vec<_>>();
            claim(
                removals(plan) == removals(&other),
                "the order of lists matters",
            )
        }
        1 => {
            let other = decide(policy, host, &Ledger::empty("e"), Trust::OwnMemory);
            claim(
                candidates(&other).is_empty(),
                "something goes without a ledger",
            )
        }
        2 => {
            let mut used = host.clone();
            let name = one.to_string();
            used.containers.push(Container {
                image: Untrusted::new(name),
                image_mounts: Vec::new(),
                ..container(rng, host.engine.store)
            });
            used.containers
                .last_mut()
                .expect("pushed")
                .image_ids
                .clear();
            let other = again(policy, &used, ledger);
            let mut expected = candidates(plan);
            expected.remove(&one);
            claim(
                candidates(&other) == expected,
                "a container keeps another image, or not its own",
            )
        }
        3 => {
            let mut longer = policy.clone();
            longer.min_age += std::time::Duration::from_secs(rng.u64(1..20));
            if let DigestPinned::After(age) = &mut longer.digest_pinned {
                *age += std::time::Duration::from_secs(rng.u64(0..20));
            }
            fewer(&again(&longer, host, ledger), "a longer age")?;
            let mut longer = policy.clone();
            let unit = std::time::Duration::from_secs(7);
            retain(&mut rng.clone(), unit, &mut longer);
            fewer(&again(&longer, host, ledger), "one more [[retain]]")?;
            let mut none = policy.clone();
            none.retain = Vec::new();
            let more = candidates(&again(&none, host, ledger));
            claim(candidates(plan).is_subset(&more), "[[retain]] lets more go")
        }
        4 => {
            let mut more = policy.clone();
            more.previous += 1;
            if chance(rng, 50) {
                more.digest_pinned = DigestPinned::Keep;
            }
            fewer(&again(&more, host, ledger), "more protection")
        }
        5 => {
            let mut labelled = host.clone();
            if let Some(image) = labelled.images.get_mut(&one) {
                image.labels = [("keep".to_owned(), Untrusted::new("x"))].into();
                image.incomplete = Some("odd".to_owned().into());
            }
            let other = again(policy, &labelled, ledger);
            fewer(&other, "an image that is not understood")?;
            claim(
                !candidates(&other).contains(&one),
                "what is not understood may go",
            )
        }
        6 => {
            // What an inspection of one image shows can only keep that image.
            let mut shown = host.clone();
            if let Some(image) = shown.images.get_mut(&one)
                && image.last_tag_time.is_none()
            {
                image.last_tag_time = Some(Observed::Unknown("unreadable".into()));
            }
            fewer(&again(policy, &shown, ledger), "an inspection of one image")
        }
        7 => {
            // With fewer surveys, images are younger. The ledger also forgets which images are
            // rollbacks, which names they had, which were asked for by digest, and which digest
            // once had a tag, so the policy has none of these rules.
            let policy = Policy {
                previous: 0,
                retain: Vec::new(),
                ..policy.clone()
            };
            let since = rng.usize(0..=n);
            let forgets = |from: usize| {
                let seen = surveys[from..=n].iter();
                seen.fold(Ledger::empty("e"), |ledger, host| {
                    ledger.observe(host, &clock(host), TimeDelta::zero())
                })
            };
            // If a name went, only the ledger knows which image it meant in mounts and events.
            let silent = |host: &Inventory| {
                let services = match &host.at_work.swarm {
                    Swarm::Manager { images, .. } => &images[..],
                    Swarm::Inactive | Swarm::Worker | Swarm::Unreadable(_) => &[],
                };
                let by_digest = |text: &Untrusted| text.raw().contains('@');
                host.events.is_empty()
                    && !services.iter().any(|service| by_digest(&service.image))
                    && host.containers.iter().all(|c| c.image_mounts.is_empty())
                    && !host.containers.iter().any(|c| by_digest(&c.image))
            };
            if !surveys[..=n].iter().all(silent) || *trust == Trust::EngineDates {
                return Ok(());
            }
            let whole = decide(&policy, host, ledger, *trust);
            let short = decide(&policy, host, &forgets(since), *trust);
            claim(
                candidates(&short).is_subset(&candidates(&whole)),
                "a shorter memory lets more go",
            )
        }
        8 => {
            // A clock that jumped: the remembered dates move with it.
            let jump = TimeDelta::seconds(rng.i64(1..1_000_000));
            // The engine's own dates do not move, so there are none.
            let mut undated = host.clone();
            for image in undated.images.values_mut() {
                (image.dates, image.last_tag_time) = (Dates::default(), None);
            }
            let whole = again(policy, &undated, ledger);
            let mut later = undated.clone();
            later.taken_at += jump;
            let before = surveys[..n]
                .iter()
                .fold(Ledger::empty("e"), |ledger, host| {
                    ledger.observe(host, &clock(host), TimeDelta::zero())
                });
            let moved = before.observe(&later, &clock(&later), jump);
            if *trust == Trust::EngineDates {
                return Ok(());
            }
            let subset = candidates(&again(policy, &later, &moved)).is_subset(&candidates(&whole));
            claim(subset, "a clock that jumped lets more go")
        }
        9 => {
            // A ledger that grew too long at some surveys.
            let mut short = Ledger::empty("e");
            for host in &surveys[..=n] {
                short = short.observe(host, &clock(host), TimeDelta::zero());
                if chance(rng, 50) {
                    short = short.without_names();
                }
            }
            let other = again(policy, host, &short);
            fewer(&other, "a memory without names")
        }
        _ => {
            let mut unknown = host.clone();
            unknown.disk = Observed::Unknown("no".into());
            let other = again(policy, &unknown, ledger);
            let disk = policy.disk;
            let whatever = disk.start_above_percent == 0.0 && disk.stop_below_percent == 0.0;
            claim(
                goes(&other).is_empty() || whatever,
                "a disk that cannot be measured asks for space",
            )
        }
    }
}

/// The smallest history that still fails, without surveys, images, containers and events that are
/// not needed for that.
pub fn shrink(drawn: Drawn, seed: u64) -> (Drawn, String) {
    let fails = |drawn: &Drawn| check(drawn, seed, &mut Counts::default()).err();
    let mut best = drawn;
    let mut why = fails(&best).expect("it fails");
    loop {
        let found = smaller(&best)
            .into_iter()
            .find_map(|drawn| fails(&drawn).map(|why| (drawn, why)));
        match found {
            Some((drawn, reason)) => (best, why) = (drawn, reason),
            None => return (best, why),
        }
    }
}

fn smaller(drawn: &Drawn) -> Vec<Drawn> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Drawn)| {
        let mut copy = drawn.clone();
        change(&mut copy);
        all.push(copy);
    };
    for n in 0..drawn.surveys.len() {
        if drawn.surveys.len() > 1 {
            with(&|copy| drop(copy.surveys.remove(n)));
        }
        for id in drawn.surveys[n].images.keys() {
            with(&|copy| drop(copy.surveys[n].images.remove(id)));
        }
        for m in 0..drawn.surveys[n].containers.len() {
            with(&|copy| drop(copy.surveys[n].containers.remove(m)));
        }
        for m in 0..drawn.surveys[n].events.len() {
            with(&|copy| drop(copy.surveys[n].events.remove(m)));
        }
    }
    all
}

/// For people: the policy's numbers, and each survey.
pub fn show(drawn: &Drawn) -> String {
    use std::fmt::Write as _;
    let policy = &drawn.policy;
    let mut out = format!(
        "{:?}, min_age {:?}, digest_pinned {:?}, previous {}, {:?}, {:?}, {:?}\n",
        drawn.trust,
        policy.min_age,
        policy.digest_pinned,
        policy.previous,
        policy.retain,
        policy.disk,
        policy.limits
    );
    for host in &drawn.surveys {
        let _ = writeln!(
            out,
            "survey at {} ms, {:?}",
            milliseconds(host),
            host.at_work.swarm
        );
        for image in host.images.values() {
            let _ = writeln!(out, "  {image:?}");
        }
        for container in &host.containers {
            let _ = writeln!(out, "  {container:?}");
        }
        for event in &host.events {
            let _ = writeln!(out, "  {event:?}");
        }
    }
    out
}
