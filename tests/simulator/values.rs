//! Ids, names and policies of the drawn hosts. They are few, so that they meet, and parsed once,
//! because parsing would take most of the time.

use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use secateur::model::reference::Reference;
use secateur::model::text::Untrusted;
use secateur::model::{EngineFacts, ImageId, Store};
use secateur::policy::{DigestPinned, Policy, Retain};

/// The most images on one host.
pub const IMAGES: usize = 10;

/// Milliseconds after some fixed moment.
pub fn at(milliseconds: i64) -> DateTime<Utc> {
    let start = DateTime::from_timestamp(1_800_000_000, 0).expect("a date");
    start + TimeDelta::milliseconds(milliseconds)
}

/// The `n`th image.
pub fn id(n: usize) -> ImageId {
    static IDS: LazyLock<Vec<ImageId>> = LazyLock::new(|| {
        let id = |n: usize| format!("{:08x}{:056}", n + 0xa000, 0).parse();
        (0..IMAGES).map(|n| id(n).expect("an id")).collect()
    });
    IDS[n % IMAGES].clone()
}

/// The number of the image with this id.
pub fn number(id: &ImageId) -> usize {
    usize::from_str_radix(&id.hex()[..8], 16).expect("one of ours") - 0xa000
}

/// One of three tags of one repository, a tag of another, or one that a pattern of the policy
/// covers.
pub fn tag(n: usize) -> Reference {
    static TAGS: LazyLock<Vec<Reference>> = LazyLock::new(|| {
        let texts = ["app:0", "app:1", "app:2", "db:1", "kept.example/tool:1"];
        texts
            .iter()
            .map(|text| text.parse().expect("a name"))
            .collect()
    });
    TAGS[n % TAGS.len()].clone()
}

/// How many there are of [`tag`].
pub const TAGS: usize = 5;

/// The repository of a tag, with the digest by which the `n`th image is pulled.
/// On the containerd store that is its id.
pub fn digest(store: Store, repository: usize, n: usize) -> Reference {
    static DIGESTS: LazyLock<Vec<Reference>> = LazyLock::new(|| {
        let mut all = Vec::new();
        for own in [false, true] {
            for repository in ["app", "db", "kept.example/tool"] {
                all.extend((0..IMAGES).map(|n| {
                    let digest = if own {
                        id(n).to_string()
                    } else {
                        format!("sha256:{n:064x}")
                    };
                    format!("{repository}@{digest}").parse().expect("a name")
                }));
            }
        }
        all
    });
    let own = usize::from(store != Store::Graphdriver);
    DIGESTS[(own * 3 + repository % 3) * IMAGES + n % IMAGES].clone()
}

/// The engine, with this store.
pub fn engine(store: Store, version: &str) -> EngineFacts {
    EngineFacts {
        id: Untrusted::new("ENGINE"),
        version: Untrusted::new(version),
        api: "1.51".into(),
        store,
        driver: Untrusted::new("overlay2"),
        root_dir: "/data".into(),
        data_root: "/data".into(),
        containerd_root: None,
    }
}

/// A policy with everything that needs parsing. Its numbers are drawn later.
pub fn policy(more: &str) -> Policy {
    Policy::parse(&format!("[age]\nmin_age = \"10s\"\n{more}"), "drawn").expect("a policy")
}

/// Adds up to two rules with longer retention for some names. `unit`: about how much longer.
pub fn retain(rng: &mut Rng, unit: Duration, policy: &mut Policy) {
    static RULES: LazyLock<Vec<Retain>> = LazyLock::new(|| {
        let names = [
            "[\"docker.io/library/app:1\"]",
            "[\"docker.io/library/app:*\"]",
            "[\"docker.io/library/db:1\", \"docker.io/library/app:0\"]",
            "[\"kept.example/tool:*\"]",
        ];
        let rule = |names| policy_of(&format!("[[retain]]\nimages = {names}\nprevious = 1"));
        names.map(rule).into_iter().flatten().collect()
    });
    fn policy_of(more: &str) -> Vec<Retain> {
        self::policy(more).retain
    }
    for _ in 0..rng.u32(0..4).saturating_sub(1) {
        let mut rule = RULES[rng.usize(0..RULES.len())].clone();
        let mut longer = |age: Duration| age + unit * rng.u32(0..3);
        let min_age = longer(policy.min_age);
        let pinned = match policy.digest_pinned {
            DigestPinned::After(age) => DigestPinned::After(longer(age)),
            DigestPinned::Keep => DigestPinned::Keep,
        };
        rule.min_age = (rng.u32(0..10) < 7).then_some(min_age);
        rule.previous = (rng.u32(0..10) < 5).then(|| policy.previous + rng.usize(0..3));
        rule.digest_pinned = match rng.u32(0..10) {
            0..5 => None,
            5..9 => Some(pinned),
            _ => Some(DigestPinned::Keep),
        };
        policy.retain.push(rule);
    }
}
