//! Ids, names and policies that the drawn hosts are made of: few, so that they
//! meet, and made once, for parsing them each time would cost more than all
//! the rest.

use std::sync::LazyLock;

use chrono::{DateTime, TimeDelta, Utc};
use secateur::model::reference::Reference;
use secateur::model::text::Untrusted;
use secateur::model::{EngineFacts, ImageId, Store};
use secateur::policy::Policy;

/// So many images can there be on one host.
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

/// Which image has this id.
pub fn number(id: &ImageId) -> usize {
    usize::from_str_radix(&id.hex()[..8], 16).expect("one of ours") - 0xa000
}

/// One of three tags of one repository, one of another's, one that a pattern
/// of the policy covers.
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

/// With all that needs parsing in it; the numbers are drawn.
pub fn policy(more: &str) -> Policy {
    Policy::parse(&format!("[age]\nmin_age = \"10s\"\n{more}"), "drawn").expect("a policy")
}
