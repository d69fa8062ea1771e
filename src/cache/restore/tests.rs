//! Tests of the order of a run: what is done about each promise, without an engine.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;

use super::left_out::LeftOut;
use super::{Known, Target, Task, Work, tasks};
use crate::cache::promise::baseline::Baseline;
use crate::cache::promise::{Promise, Sources, Wanted, promises, with_all_digests};
use crate::memory::ledger::Ledger;
use crate::model::{EngineFacts, Image, ImageId, Inventory, Store};
use crate::policy::Policy;
use crate::testing::{at, clock, digest, id, image, inventory, json_of, pinned, tagged};

/// A host with a policy that promises some images.
struct Host {
    store: Store,
    policy: Policy,
    ledger: Ledger,
    baseline: Option<Baseline>,
    here: BTreeMap<ImageId, Image>,
    in_part: BTreeSet<ImageId>,
}

impl Host {
    fn promising(cache: &str) -> Self {
        let text = format!("[age]\nmin_age = \"1d\"\n[cache]\n{cache}");
        Self {
            store: Store::Graphdriver,
            policy: Policy::parse(&text, "test").unwrap(),
            ledger: Ledger::empty("E"),
            baseline: None,
            here: BTreeMap::new(),
            in_part: BTreeSet::new(),
        }
    }

    fn engine(&self) -> EngineFacts {
        EngineFacts {
            store: self.store,
            ..inventory([]).engine
        }
    }

    /// Adds images that were here at the last prune.
    fn seen(mut self, images: Vec<Image>) -> Self {
        let seen = Inventory {
            engine: self.engine(),
            ..inventory(images)
        };
        self.ledger = self
            .ledger
            .observe(&seen, &clock(0, 0, "a"), TimeDelta::zero());
        self
    }

    fn recorded(mut self, images: Vec<Image>) -> Self {
        let images = with_all_digests(inventory(images).images, self.store);
        let engine = self.engine();
        self.baseline = Some(Baseline::of(&engine, &images, at(0), None, &[].into()));
        self
    }

    fn here(mut self, images: Vec<Image>) -> Self {
        self.here = with_all_digests(inventory(images).images, self.store);
        self
    }

    /// Makes these images incomplete.
    fn in_part(mut self, ids: &[ImageId]) -> Self {
        self.in_part = ids.iter().cloned().collect();
        self
    }

    fn promises(&self) -> Vec<Promise> {
        let sources = Sources {
            baseline: self.baseline.as_ref(),
            ..Sources::of(&self.policy)
        };
        promises(&sources, &self.here).unwrap()
    }

    fn tasks(&self, follow: bool) -> Vec<Task> {
        let known = Known {
            here: &self.here,
            in_part: &self.in_part,
            ledger: &self.ledger,
            store: self.store,
            policy: &self.policy,
            follow,
        };
        tasks(&self.promises(), &known)
    }
}

const APP: &str = "images = [\"app:1\"]";

fn wanted(name: &str) -> Wanted {
    crate::testing::wanted(name)
}

fn bring(name: &str, digests: &[String], id: Option<ImageId>) -> Task {
    Task::Do(Work::Bring(Target {
        wanted: wanted(name),
        digests: digests.to_vec(),
        id,
    }))
}

fn hash(n: u64) -> String {
    digest("app", n).digest().unwrap().to_owned()
}

/// `app:1`, as pulled on a graphdriver store.
fn pulled(n: u64) -> Image {
    Image {
        digests: [digest("app", n + 1000)].into(),
        ..tagged(n, "app:1")
    }
}

#[test]
fn each_promise_has_its_task_in_the_order_of_the_promises() {
    let host = Host::promising("images = [\"zoo:1\", \"app:1\", \"db:1\"]").here(vec![pulled(1)]);
    let tasks = host.tasks(false);
    let open = |name| bring(name, &[], None);
    assert_eq!(tasks, [open("zoo:1"), Task::Here, open("db:1")]);
}

#[test]
fn what_baseline_or_ledger_remember_is_brought_by_its_digest_and_the_baseline_counts_first() {
    let seen = Host::promising(APP).seen(vec![pulled(1)]);
    assert_eq!(
        seen.tasks(false),
        [bring("app:1", &[hash(1001)], Some(id(1)))]
    );
    let recorded = seen.recorded(vec![pulled(2)]);
    assert_eq!(
        recorded.tasks(false),
        [bring("app:1", &[hash(1002)], Some(id(2)))]
    );
}

#[test]
fn which_image_a_tag_led_to_is_known_also_after_surveys_that_did_not_find_it() {
    let host = Host::promising(APP).seen(vec![pulled(1)]);
    let host = host.seen(vec![]).seen(vec![image(7)]);
    let known = [bring("app:1", &[hash(1001)], Some(id(1)))];
    assert_eq!(host.tasks(false), known);
    let text = json_of(&host.ledger);
    let read = Ledger::from_json(&text, &host.engine().key()).unwrap();
    assert_eq!(read, host.ledger);
}

#[test]
fn a_tag_is_followed_only_where_that_is_asked_for() {
    let host = Host::promising(APP).recorded(vec![pulled(1)]);
    assert_eq!(host.tasks(true), [bring("app:1", &[], None)]);
    // Even if the recorded image is here.
    let host = host.here(vec![pinned(1, "app")]);
    assert_eq!(host.tasks(true), [bring("app:1", &[], None)]);
}

#[test]
fn a_containerd_store_knows_an_image_by_its_id() {
    let mut host = Host::promising(APP);
    host.store = Store::Containerd;
    let host = host.seen(vec![tagged(1, "app:1")]);
    let own = [id(1).to_string()];
    assert_eq!(host.tasks(false), [bring("app:1", &own, Some(id(1)))]);
}

#[test]
fn what_is_here_under_another_name_is_only_tagged() {
    let tag = |n| {
        [Task::Do(Work::SetTag {
            tag: "app:1".parse().unwrap(),
            id: id(n),
        })]
    };
    let host = Host::promising(APP).seen(vec![pulled(1)]);
    // By its id, whatever its names are.
    let host = host.here(vec![tagged(1, "other:1"), image(2)]);
    assert_eq!(host.tasks(false), tag(1));
    // By its digest, if ids are from another engine.
    let mut elsewhere = Host::promising(APP).recorded(vec![pulled(1)]);
    let engine = EngineFacts {
        id: crate::model::text::Untrusted::new("another"),
        ..elsewhere.engine()
    };
    elsewhere.baseline = elsewhere.baseline.map(|it| it.for_engine(&engine).0);
    let mut other = image(5);
    other.digests.insert(digest("app", 1001));
    let elsewhere = elsewhere.here(vec![other]);
    assert_eq!(elsewhere.tasks(false), tag(5));
}

#[test]
fn a_tag_that_leads_elsewhere_than_recorded_is_left_alone() {
    for follow in [false, true] {
        let host = Host::promising(APP).recorded(vec![pulled(1)]);
        let host = host.here(vec![pulled(2), image(1)]);
        let elsewhere = Task::LeaveOut(LeftOut::Elsewhere(id(2)));
        assert_eq!(host.tasks(follow), [elsewhere]);
    }
    // Nobody recorded which image is promised.
    let host = Host::promising(APP)
        .seen(vec![pulled(1)])
        .here(vec![pulled(2)]);
    assert_eq!(host.tasks(false), [Task::Here]);
}

#[test]
fn what_never_covers_is_not_brought_and_a_digest_is_brought_as_it_is() {
    let host = Host::promising("never = [\"app:*\"]").recorded(vec![pulled(1)]);
    let never = Task::LeaveOut(LeftOut::Never("cache.never has \"app:*\"".to_owned()));
    assert_eq!(host.tasks(false), [never]);
    let name = digest("app", 1001).to_string();
    let host = Host::promising(&format!("images = [\"{name}\"]"));
    assert_eq!(host.tasks(true), [bring(&name, &[hash(1001)], None)]);
}

#[test]
fn an_image_that_is_listed_and_not_all_here_is_brought_by_its_digest() {
    let mut host = Host::promising("images = [\"app:1\", \"db:1\"]");
    host.store = Store::Containerd;
    let listed = || vec![tagged(1, "app:1"), tagged(2, "db:1")];
    let host = host.here(listed()).in_part(&[id(1)]);
    let rest = bring("app:1", &[id(1).to_string()], Some(id(1)));
    assert_eq!(host.tasks(false), [rest.clone(), Task::Here]);
    // Its tag is not set either: a name for an incomplete image helps nobody.
    let host = host.recorded(vec![tagged(1, "app:1")]);
    let host = host.here(vec![tagged(1, "other:1")]);
    assert_eq!(host.tasks(false)[0], rest);
}

#[test]
fn what_is_never_to_be_brought_is_not_completed_either() {
    let host = Host::promising("recent = \"14d\"\nnever = [\"app:*\"]");
    let host = host
        .here(vec![tagged(1, "app:1")])
        .recorded(vec![tagged(1, "app:1")]);
    let host = host.in_part(&[id(1)]);
    assert!(matches!(
        host.tasks(false)[..],
        [Task::LeaveOut(LeftOut::Never(_))]
    ));
}
